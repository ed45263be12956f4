"""A ledger to which everything has happened that can happen, under ids that tests know."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.commands.accounts import CloseAccount, OpenAccount, UpdateAccount
from ledger.commands.command import Command, Credential
from ledger.commands.holds import CaptureHold, ExpireHold, PlaceHold, VoidHold
from ledger.commands.journal import Leg, PostJournalEntry
from ledger.commands.reversals import ReverseTransfer
from ledger.commands.tokens import (
    EndSession,
    ForgetTokens,
    LogOut,
    RefreshTokens,
    RevokeAllTokens,
    RevokeUserTokens,
    StartSession,
)
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser, DeleteUser, UpdateUser
from ledger.errors import Refused
from ledger.events.accounts import world_account_id
from ledger.events.tokens import Pair
from ledger.events.users import Role
from ledger.runtime import Runtime
from ledger.values.ids import new_id
from ledger.write.group import Origin

PAST, FUTURE = 1_000_000_000, 4_000_000_000


def an_id(number: int) -> UUID:
    return UUID(f"018f0000-0000-7000-8000-{number:012}")


ALICE, BOB, CAROL = an_id(1), an_id(2), an_id(3)
EUROS, MORE_EUROS, YEN, DINARS, CLOSED = (an_id(number) for number in range(10, 15))
OPENING, PAYMENT, BACK, YEN_PAYMENT = (an_id(number) for number in range(20, 24))
OPEN_SESSION, ROTATED_SESSION, ENDED_SESSION, STOLEN_SESSION, OLD_SESSION = (an_id(number) for number in range(30, 35))
HELD, PENDING, ENTRY = an_id(70), an_id(73), an_id(80)
PAYMENT_COMMAND = an_id(40)
REFERENCE = 'rent; "March"\n\\ größer | = 5 € ; date:2001-01-01'
PAY = TransferMoney(PAYMENT, EUROS, MORE_EUROS, 25_00, REFERENCE)


def secret(user_id: UUID) -> Credential:
    return Credential(UUID(int=user_id.int + (1 << 90)), user_id, "a hash")


def a_pair(number: int, ends: int = FUTURE) -> Pair:
    return Pair(an_id(number), ends - 5, an_id(number + 1), ends, ends - 10)


def history() -> list[tuple[UUID, Command]]:
    """Commands, each with its id; one is refused, and one is refused although it has an event."""
    roles: tuple[Role, ...] = ("customer",)
    another = Credential(an_id(99), BOB, "another hash")
    people = [
        CreateUser(user_id, name, f"{name}@example.com", True, roles, secret(user_id))
        for user_id, name in ((ALICE, "alice"), (BOB, "bob"), (CAROL, "carol"))
    ]
    commands: list[Command] = [
        *people,
        OpenAccount(EUROS, ALICE, "EUR", 100_00, OPENING),
        OpenAccount(MORE_EUROS, BOB, "EUR", 50, new_id()),
        OpenAccount(YEN, ALICE, "JPY", 12345, new_id()),
        OpenAccount(DINARS, BOB, "KWD", 1234, new_id()),
        OpenAccount(CLOSED, CAROL, "EUR", 0, new_id()),
        PAY,
        TransferMoney(BACK, MORE_EUROS, EUROS, 7),
        TransferMoney(new_id(), MORE_EUROS, EUROS, 1_000_000),  # there is not so much
        UpdateAccount(YEN, BOB, 20000, "JPY", YEN_PAYMENT),
        UpdateUser(
            BOB, "bob", "bob@example.com", "robert", "robert@example.com", False, ("auditor", "customer"), another
        ),
        UpdateUser(BOB, "robert", "robert@example.com", "robert", "robert@example.com", True, roles, None),
        DeleteUser(CAROL, "carol", "carol@example.com", (CLOSED,), 1),
        StartSession(OLD_SESSION, ALICE, secret(ALICE).id, a_pair(90, PAST), FUTURE),
        RevokeAllTokens(),
        StartSession(ENDED_SESSION, ALICE, secret(ALICE).id, a_pair(50), FUTURE),
        RevokeUserTokens(ALICE),
        ForgetTokens(PAST + 1, 10_000, 2, 0),
        StartSession(OPEN_SESSION, ALICE, secret(ALICE).id, a_pair(52), FUTURE),
        StartSession(ROTATED_SESSION, ALICE, secret(ALICE).id, a_pair(54), FUTURE),
        RefreshTokens(ROTATED_SESSION, ALICE, a_pair(54).refresh_jti, a_pair(56), 0),
        StartSession(STOLEN_SESSION, ALICE, secret(ALICE).id, a_pair(58), FUTURE),
        RefreshTokens(STOLEN_SESSION, ALICE, a_pair(58).refresh_jti, a_pair(60), 0),
        RefreshTokens(STOLEN_SESSION, ALICE, a_pair(58).refresh_jti, a_pair(62), 0),  # it came back
        EndSession(ENDED_SESSION),
        LogOut(ROTATED_SESSION, ALICE, a_pair(56).refresh_jti),
        CloseAccount(YEN),  # it is not at zero
        *transactions(),
        *(TransferMoney(new_id(), EUROS, MORE_EUROS, cents) for cents in range(1, 30)),
    ]
    return [(PAYMENT_COMMAND if command is PAY else new_id(), command) for command in commands]


def transactions() -> list[Command]:
    """Journal entries, reversals and holds with every end, and accounts with every policy."""
    now = datetime.now(UTC)
    soon, later = now + timedelta(seconds=1), now + timedelta(seconds=9)
    holds = [PlaceHold(an_id(70 + n), EUROS, MORE_EUROS, 10 + n, now, soon, 10) for n in range(4)]
    legs = (Leg(EUROS, -30), Leg(MORE_EUROS, 20), Leg(world_account_id("EUR"), 10))
    told: dict[str, Any] = {"description": "all of it", "metadata": {"key": "value"}, "effective_at": now}
    return [
        *holds,
        CaptureHold(HELD, EUROS, MORE_EUROS, 4, now),
        VoidHold(an_id(71), EUROS, now),
        ExpireHold(an_id(72), EUROS, later),
        PostJournalEntry(ENTRY, legs, "salaries", **told),
        PostJournalEntry(new_id(), legs, "salaries"),  # it is taken
        TransferMoney(new_id(), EUROS, MORE_EUROS, 3, "told", **told),
        ReverseTransfer(new_id(), ENTRY, tuple(leg.account_id for leg in legs)),
        ReverseTransfer(new_id(), HELD, (EUROS, MORE_EUROS), description="back"),
        ReverseTransfer(new_id(), PAYMENT, (EUROS, MORE_EUROS), force=True),
        UpdateAccount(DINARS, None, None, "KWD", new_id(), 500, "debits"),
        UpdateAccount(DINARS, None, None, "KWD", new_id(), 400, "none"),
    ]


async def carry_out(runtime: Runtime) -> None:
    """Let it all happen, and be mirrored."""
    for command_id, command in history():
        try:
            await runtime.committer.submit(command, Origin(command_id))
        except Refused:
            continue
    await runtime.mirror.fill()
