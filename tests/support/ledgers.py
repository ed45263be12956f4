"""Histories, commands and strategies for the tests of decisions: given events, when a command, then events."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID, uuid5

import pytest
from hypothesis import strategies as st

from ledger.commands.command import Command, Credential, Decision, StreamEvent
from ledger.commands.tokens import (
    RefreshTokens,
)
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import DeleteUser, RehashPassword, UpdateUser
from ledger.errors import Refused, StaleCommandError
from ledger.events import (
    Event,
    Recorded,
    State,
    account_labels,
    accounts,
    assets,
    clients,
    evolve,
    fold,
    monitors,
    operations,
    periods,
    reconciliations,
    seals,
    second_factors,
    tokens,
    transactions,
    users,
    webhooks,
)
from ledger.events.accounts import (
    Account,
    AccountCredited,
    AccountDebited,
    AccountOpened,
    world_account_id,
)
from ledger.events.tokens import Pair, TokensIssued, TokensRotated
from ledger.events.transactions import (
    Transaction,
)
from ledger.events.users import (
    AccountAssigned,
    NameClaimed,
    User,
    UserCreated,
    email_streams,
    username_stream,
)
from ledger.store.heads import NO_STREAM, Head
from ledger.write.group import CommitGroup


def named_id(name: str) -> UUID:
    """Return the same id for the same name."""
    return uuid5(UUID(int=0), name)


ALICE, BOB, NOBODY = named_id("alice"), named_id("bob"), named_id("nobody")


PURSE, TILL, SAFE = named_id("purse"), named_id("till"), named_id("safe")


TRANSFER, OTHER_TRANSFER, SESSION, COMMAND = (
    named_id("transfer"),
    named_id("other"),
    named_id("session"),
    named_id("command"),
)


SECRET, NEW_SECRET = named_id("secret"), named_id("new secret")


WORLD, WORLD_OF_EUROS = world_account_id("USD"), world_account_id("EUR")


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def new_credential(user_id: UUID) -> Credential:
    return Credential(SECRET, user_id, "a hash")


def user_events(
    user_id: UUID, name: str, *, active: bool = True, roles: tuple[Any, ...] = ("customer",)
) -> list[StreamEvent]:
    email = f"{name}@example.com"
    return [
        (user_id, UserCreated(name, email, active, roles, SECRET, new_credential(user_id).digest)),
        (username_stream(name), NameClaimed(user_id)),
        (email_streams(email)[0], NameClaimed(user_id)),
    ]


def account_events(
    account_id: UUID, owner_id: UUID, balance_cents: int = 0, currency: str = "USD"
) -> list[StreamEvent]:
    opened: list[StreamEvent] = [
        (account_id, AccountOpened(owner_id, currency)),
        (owner_id, AccountAssigned(account_id)),
    ]
    return [*opened, (account_id, AccountCredited(OTHER_TRANSFER, balance_cents, balance_cents))][
        : 3 if balance_cents else 2
    ]


ALICE_EXISTS = user_events(ALICE, "alice")


BOB_EXISTS = user_events(BOB, "bob")


TWO_ACCOUNTS = [*ALICE_EXISTS, *BOB_EXISTS, *account_events(PURSE, ALICE, 100), *account_events(TILL, BOB)]


WORLD_EXISTS: list[StreamEvent] = [
    (WORLD, AccountOpened(None, "USD")),
    (WORLD, AccountDebited(OTHER_TRANSFER, 100, -100)),
]


@dataclass(frozen=True)
class Given:
    """A history. `when` decides a command after it, with only the streams that the command names."""

    history: Iterable[StreamEvent] = ()

    def decide(self, command: Command) -> Decision:
        streams: dict[UUID, list[Event]] = defaultdict(list)
        for stream_id, event in self.history:
            streams[stream_id].append(event)
        return command.decide(
            {stream_id: fold(streams[stream_id]) for stream_id in (*command.streams(), *command.creates())}
        )

    def when(self, command: Command) -> list[StreamEvent]:
        return self.decide(command).events

    def refuses(self, command: Command) -> list[str]:
        with pytest.raises(Refused) as refused:
            self.decide(command)
        return [refusal.code for refusal in refused.value.refusals]


def transfer_command(amount_cents: int = 30, **members: Any) -> TransferMoney:
    named = {"transaction_id": TRANSFER, "source_account_id": PURSE, "destination_account_id": TILL, **members}
    return TransferMoney(amount_cents=amount_cents, **named)


def user_update(**members: Any) -> UpdateUser:
    defaults = {
        "user_id": ALICE,
        "known_username": "alice",
        "known_email": "alice@example.com",
        "username": "alice",
        "email": "alice@example.com",
        "active": None,
        "roles": ("customer",),
        "credential": None,
    }
    return UpdateUser(**{**defaults, **members})


def user_deletion(*account_ids: UUID, assignments: int = 0, known_username: str = "alice") -> DeleteUser:
    return DeleteUser(
        user_id=ALICE,
        known_username=known_username,
        known_email="alice@example.com",
        account_ids=account_ids,
        assignments=assignments,
    )


def commit_group(history: Iterable[StreamEvent]) -> CommitGroup:
    heads: dict[UUID, Head] = {}
    for stream_id, event in history:
        before = heads.get(stream_id, NO_STREAM)
        heads[stream_id] = Head(before.version + 1, evolve(before.state, event))
    return CommitGroup(heads)


USERS = [ALICE, BOB, named_id("carol")]


ACCOUNTS = [PURSE, TILL, SAFE, named_id("chest")]


NAMES = ["alice", "Alice", "ALICE", "bob", "stra\u00dfe", "STRASSE", "\ufb01sh", "fish"]


@dataclass
class Ledger:
    """A ledger as a sequence of commit groups, with its full history of events."""

    group: CommitGroup = field(default_factory=lambda: CommitGroup({}))
    history: list[Recorded] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    steps: list[tuple[Command, list[Recorded]]] = field(default_factory=list)

    def execute(self, command: Command) -> Decision | Refused | Exception:
        before = dict(self.group.changed), list(self.group.appended)
        result = self.group.decide(command, COMMAND)
        if not isinstance(result, Decision):
            assert before == (self.group.changed, self.group.appended)
            assert isinstance(result, Refused | StaleCommandError), result
        self.steps.append((command, self.group.appended[len(before[1]) :]))
        self.history += self.steps[-1][1]
        self.results.append(result)
        return result

    def next_group(self) -> None:
        self.group = CommitGroup({**self.group.heads, **self.group.changed})

    def states(self) -> dict[UUID, State]:
        heads = {**self.group.heads, **self.group.changed}
        return {stream_id: head.state for stream_id, head in heads.items() if head.state is not None}

    def accounts(self) -> dict[UUID, Account]:
        return {key: state for key, state in self.states().items() if isinstance(state, Account)}

    def users(self) -> dict[UUID, User]:
        return {key: state for key, state in self.states().items() if isinstance(state, User)}

    def transfers(self) -> dict[UUID, Transaction]:
        return {key: state for key, state in self.states().items() if isinstance(state, Transaction)}

    def transfer(self, number: int, kind: str = "any") -> tuple[UUID, Transaction]:
        """Return a transaction, counted from the last (0); an unknown one if there are none."""
        found = [(key, state) for key, state in self.transfers().items() if kind == "any" or state.hold is not None]
        return found[-1 - number % len(found)] if found else (NOBODY, Transaction())

    def fresh_id(self) -> UUID:
        """Return an id as the service would generate it."""
        return named_id(f"fresh {len(self.results)}")

    def fresh_pair(self, now: int) -> Pair:
        number = len(self.results)
        return Pair(named_id(f"access {number}"), now + 10, named_id(f"refresh {number}"), now + 50, now)

    def refresh_tokens(self) -> list[tuple[UUID, UUID, UUID]]:
        """Return the session, user and id of every refresh token ever issued."""
        return [
            (row.stream_id, row.event.user_id, row.event.refresh_jti)
            for row in self.history
            if isinstance(row.event, TokensIssued | TokensRotated)
        ]

    def refresh_token(self, number: int) -> tuple[UUID, UUID, UUID]:
        """Return a refresh token, counted from the last (0); one of an unknown session if there are none."""
        issued = self.refresh_tokens()
        return issued[-1 - number % len(issued)] if issued else (SESSION, ALICE, NOBODY)

    def names_of(self, user_id: UUID) -> tuple[str, str]:
        user = self.users().get(user_id)
        return (user.username, user.email) if user else ("nobody", "nobody@example.com")


user_ids, account_ids = st.sampled_from(USERS), st.sampled_from(ACCOUNTS)


transaction_ids = st.sampled_from([named_id(f"transfer {number}") for number in range(12)])


names = st.sampled_from(NAMES)


roles = st.sampled_from([("customer",), ("admin", "auditor"), ("guest",)])


def deletion(ledger: Ledger, user_id: UUID, is_fresh: bool) -> Command:
    own = [key for key, account in ledger.accounts().items() if account.owner_id == user_id and not account.closed]
    user = ledger.users().get(user_id)
    username, email = ledger.names_of(user_id)
    return DeleteUser(
        user_id=user_id,
        known_username=username,
        known_email=email,
        account_ids=tuple(own),
        assignments=user.assignments if user and is_fresh else -1,
    )


def change(ledger: Ledger, user_id: UUID, is_fresh: bool, *wanted: Any) -> Command:
    known = ledger.names_of(user_id) if is_fresh else ("stale", "stale")
    username, email, active, role_names, has_secret = wanted
    return UpdateUser(
        user_id=user_id,
        known_username=known[0],
        known_email=known[1],
        username=username or known[0],
        email=email or known[1],
        active=active,
        roles=role_names,
        credential=new_credential(user_id) if has_secret else None,
    )


def rehash(ledger: Ledger, user_id: UUID) -> Command:
    user = ledger.users().get(user_id)
    credential = new_credential(user_id) if user is None else Credential(user.credential_id, user_id, "another hash")
    return RehashPassword(user_id, credential)


def refresh(ledger: Ledger, number: int, now: int, grace_seconds: int, enforced: bool) -> Command:
    session_id, user_id, refresh_jti = ledger.refresh_token(number)
    return RefreshTokens(
        session_id=session_id,
        user_id=user_id,
        refresh_jti=refresh_jti,
        pair=ledger.fresh_pair(now),
        grace_seconds=grace_seconds,
        enforced=enforced,
        retry_hash=str(refresh_jti),
    )


def members(union: Any) -> tuple[Any, ...]:
    return get_args(union) or (union,)


EVENTS: tuple[type[Any], ...] = members(Event)


FAMILIES: dict[Any, type[Any]] = {
    event: state
    for union, state in (
        (accounts.AccountEvent, accounts.Account),
        (account_labels.AccountCodeEvent, account_labels.AccountCode),
        (transactions.TransactionEvent, transactions.Transaction),
        (transactions.ReferenceEvent, transactions.Reference),
        (users.UserEvent, users.User),
        (users.NameEvent, users.Name),
        (clients.ClientEvent, clients.Client),
        (second_factors.SecondFactorEvent, second_factors.SecondFactor),
        (assets.AssetRegistered, assets.Asset),
        (tokens.SessionEvent, tokens.Session),
        (tokens.AllTokensRevoked, tokens.Cutoffs),
        (tokens.RevokedTokensForgotten, tokens.Cleanups),
        (seals.SealHeadAccepted, seals.SealChain),
        (periods.PeriodEvent, periods.Periods),
        (monitors.MonitorEvent, monitors.Monitor),
        (reconciliations.ReconciliationEvent, reconciliations.Reconciliation),
        (operations.RebuildEnded, operations.Rebuilds),
        (operations.VerificationEnded, operations.Verifications),
        (operations.FollowerEvent, operations.FollowerStops),
        (webhooks.WebhookEvent, webhooks.Webhook),
    )
    for event in members(union)
}
