"""A ledger whose log has every kind of event, under fixed ids."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.commands.account_labels import LabelChange
from ledger.commands.accounts import CloseAccount, OpenAccount, ReopenAccount, UpdateAccount
from ledger.commands.amendments import Amendment, AmendTransaction
from ledger.commands.assets import RegisterAsset
from ledger.commands.clients import (
    IssueClientToken,
    RegisterClient,
    RevokeClient,
    RotateClientSecret,
    UpdateClient,
)
from ledger.commands.command import Command, Credential, FactorSecret, SealedSecret
from ledger.commands.holds import CaptureHold, ExpireHold, PlaceHold, VoidHold
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.monitors import CreateMonitor, Crossing, DeleteMonitor, RecordCrossings
from ledger.commands.operations import to_command
from ledger.commands.periods import ClosePeriod, ReopenPeriod
from ledger.commands.reconciliations import MatchedLine, ReconcileStatement, Statement, Undone, UndoReconciliations
from ledger.commands.reversals import ReverseTransaction
from ledger.commands.schedules import CancelSchedule, ExecuteSchedule, Planned, ScheduleTransaction
from ledger.commands.seals import AcceptSealHead
from ledger.commands.second_factors import Code, ConfirmSecondFactor, OfferSecondFactor, RemoveSecondFactor
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
from ledger.commands.users import CreateUser, DeleteUser, RehashPassword, UpdateUser
from ledger.commands.webhooks import (
    ChangeWebhook,
    CreateWebhook,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    RequestRedelivery,
    RewindWebhook,
    RotateWebhookSecret,
)
from ledger.errors import Refused
from ledger.events.account_labels import Labels
from ledger.events.accounts import world_account_id
from ledger.events.clients import ClientSecret, Grants
from ledger.events.monitors import Rule
from ledger.events.operations import (
    FollowerResumed,
    FollowerStopped,
    OperationEvent,
    RebuildEnded,
    VerificationEnded,
)
from ledger.events.seals import SealHeadAccepted
from ledger.events.second_factors import second_factor_stream
from ledger.events.tokens import Pair
from ledger.events.transactions import JournalEntryPosted, Posting, TransactionScheduled
from ledger.events.users import Role
from ledger.events.webhooks import WebhookSettings
from ledger.runtime import Runtime
from ledger.values.ids import new_id
from ledger.write.group import Origin

PAST, FUTURE = 1_000_000_000, 4_000_000_000


def fixed_id(number: int) -> UUID:
    return UUID(f"018f0000-0000-7000-8000-{number:012}")


ALICE, BOB, CAROL = fixed_id(1), fixed_id(2), fixed_id(3)
EUROS, MORE_EUROS, YEN, DINARS, CLOSED = (fixed_id(number) for number in range(10, 15))
REOPENED, HOURS = fixed_id(15), fixed_id(16)
OPENING, PAYMENT, BACK, YEN_PAYMENT = (fixed_id(number) for number in range(20, 24))
OPEN_SESSION, ROTATED_SESSION, ENDED_SESSION, STOLEN_SESSION, OLD_SESSION = (
    fixed_id(number) for number in range(30, 35)
)
MACHINE, REVOKED_MACHINE = fixed_id(4), fixed_id(5)
DAN, ERIN = fixed_id(6), fixed_id(7)
HELD, PENDING, ENTRY = fixed_id(70), fixed_id(73), fixed_id(80)
PAYMENT_COMMAND = fixed_id(40)
REFERENCE = 'rent; "March"\n\\ größer | = 5 € ; date:2001-01-01'
PAY = TransferMoney(
    transaction_id=PAYMENT,
    source_account_id=EUROS,
    destination_account_id=MORE_EUROS,
    amount_cents=25_00,
    reference=REFERENCE,
)


def secret(user_id: UUID) -> Credential:
    return Credential(UUID(int=user_id.int + (1 << 90)), user_id, "a hash")


def token_pair(number: int, ends: int = FUTURE) -> Pair:
    return Pair(fixed_id(number), ends - 5, fixed_id(number + 1), ends, ends - 10)


def history() -> list[tuple[UUID, Command]]:
    """Return commands with their ids; one is refused, and another is refused although it appends an event."""
    roles: tuple[Role, ...] = ("customer",)
    another = Credential(fixed_id(99), BOB, "another hash")
    people = [
        CreateUser(
            user_id=user_id,
            username=name,
            email=f"{name}@example.com",
            active=True,
            roles=roles,
            credential=secret(user_id),
        )
        for user_id, name in ((ALICE, "alice"), (BOB, "bob"), (CAROL, "carol"))
    ]
    commands: list[Command] = [
        *people,
        OpenAccount(account_id=EUROS, owner_id=ALICE, currency="EUR", balance_cents=100_00, transaction_id=OPENING),
        OpenAccount(account_id=MORE_EUROS, owner_id=BOB, currency="EUR", balance_cents=50, transaction_id=new_id()),
        OpenAccount(account_id=YEN, owner_id=ALICE, currency="JPY", balance_cents=12345, transaction_id=new_id()),
        OpenAccount(account_id=DINARS, owner_id=BOB, currency="KWD", balance_cents=1234, transaction_id=new_id()),
        OpenAccount(account_id=CLOSED, owner_id=CAROL, currency="EUR", balance_cents=0, transaction_id=new_id()),
        RegisterAsset(code="HOURS", asset_name="Hours of work", digits=4),
        OpenAccount(
            account_id=HOURS,
            owner_id=ALICE,
            currency="HOURS",
            balance_cents=7_5000,
            transaction_id=new_id(),
            max_balance_cents=100_0000,
        ),
        PAY,
        TransferMoney(transaction_id=BACK, source_account_id=MORE_EUROS, destination_account_id=EUROS, amount_cents=7),
        TransferMoney(
            transaction_id=new_id(), source_account_id=MORE_EUROS, destination_account_id=EUROS, amount_cents=1_000_000
        ),  # insufficient funds
        UpdateAccount(account_id=YEN, owner_id=BOB, balance_cents=20000, currency="JPY", transaction_id=YEN_PAYMENT),
        UpdateUser(
            user_id=BOB,
            known_username="bob",
            known_email="bob@example.com",
            username="robert",
            email="robert@example.com",
            active=False,
            roles=("auditor", "customer"),
            credential=another,
        ),
        UpdateUser(
            user_id=BOB,
            known_username="robert",
            known_email="robert@example.com",
            username="robert",
            email="robert@example.com",
            active=True,
            roles=roles,
            credential=None,
        ),
        DeleteUser(
            user_id=CAROL, known_username="carol", known_email="carol@example.com", account_ids=(CLOSED,), assignments=1
        ),
        StartSession(
            session_id=OLD_SESSION,
            user_id=ALICE,
            credential_id=secret(ALICE).id,
            pair=token_pair(90, PAST),
            session_expires_at=FUTURE,
        ),
        RehashPassword(user_id=ALICE, credential=replace(secret(ALICE), hash="with other parameters")),
        RevokeAllTokens(),
        StartSession(
            session_id=ENDED_SESSION,
            user_id=ALICE,
            credential_id=secret(ALICE).id,
            pair=token_pair(50),
            session_expires_at=FUTURE,
        ),
        RevokeUserTokens(ALICE),
        ForgetTokens(expired_before=PAST + 1, as_of_position=10_000, count=2, cleanups=0),
        AcceptSealHead(accepted=SealHeadAccepted(0, "", None, "", "a restored backup")),
        StartSession(
            session_id=OPEN_SESSION,
            user_id=ALICE,
            credential_id=secret(ALICE).id,
            pair=token_pair(52),
            session_expires_at=FUTURE,
        ),
        StartSession(
            session_id=ROTATED_SESSION,
            user_id=ALICE,
            credential_id=secret(ALICE).id,
            pair=token_pair(54),
            session_expires_at=FUTURE,
        ),
        RefreshTokens(
            session_id=ROTATED_SESSION,
            user_id=ALICE,
            refresh_jti=token_pair(54).refresh_jti,
            pair=token_pair(56),
            grace_seconds=0,
            retry_hash="a key",
        ),
        RefreshTokens(
            session_id=ROTATED_SESSION,
            user_id=ALICE,
            refresh_jti=token_pair(54).refresh_jti,
            pair=token_pair(64),
            grace_seconds=10,
            retry_hash="a key",
        ),  # a retry
        StartSession(
            session_id=STOLEN_SESSION,
            user_id=ALICE,
            credential_id=secret(ALICE).id,
            pair=token_pair(58),
            session_expires_at=FUTURE,
        ),
        RefreshTokens(
            session_id=STOLEN_SESSION,
            user_id=ALICE,
            refresh_jti=token_pair(58).refresh_jti,
            pair=token_pair(60),
            grace_seconds=0,
        ),
        RefreshTokens(
            session_id=STOLEN_SESSION,
            user_id=ALICE,
            refresh_jti=token_pair(58).refresh_jti,
            pair=token_pair(62),
            grace_seconds=0,
        ),  # reuse
        EndSession(ENDED_SESSION),
        LogOut(ROTATED_SESSION, ALICE, token_pair(56).refresh_jti),
        CloseAccount(YEN),  # its balance is not zero
        *(ClosePeriod(through=date(2020, month, 1), today=date(2021, 1, 1)) for month in (1, 2)),
        ReopenPeriod(),
        *clients(),
        *transactions(),
        *second_factors(),
        *schedules(),
        *monitors(),
        *reconciliations(),
        *operations(),
        *webhooks(),
        *(
            TransferMoney(
                transaction_id=new_id(), source_account_id=EUROS, destination_account_id=MORE_EUROS, amount_cents=cents
            )
            for cents in range(1, 30)
        ),
    ]
    return [(PAYMENT_COMMAND if command is PAY else new_id(), command) for command in commands]


def clients() -> list[Command]:
    """Return the commands of two machine clients, one of which is revoked."""
    secrets = [ClientSecret(fixed_id(100 + number), f"{number:064}") for number in range(4)]
    limited = Grants(("customer",), ("accounts:read", "transactions:write"), (EUROS,), (BOB,))
    return [
        RegisterClient(client_id=MACHINE, client_name="payments", grants=limited, secret=secrets[0]),
        RegisterClient(
            client_id=REVOKED_MACHINE,
            client_name="reports",
            grants=Grants(("auditor",), ("events:read",)),
            secret=secrets[1],
        ),
        IssueClientToken(
            session_id=fixed_id(110),
            client_id=MACHINE,
            secret_id=secrets[0].id,
            scopes=("accounts:read",),
            jti=fixed_id(111),
            issued_at=PAST,
            expires_at=FUTURE,
        ),
        RotateClientSecret(client_id=MACHINE, secret=secrets[2], now=PAST, overlap_ends_at=FUTURE),
        UpdateClient(
            client_id=MACHINE, client_name="payouts", given=frozenset({"user_ids", "scopes"}), scopes=limited.scopes[:1]
        ),
        RotateClientSecret(client_id=REVOKED_MACHINE, secret=secrets[3], now=PAST, overlap_ends_at=None),
        RevokeClient(client_id=REVOKED_MACHINE),
        IssueClientToken(
            session_id=fixed_id(112),
            client_id=MACHINE,
            secret_id=secrets[2].id,
            scopes=(),
            jti=fixed_id(113),
            issued_at=PAST,
            expires_at=FUTURE,
        ),
    ]


def second_factors() -> list[Command]:
    """Return a second factor that is in force, with two logins, and one that was removed."""
    commands: list[Command] = []
    for number, (user_id, name) in enumerate(((DAN, "dan"), (ERIN, "erin"))):
        factor = FactorSecret(fixed_id(120 + number), second_factor_stream(user_id), b"sealed")
        commands += [
            CreateUser(
                user_id=user_id,
                username=name,
                email=f"{name}@example.com",
                active=True,
                roles=("customer",),
                credential=secret(user_id),
            ),
            OfferSecondFactor(user_id=user_id, credential_id=secret(user_id).id, secret=factor),
            ConfirmSecondFactor(
                user_id=user_id, code=Code(factor.id, step=1), recovery_digests=("a digest", "another")
            ),
        ]
    codes = Code(fixed_id(120), step=2), Code(fixed_id(120), digest="another")
    logins = [
        StartSession(
            session_id=fixed_id(122 + 3 * number),
            user_id=DAN,
            credential_id=secret(DAN).id,
            pair=token_pair(123 + 3 * number),
            session_expires_at=FUTURE,
            code=code,
        )
        for number, code in enumerate(codes)
    ]
    return [*commands, *logins, RemoveSecondFactor(user_id=ERIN)]


def transactions() -> list[Command]:
    """Return journal entries, reversals, holds with every ending, and accounts with every policy."""
    now = datetime.now(UTC)
    soon, later = now + timedelta(seconds=1), now + timedelta(seconds=9)
    holds = [
        PlaceHold(
            transaction_id=fixed_id(70 + n),
            source_account_id=EUROS,
            destination_account_id=MORE_EUROS,
            amount_cents=10 + n,
            now=now,
            expires_at=soon,
            limit_seconds=10,
            reference=f"room {n}" if n else None,
        )
        for n in range(4)
    ]
    postings = (NewPosting(EUROS, -30), NewPosting(MORE_EUROS, 20), NewPosting(world_account_id("EUR"), 10))
    sides: dict[str, Any] = {"source_account_id": EUROS, "destination_account_id": MORE_EUROS}
    details: dict[str, Any] = {"description": "all of it", "metadata": {"key": "value"}, "effective_at": now}
    return [
        *holds,
        CaptureHold(transaction_id=HELD, **sides, amount_cents=3, now=now, final=False, reference="first", **details),
        CaptureHold(transaction_id=HELD, **sides, amount_cents=1, now=now),
        VoidHold(transaction_id=fixed_id(71), **sides, hold_reference="room 1", now=now),
        ExpireHold(transaction_id=fixed_id(72), **sides, hold_reference="room 2", now=later),
        PostJournalEntry(transaction_id=ENTRY, postings=postings, reference="salaries", **details),
        PostJournalEntry(transaction_id=new_id(), postings=postings, reference="salaries"),  # the reference is taken
        TransferMoney(
            transaction_id=new_id(),
            source_account_id=EUROS,
            destination_account_id=MORE_EUROS,
            amount_cents=3,
            reference="told",
            **details,
        ),
        ReverseTransaction(
            reversal_id=new_id(), transaction_id=ENTRY, account_ids=tuple(posting.account_id for posting in postings)
        ),
        ReverseTransaction(
            reversal_id=new_id(), transaction_id=HELD, account_ids=(EUROS, MORE_EUROS), description="back"
        ),
        ReverseTransaction(
            reversal_id=new_id(),
            transaction_id=PAYMENT,
            account_ids=(EUROS, MORE_EUROS),
            amount_cents=5_00,
            reference="refund",
            **details,
        ),
        ReverseTransaction(reversal_id=new_id(), transaction_id=PAYMENT, account_ids=(EUROS, MORE_EUROS), force=True),
        AmendTransaction(transaction_id=YEN_PAYMENT, amendment=Amendment(True, "a correction", True, {"by": "Alice"})),
        AmendTransaction(transaction_id=YEN_PAYMENT, amendment=Amendment(False, None, True, {"by": None})),
        UpdateAccount(
            account_id=DINARS,
            owner_id=None,
            balance_cents=None,
            currency="KWD",
            transaction_id=new_id(),
            overdraft_limit_cents=500,
            frozen="debits",
        ),
        UpdateAccount(
            account_id=DINARS,
            owner_id=None,
            balance_cents=None,
            currency="KWD",
            transaction_id=new_id(),
            overdraft_limit_cents=400,
            frozen="none",
        ),
        OpenAccount(account_id=REOPENED, owner_id=ALICE, currency="EUR", balance_cents=0, transaction_id=new_id()),
        CloseAccount(REOPENED),
        ReopenAccount(REOPENED, ALICE),
        *descriptions(),
    ]


def descriptions() -> list[Command]:
    """Return changes of accounts' labels; the code that one account frees, another one takes."""
    first = Labels("assets:bank", "Bank", "asset", {"branch": "042"})
    second = Labels(None, "Petty cash", "asset")  # exports name the account by its id
    change: dict[str, Any] = {"owner_id": None, "balance_cents": None, "currency": "EUR"}
    return [
        UpdateAccount(account_id=account_id, transaction_id=new_id(), labels=labels, **change)
        for account_id, labels in (
            (EUROS, LabelChange(first)),
            (EUROS, LabelChange(second, first, 1)),
            (REOPENED, LabelChange(first)),
            (MORE_EUROS, LabelChange(first)),  # its code is taken
        )
    ]


def schedules() -> list[Command]:
    """Return scheduled transactions: one waits, the others are executed, fail and are cancelled."""
    now = datetime.now(UTC)
    then = now + timedelta(days=1)
    sides: dict[str, Any] = {"source_account_id": EUROS, "destination_account_id": MORE_EUROS}
    transfers = [
        TransferMoney(
            transaction_id=fixed_id(140 + n),
            **sides,
            amount_cents=cents,
            reference=f"rent {n}",
            only_owner_id=ALICE,
            effective_at=now - timedelta(days=n) if n else None,
        )
        for n, cents in enumerate((1, 2, 3_000_000, 4))
    ]
    entry = PostJournalEntry(
        transaction_id=fixed_id(144), postings=(NewPosting(EUROS, -5), NewPosting(MORE_EUROS, 5)), only_owner_id=ALICE
    )
    wanted: tuple[Planned, ...] = (*transfers, entry)
    planned = [
        ScheduleTransaction(planned=one, actor_id=ALICE, now=now, execute_at=then, limit_seconds=90_000)
        for one in wanted
    ]
    _, paid, failed, cancelled, posted = ((one.planned.transaction_id, _to_event(one)) for one in planned)
    amendment = Amendment(describes=True, description="rent of June")
    return [
        *planned,
        *(AmendTransaction(transaction_id=one.planned.transaction_id, amendment=amendment) for one in planned[1:]),
        *(
            ExecuteSchedule(transaction_id=transaction_id, scheduled=event, now=then)
            for transaction_id, event in (paid, failed, posted)
        ),
        CancelSchedule(transaction_id=cancelled[0], scheduled=cancelled[1]),
    ]


def monitors() -> list[Command]:
    """Return monitors: one is triggered and reset, one is deleted, and one watches a sum."""
    rules = [
        Rule(EUROS, "balance_cents", "<", 1_000_000),
        Rule(MORE_EUROS, "available_cents", ">=", 10),
        Rule(None, "balance_cents", ">", 10, code_prefix="users", currency="EUR"),
    ]
    crossings = (Crossing(False, 1_000, 1, 1_000_000), Crossing(True, 1_001, 2, 5))
    return [
        *(CreateMonitor(monitor_id=fixed_id(150 + number), rule=rule) for number, rule in enumerate(rules)),
        RecordCrossings(monitor_id=fixed_id(150), crossings=crossings),
        DeleteMonitor(monitor_id=fixed_id(151)),
    ]


def reconciliations() -> list[Command]:
    """Return reconciliations of an account: one stands, one is undone, and one matches an entry of that again."""
    days = date(2026, 5, 1), date(2026, 5, 31)

    def reconcile(number: int, known_version: int, *versions: int) -> Command:
        matched = tuple(
            MatchedLine(f"line {version}", days[0], version, fixed_id(200 + version), "day") for version in versions
        )
        return ReconcileStatement(
            account_id=EUROS,
            reconciliation_id=fixed_id(number),
            known_version=known_version,
            statement=Statement(*days, f"{number}.xml", 100, 200),
            matched=matched,
            report=f'{{"id":"{fixed_id(number)}"}}',
        )

    undone = (Undone(fixed_id(161), (4, 5)),)
    return [
        reconcile(160, 0, 2, 3),
        reconcile(161, 3, 4, 5),
        UndoReconciliations(account_id=EUROS, known_version=6, undone=undone),
        reconcile(162, 7, 5),
    ]


def operations() -> list[Command]:
    """Return the records of a rebuild, a verification, and a follower that stopped and resumed."""
    now, stop_id = datetime.now(UTC), fixed_id(171)
    events: list[OperationEvent] = [
        RebuildEnded(
            operation_id=fixed_id(170), projection="users", outcome="swapped", ended_at=now, position=9, differing=1
        ),
        VerificationEnded(
            operation_id=fixed_id(172), extent="whole", outcome="succeeded", ended_at=now, position=9, findings=0
        ),
        FollowerStopped(stop_id=stop_id, follower="seals", stopped_at=now, position=8, error="no", error_position=9),
        FollowerResumed(stop_id=stop_id, follower="seals", resumed_at=now, position=8, by="operator"),
    ]
    return [to_command(event) for event in events]


def webhooks() -> list[Command]:
    """Return webhooks: one has two secrets and was asked for events again, one is disabled, and one is deleted."""
    ids = [fixed_id(number) for number in (190, 191, 192)]
    every = WebhookSettings("https://example.com/all", ("MoneyTransferred",), "users:", "account", "of the shop")
    secrets = [SealedSecret(fixed_id(195 + number), b"sealed") for number in range(4)]
    return [
        CreateWebhook(webhook_id=ids[0], settings=WebhookSettings("https://example.com/hooks"), secret=secrets[0]),
        CreateWebhook(webhook_id=ids[1], settings=every, secret=secrets[1], client_id=MACHINE, from_position=1),
        CreateWebhook(webhook_id=ids[2], settings=every, secret=secrets[2]),
        RotateWebhookSecret(webhook_id=ids[0], secret=secrets[3], overlap_ends_at=FUTURE),
        *(RequestRedelivery(webhook_id=ids[0], event_position=position) for position in (3, 4)),
        RewindWebhook(webhook_id=ids[0], from_position=2),
        ChangeWebhook(webhook_id=ids[1], given=frozenset({"code_prefix"})),
        DisableWebhook(webhook_id=ids[1], reason="gone", failed_position=3),
        EnableWebhook(webhook_id=ids[1]),
        DisableWebhook(webhook_id=ids[1], reason="requested"),
        DeleteWebhook(webhook_id=ids[2]),
        DisableWebhook(webhook_id=ids[0], reason="failing"),
    ]


def _to_event(command: ScheduleTransaction) -> TransactionScheduled:
    planned = command.planned
    if isinstance(planned, TransferMoney):
        event: dict[str, Any] = {"transfer": planned.to_event("EUR")}
    else:
        postings = tuple(Posting(*posting, "EUR") for posting in planned.postings)
        event = {"journal_entry": JournalEntryPosted(postings=postings, kind="journal", reference=None)}
    return TransactionScheduled(
        **event, execute_at=command.execute_at, actor_id=command.actor_id, only_owner_id=planned.only_owner_id
    )


async def execute(runtime: Runtime) -> None:
    """Let it all happen, and reach the revocation cache."""
    for command_id, command in history():
        try:
            await runtime.committer.submit(command, Origin(command_id))
        except Refused:
            continue
    await runtime.revocation_cache.fill()
