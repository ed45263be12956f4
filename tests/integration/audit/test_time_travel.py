"""The state at a point in time equals the fold of the events until then, and costs no more for a long history."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ledger.audit import as_of
from ledger.audit import entries as history
from ledger.audit.as_of import AtPosition, AtTime, AtVersion
from ledger.audit.entries import Period
from ledger.events import encode, fold
from ledger.events.accounts import Account, AccountOpened, world_account_id
from ledger.projections import entries
from ledger.runtime import Runtime
from ledger.store import reader as event_reader
from ledger.store.reader import MAX_POSITION, EventFilter, read_log
from ledger.values.ids import new_id
from tests.support.controls import NOBODY, Api

WORLD = str(world_account_id("USD"))
START = datetime(2020, 1, 1, tzinfo=UTC)


async def events_of(api: Api, account_id: str) -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/accounts/{account_id}/events")
    assert 200 == answer.status
    events: list[dict[str, Any]] = answer.body
    return events


async def create_account_with_history(api: Api) -> tuple[dict[str, Any], list[str]]:
    """Return an account that was opened, paid, given to another owner, emptied and closed, and its owners."""
    first, second = (await api.new_user())["id"], (await api.new_user())["id"]
    account, other = await api.new_account(first, 100), await api.new_account()
    await api.transfer(account, other, 40)
    await api.put(f"/v1/accounts/{account['id']}", {"user_id": second})
    await api.transfer(account, other, 60)
    assert 200 == (await api.delete(f"/v1/accounts/{account['id']}")).status
    return account, [first, second]


# One account.


async def test_an_account_at_any_point_in_time_is_the_fold_of_its_events(api: Api, runtime: Runtime) -> None:
    account, _ = await create_account_with_history(api)
    async with runtime.pool.acquire() as lent:
        log = await read_log(lent.connection)
    rows = [row for row in log if row.stream_id == UUID(account["id"])]
    for position in [0, *(row.position for row in log), log[-1].position + 100]:
        until = [row for row in rows if row.position <= position]
        answer = await api.get(f"/v1/accounts/{account['id']}", params={"at_position": position})
        state = fold(row.event for row in until)
        if not isinstance(state, Account):
            assert 404 == answer.status
            continue
        assert 200 == answer.status
        assert (str(state.owner_id), state.balance_cents) == (answer.body["user_id"], answer.body["balance_cents"])
        assert ("closed" if state.closed else "open") == answer.body["status"]
        assert (until[-1].version, until[-1].position) == (answer.body["version"], answer.body["position"])
        assert state.currency == answer.body["currency"]


async def test_version_position_and_time_name_the_same_points(api: Api) -> None:
    account, owners = await create_account_with_history(api)
    events = await events_of(api, account["id"])
    assert 6 == len(events)
    found = []
    for event in events:
        answers = [
            (await api.get(f"/v1/accounts/{account['id']}", params={"at_version": event["version"]})).body,
            (await api.get(f"/v1/accounts/{account['id']}", params={"at_position": event["position"]})).body,
        ]
        assert answers[0] == answers[1]
        found.append(answers[0])
    assert [0, 100, 60, 60, 0, 0] == [body["balance_cents"] for body in found]
    assert [owners[0]] * 3 + [owners[1]] * 3 == [body["user_id"] for body in found]
    assert ["open"] * 5 + ["closed"] == [body["status"] for body in found]
    assert [event["recorded_at"] for event in events] == [body["updated_at"] for body in found]
    for body in found[1:]:  # its opening and its first money have one time
        assert body == (await api.get(f"/v1/accounts/{account['id']}", params={"at_time": body["updated_at"]})).body


async def test_now_is_the_current_account(api: Api) -> None:
    account, _ = await create_account_with_history(api)
    now = (await api.get(f"/v1/accounts/{account['id']}")).body
    for moment in ({"at_time": "9999-12-31T23:59:59Z"}, {"at_position": MAX_POSITION}, {"at_version": MAX_POSITION}):
        then = (await api.get(f"/v1/accounts/{account['id']}", params=moment)).body
        assert now == {name: then[name] for name in now}


async def test_before_it_existed_an_account_is_not_found(api: Api) -> None:
    other = await api.new_account()
    account = await api.new_account(balance_cents=1)
    opened = (await events_of(api, account["id"]))[0]
    last = (await events_of(api, other["id"]))[-1]
    moments: list[dict[str, Any]] = [
        {"at_version": 0},
        {"at_position": 0},
        {"at_position": opened["position"] - 1},
        {"at_time": last["recorded_at"]},
        {"at_time": "0001-01-01T00:00:00Z"},
    ]
    for moment in moments:
        answer = await api.get(f"/v1/accounts/{account['id']}", params=moment)
        assert 404 == answer.status
        assert ["resource_not_found"] == answer.codes
    assert 404 == (await api.get(f"/v1/accounts/{NOBODY}", params={"at_version": 1})).status


async def test_an_owner_sees_the_past_of_their_own_account_and_of_no_other(api: Api) -> None:
    """Lesson 35."""
    owner, stranger = await api.as_new_user("customer"), await api.as_new_user("customer")
    account = await api.new_account(owner.user_id, 7)
    path = f"/v1/accounts/{account['id']}?at_version=2"
    assert 7 == (await owner.get(path)).body["balance_cents"]
    assert 404 == (await stranger.get(path)).status
    await api.put(f"/v1/accounts/{account['id']}", {"user_id": stranger.user_id})
    assert owner.user_id == (await owner.get(path)).body["user_id"]
    assert 404 == (await stranger.get(path)).status


# All accounts.


async def test_the_list_is_that_of_the_point_in_time(api: Api) -> None:
    account, owners = await create_account_with_history(api)
    then = (await events_of(api, account["id"]))[2]  # after the first transfer
    await api.new_account()
    listed = (await api.get("/v1/accounts", params={"at_time": then["recorded_at"], "world": "true"})).body
    assert [40, -100, 60] == [body["balance_cents"] for body in listed]
    assert [account["id"], owners[0], "open"] == [listed[2][name] for name in ("id", "user_id", "status")]
    assert (
        listed == (await api.get("/v1/accounts", params={"at_position": listed[0]["position"], "world": "true"})).body
    )
    assert [] == (await api.get("/v1/accounts", params={"at_position": 0})).body


async def test_the_list_at_a_point_in_time_has_pages(api: Api) -> None:
    for _ in range(4):
        await api.new_account(balance_cents=1)
    head = (await api.get("/v1/events")).body[-1]["position"]
    await api.new_account(balance_cents=1)
    whole = (await api.get(f"/v1/accounts?at_position={head}")).body
    assert 4 == len(whole)
    paged, url = [], f"/v1/accounts?at_position={head}&limit=2"
    while url:
        answer = await api.get(url)
        paged += answer.body
        url = answer.headers.get("Link", "").split(">")[0].lstrip("<")
    assert whole == paged


async def test_a_customer_lists_the_past_of_own_accounts(api: Api) -> None:
    """Lesson 35."""
    customer = await api.as_new_user("customer")
    account = await api.new_account(customer.user_id, 3)
    await api.new_account(balance_cents=4)
    head = (await api.get("/v1/events")).body[-1]["position"]
    listed = (await customer.get(f"/v1/accounts?at_position={head}")).body
    assert [account["id"]] == [body["id"] for body in listed]


@pytest.mark.parametrize("path", [f"/v1/accounts/{WORLD}", "/v1/accounts", "/v1/ledger/trial-balance"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"at_time": "yesterday"},
        {"at_time": ""},
        {"at_time": "2026-05-01T12:00:00"},
        {"at_time": "2026-13-01T12:00:00Z"},
        {"at_position": "-1"},
        {"at_position": "1.5"},
        {"at_position": str(2**63)},
        {"at_version": "one"},
        {"at_position": "1", "at_time": "2026-05-01T12:00:00Z"},
    ],
)
async def test_an_invalid_point_in_time_is_refused_by_name(api: Api, path: str, parameters: dict[str, str]) -> None:
    """Lesson 33."""
    answer = await api.get(path, params=parameters)
    assert 422 == answer.status
    assert [f"query {name}" for name in parameters] == answer.parameters


async def test_a_version_needs_an_account(api: Api) -> None:
    for path in ("/v1/accounts", "/v1/ledger/trial-balance"):
        assert ["query at_version"] == (await api.get(path, params={"at_version": 1})).parameters
    two = await api.get(f"/v1/accounts/{WORLD}", params={"at_version": 1, "at_position": 1})
    assert ["query at_version", "query at_position"] == two.parameters


# The trial balance.


def sums(debit: int, credit: int, difference: int) -> dict[str, int | str]:
    integers = {"debit_cents": debit, "credit_cents": credit, "sum_cents": difference}
    return integers | {f"{name}_text": str(cents) for name, cents in integers.items()}


async def test_debits_and_credits_are_equal_in_every_currency_at_every_position(api: Api, runtime: Runtime) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    await api.new_account(balance_cents=7, currency="EUR")
    await api.transfer(source, destination, 30)
    now = (await api.get("/v1/ledger/trial-balance")).body
    euros = {"currency": "EUR", "accounts": 2, **sums(7, 7, 0)}
    dollars = {"currency": "USD", "accounts": 3, **sums(100, 100, 0)}
    assert {"position": now["position"], "balanced": True, "currencies": [euros, dollars]} == now
    rows = await runtime.pool.fetch("SELECT DISTINCT recorded_at FROM stored_events")
    for row in rows:
        moment = row[0].isoformat().replace("+00:00", "Z")
        answer = await api.get("/v1/ledger/trial-balance", params={"at_time": moment})
        assert answer.body["balanced"]
    before = await api.get("/v1/ledger/trial-balance", params={"at_position": 0})
    assert {"position": 0, "balanced": True, "currencies": []} == before.body


async def test_books_that_do_not_balance_are_shown_as_such(api: Api, connection: Any) -> None:
    account = await api.new_account(balance_cents=100)
    await connection.execute("SET session_replication_role = replica")  # no trigger fires
    await connection.execute(
        """UPDATE stored_events
           SET state = convert_to(jsonb_set(event_json(topic, state), '{balance_cents}', '99')::text, 'UTF8')
           WHERE originator_id = $1 AND topic = 'AccountCredited'""",
        UUID(account["id"]),
    )
    body = (await api.get("/v1/ledger/trial-balance")).body
    assert not body["balanced"]
    assert [-1] == [currency["sum_cents"] for currency in body["currencies"]]


# Times and positions.


async def test_a_time_is_the_position_of_the_last_event_before_it(connection: Any) -> None:
    """This holds where several events have the same time, and where positions have gaps."""
    for number in range(20):
        await connection.fetchval("SELECT setval('stored_events_notification_id_seq', $1)", 10 * number + 5)
        await connection.execute(
            """INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
               VALUES ($1, 1, 'UserDeleted', '{}', $2)""",
            new_id(),
            START + timedelta(seconds=number // 3),
        )
    rows = await connection.fetch("SELECT notification_id, recorded_at FROM stored_events")
    for tenths in range(-20, 100):
        moment = START + timedelta(seconds=tenths / 10)
        assert max((row[0] for row in rows if row[1] <= moment), default=0) == await event_reader.position_at(
            connection, moment
        )
        assert max((row[0] for row in rows if row[1] < moment), default=0) == await event_reader.position_before(
            connection, moment
        )


async def test_an_empty_log_has_no_positions(connection: Any) -> None:
    assert 0 == await event_reader.position_at(connection, START)
    assert 0 == await event_reader.log_end(connection)
    assert {"position": 0, "balanced": True, "currencies": []} == await as_of.trial_balance(connection, 0)


# Costs.

LONG, SHORT, OWNER = UUID(int=1), UUID(int=2), UUID(int=3)
LENGTHS = {LONG: 20_000, SHORT: 10}
BLOCKS = 600  # of 8 KiB, most of them read by bisection, again and again

_EVENTS = """INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
             SELECT stream_id, version, CASE version WHEN 1 THEN 'AccountOpened' ELSE 'AccountCredited' END,
                    CASE version WHEN 1 THEN $3::bytea
                                 ELSE convert_to(format('{"transfer_id":"%s","amount_cents":1,"balance_cents":%s}',
                                                        md5(stream_id::text || version)::uuid, version - 1),
                                                 'UTF8') END,
                    $4::timestamptz + version * interval '1 ms'
             FROM generate_series(1, $2::bigint) AS version, (SELECT $1::uuid AS stream_id) AS given"""
_OTHERS = """INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
             SELECT md5(number::text)::uuid, 1, 'AccountOpened', $1::bytea, $2::timestamptz
             FROM generate_series(1, 3000) AS number"""
_ACCOUNTS = """INSERT INTO accounts
               SELECT originator_id, $1, 'USD', 0, 'open', 1, notification_id, recorded_at, recorded_at
               FROM stored_events WHERE originator_version = 1"""
_OWNERS = """INSERT INTO account_owners
             SELECT originator_id, 1, $1, notification_id FROM stored_events WHERE originator_version = 1"""
_TRANSFERS = """INSERT INTO transfers
                SELECT transfer_id, account_id, account_id, 1, 'USD', 'transfer', NULL, position, recorded_at
                FROM entries"""

_CAPTURES = """INSERT INTO captures (transaction_id, version, position, recorded_at, amount_cents)
               SELECT md5('hold ' || number)::uuid, 2, number, $1::timestamptz, 1
               FROM generate_series(1, 3000) AS number"""

_LABELS = """INSERT INTO account_label_history (account_id, version, position, recorded_at, name)
             SELECT id, number, position, created_at, 'name' FROM accounts, generate_series(2, 3) AS number"""


@pytest.fixture
async def long_and_short(connection: Any) -> Any:
    """Return two accounts, the first with a long history, in a ledger with others."""
    opening = encode(AccountOpened(OWNER, "USD"))
    for number, (account_id, length) in enumerate(LENGTHS.items()):
        begins = START + timedelta(days=number)
        await connection.execute(_EVENTS, account_id, length, opening, begins)
    await connection.execute(_OTHERS, opening, START + timedelta(days=9))
    await connection.execute(_ACCOUNTS, OWNER)
    await connection.execute(_OWNERS, OWNER)
    await connection.execute(_TRANSFERS)
    await connection.execute(_CAPTURES, START)
    await connection.execute(_LABELS)
    await connection.execute("ANALYZE")
    return connection


class Explained:
    """A connection that runs EXPLAIN on each query before it executes it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.nodes: set[str] = set()
        self.blocks = 0

    async def fetch(self, query: str, *arguments: Any) -> Any:
        await self._explain(query, arguments)
        return await self._connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        await self._explain(query, arguments)
        return await self._connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        await self._explain(query, arguments)
        return await self._connection.fetchval(query, *arguments)

    async def _explain(self, query: str, arguments: Any) -> None:
        text = await self._connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
        plan = json.loads(text)[0]["Plan"]
        self.blocks += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        self._collect(plan)

    def _collect(self, plan: dict[str, Any]) -> None:
        self.nodes.add(plan["Node Type"])
        for child in plan.get("Plans", []):
            self._collect(child)


Question = Callable[[Any, UUID], Awaitable[Any]]


async def _lines_of_a_period(reader: Any, account_id: UUID) -> Any:
    period = Period(from_time=START + timedelta(milliseconds=5), to_time=START + timedelta(days=2))
    return await history.list_entries(
        reader, account_id, period, after=0, before=MAX_POSITION, ascending=True, limit=20
    )


NOT_THEIRS = UUID(int=4)
QUESTIONS: dict[str, Question] = {
    "at a version": lambda reader, account_id: as_of.account_at(reader, account_id, AtVersion(9)),
    "at the last version": lambda reader, account_id: as_of.account_at(reader, account_id, AtVersion(MAX_POSITION)),
    "at a position": lambda reader, account_id: as_of.account_at(reader, account_id, AtPosition(MAX_POSITION)),
    "at a time": lambda reader, account_id: as_of.account_at(reader, account_id, AtTime(START + timedelta(days=2))),
    "a balance": lambda reader, account_id: entries.balances_at(reader, [account_id], MAX_POSITION),
    "lines of a period": _lines_of_a_period,
    "newest lines": lambda reader, account_id: entries.page(
        reader, account_id, after=0, before=MAX_POSITION, ascending=False, limit=20
    ),
    "a stream": lambda reader, account_id: event_reader.read(
        reader, 20_005, limit=20, matching=EventFilter(stream_id=account_id)
    ),
    "a frequent topic": lambda reader, _: event_reader.read(
        reader, 100, limit=20, matching=EventFilter("AccountCredited")
    ),
    "a rare topic": lambda reader, _: event_reader.read(reader, 100, limit=20, matching=EventFilter("UserDeleted")),
    "the log": lambda reader, _: event_reader.read(reader, 10_000, limit=20),
    "a list": lambda reader, _: as_of.accounts_at(
        reader, MAX_POSITION - 1, owner_id=None, before=MAX_POSITION, limit=20
    ),
    "an owner's list": lambda reader, _: as_of.accounts_at(
        reader, MAX_POSITION - 1, owner_id=NOT_THEIRS, before=MAX_POSITION, limit=20
    ),
}


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("question", QUESTIONS)
async def test_no_query_costs_more_for_a_long_history(long_and_short: Any, question: str, plans: str) -> None:
    """Lesson 19."""
    await long_and_short.execute(f"SET plan_cache_mode = {plans}")
    spent = {}
    for account_id in LENGTHS:
        await QUESTIONS[question](long_and_short, account_id)  # the first run fills caches
        reader = Explained(long_and_short)
        await QUESTIONS[question](reader, account_id)
        assert "Seq Scan" not in reader.nodes
        spent[account_id] = reader.blocks
    assert max(spent.values()) <= BLOCKS, spent


async def test_the_answers_about_a_long_history_are_right(long_and_short: Any) -> None:
    body = await as_of.account_at(long_and_short, LONG, AtVersion(12_346))
    assert body is not None
    assert (12_345, 12_346, OWNER, "open") == tuple(
        body[name] for name in ("balance_cents", "version", "user_id", "status")
    )
    at = await as_of.account_at(long_and_short, LONG, AtTime(START + timedelta(milliseconds=777)))
    assert at is not None
    assert (776, 777) == (at["balance_cents"], at["version"])
