"""Invariants that hold after any sequence of commands."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st

from ledger.commands.accounts import CloseAccount, OpenAccount, ReopenAccount, UpdateAccount
from ledger.commands.assets import RegisterAsset
from ledger.commands.command import Command
from ledger.commands.holds import CaptureHold, ExpireHold, PlaceHold, VoidHold
from ledger.commands.journal import NewPosting, PostJournalEntry
from ledger.commands.reversals import ReverseTransaction
from ledger.commands.seals import AcceptSealHead
from ledger.commands.tokens import (
    EndSession,
    ForgetTokens,
    LogOut,
    RevokeAllTokens,
    RevokeUserTokens,
    StartSession,
)
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser
from ledger.events import (
    TOPICS,
    State,
    decode_event,
    decode_state,
    encode,
    evolve,
)
from ledger.events.accounts import (
    Account,
    AccountCredited,
    AccountDebited,
    Freeze,
    world_account_id,
)
from ledger.events.seals import SealHeadAccepted
from ledger.events.tokens import CLEANUPS, Cleanups
from ledger.events.transactions import (
    HoldCaptured,
    HoldExpired,
    HoldVoided,
    TransactionReversed,
)
from ledger.events.users import (
    email_streams,
    username_stream,
)
from ledger.money import MAX_CENTS
from ledger.store.heads import NO_STREAM, Head
from tests.support import (
    client_commands,
    factor_commands,
    label_commands,
    operation_commands,
    period_commands,
    policy_commands,
    schedule_commands,
)
from tests.support.ledgers import (
    ACCOUNTS,
    ALICE,
    BOB,
    EVENTS,
    NOON,
    PURSE,
    SECRET,
    TILL,
    USERS,
    WORLD,
    WORLD_OF_EUROS,
    Ledger,
    account_ids,
    change,
    deletion,
    named_id,
    names,
    new_credential,
    refresh,
    rehash,
    roles,
    transaction_ids,
    user_ids,
)

Maker = Callable[[Ledger], Command]  # some commands depend on the ledger's state


any_ids = st.sampled_from([*ACCOUNTS, *ACCOUNTS, ALICE, WORLD, named_id("transfer 1")])
currencies = st.sampled_from(["USD", "USD", "EUR", "HOURS"])
amounts = st.integers(1, 200) | st.sampled_from([100, MAX_CENTS - 1, MAX_CENTS])
balances = st.integers(0, 300) | st.sampled_from([0, MAX_CENTS])
mostly = st.sampled_from([True, True, True, False])
times = st.sampled_from([0, 5, 20, 60, 99, 100])
token_numbers = st.integers(0, 3)


WORLDS = {WORLD, WORLD_OF_EUROS, world_account_id("HOURS")}


def draw_command(make: Callable[..., Command], *drawn: st.SearchStrategy[Any]) -> st.SearchStrategy[Maker]:
    """Return a strategy of commands that are built from a ledger and from drawn values."""
    return st.tuples(*drawn).map(lambda given: lambda ledger: make(ledger, *given))


def login(ledger: Ledger, user_id: UUID, is_right: bool, now: int) -> Command:
    return StartSession(
        session_id=ledger.fresh_id(),
        user_id=user_id,
        credential_id=SECRET if is_right else TILL,
        pair=ledger.fresh_pair(now),
        session_expires_at=now + 100,
    )


def forget_tokens(ledger: Ledger, time: int, count: int, is_fresh: bool) -> Command:
    state = ledger.states().get(CLEANUPS)
    known = state.count if isinstance(state, Cleanups) else 0
    return ForgetTokens(
        expired_before=time, as_of_position=len(ledger.history), count=count, cleanups=known if is_fresh else -1
    )


def journal_entry(
    _: Ledger, transaction_id: UUID, account_ids: list[UUID], cents: list[int], reference: str | None
) -> Command:
    legs = [NewPosting(*leg) for leg in zip(account_ids[1:], cents, strict=False)]
    legs.append(NewPosting(account_ids[0], -sum(leg.amount_cents for leg in legs) or 1))
    return PostJournalEntry(
        transaction_id=transaction_id,
        postings=tuple(legs),
        reference=reference,
        only_owner_id=None,
        id_was_chosen=True,
        description="a description",
        metadata={"key": "value"},
        effective_at=NOON,
    )


def place_hold(_: Ledger, now: int, lasts: int, reference: str | None, *drawn: Any) -> Command:
    moment = NOON + timedelta(seconds=now)
    members: dict[str, Any] = {"now": moment, "expires_at": moment + timedelta(seconds=lasts), "limit_seconds": 100}
    transaction_id, source, destination, cents = drawn
    return PlaceHold(
        transaction_id=transaction_id,
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=cents,
        **members,
        reference=reference,
        id_was_chosen=True,
    )


def of_hold(ledger: Ledger, number: int, now: int) -> dict[str, Any]:
    transaction_id, state = ledger.transfer(number, "hold")
    hold = state.hold
    return {
        "transaction_id": transaction_id,
        "source_account_id": hold.source_account_id if hold else PURSE,
        "destination_account_id": hold.destination_account_id if hold else TILL,
        "hold_reference": hold.reference if hold else None,
        "now": NOON + timedelta(seconds=now),
    }


def capture(ledger: Ledger, number: int, cents: int | None, now: int, is_final: bool, reference: str | None) -> Command:
    return CaptureHold(**of_hold(ledger, number, now), amount_cents=cents, final=is_final, reference=reference)


def end_of_hold(ledger: Ledger, command: type[VoidHold | ExpireHold], number: int, now: int) -> Command:
    return command(**of_hold(ledger, number, now))


def reversal(ledger: Ledger, number: int, force: bool, *drawn: Any) -> Command:
    transaction_id, state = ledger.transfer(number)
    account_ids = tuple(posting.account_id for posting in state.postings)
    cents, destination, reference = drawn
    return ReverseTransaction(
        reversal_id=ledger.fresh_id(),
        transaction_id=transaction_id,
        account_ids=account_ids,
        amount_cents=cents,
        destination_account_id=destination,
        force=force,
        reference=reference,
    )


def reopen(ledger: Ledger, account_id: UUID) -> Command:
    account = ledger.accounts().get(account_id)
    return ReopenAccount(account_id, (account.owner_id if account else None) or ALICE)


references = st.sampled_from([None, None, None, "rent", "fees"])


numbers = st.integers(0, 5)


transfers = draw_command(
    lambda _, key, source, destination, cents, reference, owner: TransferMoney(
        transaction_id=key,
        source_account_id=source,
        destination_account_id=destination,
        amount_cents=cents,
        reference=reference,
        only_owner_id=owner,
        id_was_chosen=True,
    ),
    transaction_ids,
    any_ids,
    any_ids,
    amounts,
    references,
    st.sampled_from([None, ALICE]),
)


holds: st.SearchStrategy[Maker] = st.one_of(
    draw_command(
        place_hold,
        times,
        st.sampled_from([10, 50, 100, 0, 101]),
        references,
        transaction_ids,
        any_ids,
        any_ids,
        amounts,
    ),
    draw_command(capture, numbers, st.none() | st.integers(1, 100), times, st.booleans(), references),
    draw_command(end_of_hold, st.sampled_from([VoidHold, ExpireHold]), numbers, times),
)


entries_and_reversals: st.SearchStrategy[Maker] = st.one_of(
    draw_command(
        journal_entry,
        transaction_ids,
        st.lists(any_ids, min_size=2, max_size=4),
        st.lists(st.integers(-100, 100).filter(bool), min_size=3, max_size=3),
        references,
    ),
    draw_command(
        reversal,
        numbers,
        st.booleans(),
        st.none() | st.integers(1, 60),
        st.none() | st.none() | account_ids,
        references,
    ),
)


policies = draw_command(
    policy_commands.change,
    account_ids,
    *(policy_commands.overdraft_limits, policy_commands.freezes, policy_commands.max_balances),
    st.booleans(),
)


def accept_chain(_: Ledger, number: int) -> Command:
    accepted = SealHeadAccepted(number=number, hash="", previous_number=None, previous_hash="", reason="a test")
    return AcceptSealHead(accepted=accepted)


client_makers: st.SearchStrategy[Maker] = st.one_of(
    draw_command(client_commands.register, client_commands.client_ids, client_commands.grants),
    draw_command(client_commands.issue, client_commands.client_ids, numbers, client_commands.scopes, times),
    draw_command(
        client_commands.update,
        *(client_commands.client_ids, st.sets(st.sampled_from(client_commands.MEMBERS)), client_commands.grants),
    ),
    draw_command(client_commands.rotate, client_commands.client_ids, times, st.sampled_from([0, 10])),
    draw_command(client_commands.revoke, client_commands.client_ids),
)


steps = st.sampled_from([1, 1, 0, None])
factor_makers: st.SearchStrategy[Maker] = st.one_of(
    draw_command(factor_commands.enrol, user_ids, st.booleans()),
    draw_command(factor_commands.log_in, user_ids, steps, times),
    draw_command(factor_commands.remove, user_ids, steps, st.booleans()),
)


token_makers: st.SearchStrategy[Maker] = st.one_of(
    draw_command(refresh, token_numbers, times, st.sampled_from([0, 10]), mostly),
    draw_command(lambda ledger, number: LogOut(*ledger.refresh_token(number)), token_numbers),
    draw_command(
        lambda ledger, number, only: EndSession(ledger.refresh_token(number)[0], only),
        token_numbers,
        st.sampled_from([None, None, ALICE, BOB]),
    ),
    draw_command(
        lambda _, user_id: RevokeUserTokens(user_id) if user_id else RevokeAllTokens(), st.sampled_from([*USERS, None])
    ),
    draw_command(forget_tokens, times, st.integers(0, 2), mostly),
)


makers: st.SearchStrategy[Maker] = st.one_of(
    transfers,
    holds,
    holds,
    entries_and_reversals,
    policies,
    draw_command(
        lambda ledger, key, owner, currency, cents: OpenAccount(
            account_id=key, owner_id=owner, currency=currency, balance_cents=cents, transaction_id=ledger.fresh_id()
        ),
        *(account_ids, user_ids, currencies, balances),
    ),
    draw_command(
        lambda ledger, key, owner, cents, currency: UpdateAccount(
            account_id=key, owner_id=owner, balance_cents=cents, currency=currency, transaction_id=ledger.fresh_id()
        ),
        *(account_ids, user_ids, balances, currencies),
    ),
    draw_command(
        lambda _, code, digits: RegisterAsset(code=code, asset_name="an asset", digits=digits),
        *(currencies, st.sampled_from([0, 18])),
    ),
    draw_command(lambda _, account_id: CloseAccount(account_id), account_ids),
    draw_command(reopen, account_ids),
    draw_command(
        lambda _, key, name, email, active, role_names: CreateUser(
            user_id=key, username=name, email=email, active=active, roles=role_names, credential=new_credential(key)
        ),
        user_ids,
        names,
        names,
        st.booleans(),
        roles,
    ),
    draw_command(change, user_ids, mostly, *[st.none() | names] * 2, st.none() | st.booleans(), roles, st.booleans()),
    draw_command(deletion, user_ids, mostly),
    draw_command(rehash, user_ids),
    draw_command(login, user_ids, mostly, times),
    draw_command(accept_chain, st.integers(0, 3)),
    token_makers,
    client_makers,
    factor_makers,
    schedule_commands.makers,
    draw_command(label_commands.amend, transaction_ids, label_commands.account_names),
    draw_command(label_commands.describe, account_ids, label_commands.codes, label_commands.account_names),
    draw_command(lambda _, command: command, period_commands.closings | period_commands.reopenings),
    draw_command(lambda _, command: command, operation_commands.records),
)


def populated(ledger: Ledger) -> Ledger:
    """Prepare a ledger in which most commands succeed."""
    for user_id, name in zip(USERS, ("alice", "bob", "fish"), strict=True):
        ledger.execute(
            CreateUser(
                user_id=user_id,
                username=name,
                email=name,
                active=name != "fish",
                roles=("customer",),
                credential=new_credential(user_id),
            )
        )
        factor_commands.live_through(ledger, user_id)
        ledger.execute(login(ledger, user_id, is_right=True, now=0))
        for number in range(2):  # the second is a retry with the token that the first has exchanged
            ledger.execute(refresh(ledger, number, now=0, grace_seconds=1, enforced=True))
    for active in (True, False):
        ledger.execute(change(ledger, USERS[2], True, None, None, active, None, False))
    ledger.execute(rehash(ledger, USERS[0]))
    for number, account_id in enumerate(ACCOUNTS):
        ledger.execute(
            OpenAccount(
                account_id=account_id,
                owner_id=USERS[number % 3],
                currency="USD",
                balance_cents=100 * (number % 3),
                transaction_id=ledger.fresh_id(),
            )
        )
    for number in range(3):
        ledger.execute(
            place_hold(ledger, 0, 50, "fees" if number == 2 else None, named_id(f"hold {number}"), TILL, PURSE, 20)
        )
    ledger.execute(label_commands.amend(ledger, named_id("hold 0"), "a deposit"))
    ledger.execute(end_of_hold(ledger, VoidHold, 0, 0))
    for code in ("assets", "assets:cash"):
        ledger.execute(label_commands.describe(ledger, ACCOUNTS[3], code, None))
    ledger.execute(CloseAccount(ACCOUNTS[3]))
    ledger.execute(reopen(ledger, ACCOUNTS[3]))
    schedule_commands.live_through(ledger)
    policies: tuple[tuple[int, Freeze, int], ...] = ((50, "all", 90), (60, "none", 100))
    for policy in policies:
        ledger.execute(policy_commands.change(ledger, ACCOUNTS[3], *policy))
    ledger.execute(RegisterAsset(code="HOURS", asset_name="hours", digits=2))
    return ledger


@st.composite
def ledgers(draw: st.DrawFn, at_least: int = 1) -> Ledger:
    """Draw a ledger after any sequence of commands in commit groups of any size."""
    ledger = populated(Ledger()) if draw(mostly) else Ledger()
    for make, ends_group in draw(st.lists(st.tuples(makers, st.booleans()), min_size=at_least, max_size=25)):
        ledger.execute(make(ledger))
        if ends_group:
            ledger.next_group()
    return ledger


any_ledger = hypothesis.given(ledger=ledgers())


@any_ledger
def test_no_balance_exceeds_its_limit_with_what_holds_will_pay(ledger: Ledger) -> None:
    assert all(account.has_room_for(0) for account in ledger.accounts().values())


@any_ledger
def test_all_balances_of_a_currency_sum_to_zero(ledger: Ledger) -> None:
    sums: Counter[str] = Counter()
    for account in ledger.accounts().values():
        sums[account.currency] += account.balance_cents
    assert {0} >= set(sums.values())


@any_ledger
def test_no_command_takes_more_than_is_available_unless_forced(ledger: Ledger) -> None:
    states: dict[UUID, State] = {}
    for command, rows in ledger.steps:
        before = dict(states)
        for row in rows:
            states[row.stream_id] = evolve(states.get(row.stream_id), row.event)
        is_forced = isinstance(command, ReverseTransaction) and command.force
        for stream_id in {row.stream_id for row in rows} - WORLDS:
            account, earlier = states[stream_id], before.get(stream_id)
            if isinstance(account, Account) and not is_forced:
                least = earlier.available_cents if isinstance(earlier, Account) else 0
                assert min(0, least) <= account.available_cents


@any_ledger
def test_the_held_amounts_are_the_sums_of_pending_holds(ledger: Ledger) -> None:
    held, incoming = Counter[UUID](), Counter[UUID]()
    for transfer in ledger.transfers().values():
        if transfer.hold is not None and transfer.status == "pending":
            rest = transfer.hold.amount_cents - (transfer.captured_cents or 0)
            held[transfer.hold.source_account_id] += rest
            incoming[transfer.hold.destination_account_id] += rest
    known = ledger.accounts()
    assert +held == +Counter({key: account.held_cents for key, account in known.items()})
    assert +incoming == +Counter({key: account.incoming_cents for key, account in known.items()})
    assert 0 <= min([min(account.held_cents, account.incoming_cents) for account in known.values()], default=0)


@any_ledger
def test_no_account_of_a_pending_hold_is_closed(ledger: Ledger) -> None:
    closed = {key for key, account in ledger.accounts().items() if account.closed}
    pending = [state.hold for state in ledger.transfers().values() if state.hold and state.status == "pending"]
    assert closed.isdisjoint({hold.source_account_id for hold in pending})
    assert closed.isdisjoint({hold.destination_account_id for hold in pending})


@any_ledger
def test_no_two_accounts_have_the_same_code(ledger: Ledger) -> None:
    codes = label_commands.codes_in_use(ledger)
    assert len(codes) == len(set(codes))


def _is_end(event: Any) -> bool:
    return isinstance(event, HoldVoided | HoldExpired) or (isinstance(event, HoldCaptured) and event.final)


@any_ledger
def test_a_hold_ends_once_and_a_transaction_is_wholly_reversed_once(ledger: Ledger) -> None:
    """Lesson 8."""
    ended = [row.stream_id for row in ledger.history if _is_end(row.event)]
    reversed_ = [
        row.stream_id
        for row in ledger.history
        if isinstance(row.event, TransactionReversed) and not row.event.is_partial
    ]
    assert len(set(ended)) == len(ended)
    assert len(set(reversed_)) == len(reversed_)


@any_ledger
def test_captures_never_move_more_than_was_held(ledger: Ledger) -> None:
    for state in ledger.transfers().values():
        if state.hold is not None:
            assert 0 <= (state.captured_cents or 0) <= state.hold.amount_cents
            assert (state.status == "captured") <= (state.captured_cents is not None)


@any_ledger
def test_reversals_never_move_back_more_than_was_moved(ledger: Ledger) -> None:
    known = ledger.transfers()
    back: dict[UUID, list[UUID]] = defaultdict(list)
    for key, state in known.items():
        if state.reverses is not None:
            back[state.reverses].append(key)
    for first in {*back, *(key for key, state in known.items() if state.reversed_by is not None)}:
        moved = sum(max(0, posting.amount_cents) for posting in known[first].postings)
        returned = sum(max(0, posting.amount_cents) for key in back[first] for posting in known[key].postings)
        assert (known[first].reversed_by is not None) == (moved == returned)
        assert returned <= moved


@any_ledger
def test_two_transactions_never_share_a_reference(ledger: Ledger) -> None:
    """What ended without moving money has none any more."""
    begun = [
        state.scheduled.planned if state.scheduled else state.transfer or state.journal_entry or state.hold
        for state in ledger.transfers().values()
        if state.status not in {"voided", "expired", "failed"}
    ]
    told = [event.reference for event in begun if event is not None and event.reference is not None]
    told += [
        row.event.reference for row in ledger.history if isinstance(row.event, HoldCaptured) and row.event.reference
    ]
    assert len(set(told)) == len(told)


@any_ledger
def test_the_entries_of_each_transfer_cancel(ledger: Ledger) -> None:
    entries: dict[UUID, Counter[UUID]] = defaultdict(Counter)
    for row in ledger.history:
        if isinstance(row.event, AccountDebited | AccountCredited):
            sign = -1 if type(row.event) is AccountDebited else 1
            entries[row.event.transaction_id][row.stream_id] += sign * row.event.amount_cents
    for key, state in ledger.transfers().items():
        expected = Counter[UUID]()
        sums = Counter[str]()
        for leg in state.postings:
            expected[leg.account_id] += leg.amount_cents
            sums[leg.currency] += leg.amount_cents
        assert expected == entries[key]
        assert {0} >= set(sums.values())


@any_ledger
def test_the_balance_in_each_entry_is_the_sum_of_all_entries_up_to_it(ledger: Ledger) -> None:
    sums: Counter[UUID] = Counter()
    for row in ledger.history:
        if isinstance(row.event, AccountDebited | AccountCredited):
            sign = 1 if isinstance(row.event, AccountCredited) else -1
            sums[row.stream_id] += sign * row.event.amount_cents
            assert sums[row.stream_id] == row.event.balance_cents


@any_ledger
def test_two_users_never_share_a_name(ledger: Ledger) -> None:
    living = [user for user in ledger.users().values() if not user.deleted]
    assert len(living) == len({username_stream(user.username) for user in living})
    assert len(living) == len({email_streams(user.email)[0] for user in living})


@any_ledger
def test_every_prefix_of_a_history_folds_and_the_whole_gives_the_heads(ledger: Ledger) -> None:
    """Lesson 17."""
    heads: dict[UUID, Head] = defaultdict(lambda: NO_STREAM)
    for row in ledger.history:
        head = heads[row.stream_id]
        heads[row.stream_id] = Head(head.version + 1, evolve(head.state, row.event))
        assert row.version == head.version + 1
    assert {**ledger.group.heads, **ledger.group.changed} == heads


@any_ledger
def test_everything_a_ledger_stores_is_read_back_unchanged(ledger: Ledger) -> None:
    events = [row.event for row in ledger.history]
    states = list(ledger.states().values())
    assert events == [decode_event(TOPICS[type(event)], encode(event)) for event in events]
    assert states == [decode_state(TOPICS[type(state)], encode(state)) for state in states]


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of the ledger that is found; it is not shown
def test_the_sequences_reach_every_event() -> None:
    """A property that sees only refusals guards nothing."""
    seen: set[type[Any]] = set()

    def saw_the_last(ledger: Ledger) -> bool:
        seen.update(type(row.event) for row in ledger.history)
        return set(EVENTS) == seen

    settings = hypothesis.settings(max_examples=2000, database=None, phases=[hypothesis.Phase.generate])
    hypothesis.find(ledgers(at_least=15), saw_the_last, settings=settings, random=Random(9))  # noqa: S311 - the same run each time
    assert set(EVENTS) == seen
