"""The accounts that events name, and the topics of the events of accounts."""

from typing import Any, get_args

import msgspec
import pytest

from ledger.events import TOPICS, Event, decode_event
from ledger.events.accounts import AccountEvent
from ledger.events.clients import ClientEvent
from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.events.monitors import MonitorCreated, Rule
from ledger.events.schemas import sample_state
from ledger.events.transactions import JournalEntryPosted, MoneyTransferred, Posting, TransactionScheduled
from ledger.events.users import AccountAssigned
from ledger.publish.accounts import ACCOUNT_TOPICS, name_accounts
from ledger.values.ids import new_id
from ledger.values.timestamps import parse_time

ONE, TWO = new_id(), new_id()
TRANSFER = MoneyTransferred(
    reference=None, source_account_id=ONE, destination_account_id=TWO, amount_cents=1, currency="USD", kind="transfer"
)


def test_a_transfer_names_both_accounts() -> None:
    assert (ONE, TWO) == name_accounts(TRANSFER)


def test_a_journal_entry_names_each_account_once() -> None:
    postings = tuple(Posting(account, 1, "USD") for account in (ONE, TWO, ONE))
    assert (ONE, TWO) == name_accounts(JournalEntryPosted(reference=None, postings=postings, kind="journal"))


def test_a_scheduled_transfer_names_its_accounts() -> None:
    event = TransactionScheduled(transfer=TRANSFER, execute_at=parse_time("2026-01-01T00:00:00Z"), actor_id=new_id())
    assert (ONE, TWO) == name_accounts(event)


def test_a_monitor_names_its_account_and_a_sum_none() -> None:
    rule = Rule(ONE, "balance_cents", "<", 0)
    assert (ONE,) == name_accounts(MonitorCreated(rule, triggered=False, seen_version=1))
    rule = Rule(None, "balance_cents", "<", 0, "assets", "USD")
    assert () == name_accounts(MonitorCreated(rule, triggered=False, seen_version=1))


def test_an_assignment_names_its_account() -> None:
    assert (ONE,) == name_accounts(AccountAssigned(ONE))


@pytest.mark.parametrize("topic", sorted(TOPICS[cls] for cls in get_args(Event)))
def test_each_account_that_an_event_has_is_named(topic: str) -> None:
    """Webhooks of an account would miss an event that does not name it. What a client may debit is no such event."""
    state = sample_state(topic)
    event = decode_event(topic, msgspec.json.encode(state))
    if not isinstance(event, AccountEvent | ClientEvent):
        assert find_accounts(state) == {str(one) for one in name_accounts(event)}


def find_accounts(value: Any, name: str = "") -> set[str]:
    """Return the account ids anywhere in an event, by the names of their members."""
    if isinstance(value, dict):
        return set().union(*(find_accounts(one, name) for name, one in value.items()))
    if isinstance(value, list):
        return set().union(*(find_accounts(one, name) for one in value))
    return {value} if name.endswith(("account_id", "account_ids")) and value is not None else set()


def test_all_events_of_accounts_leave() -> None:
    """The publisher learns the codes of accounts from these."""
    assert {TOPICS[cls] for cls in get_args(AccountEvent)} == ACCOUNT_TOPICS <= DISCLOSED_TOPICS
    assert {*get_args(AccountEvent)} <= {*get_args(Event)}
