"""Periods and points in time mean the same everywhere: both ends are included, and a date is a whole day in UTC."""

import json
from typing import Any, NamedTuple

import asyncpg
import pytest

from ledger.settings import Settings
from tests.support.controls import Api, transfer_body
from tests.support.processes import Ran, run_ledger

# An accountant who closes May needs its first and last microsecond, and nothing of April or June.
RECORDED = {
    "April's last": "2026-04-30T23:59:59.999999Z",
    "May's first": "2026-05-01T00:00:00.000000Z",
    "May's last": "2026-05-31T23:59:59.999999Z",
    "June's first": "2026-06-01T00:00:00.000000Z",
}
PERIODS: list[tuple[str | None, str | None, list[str]]] = [
    ("2026-05-01", "2026-05-31", ["May's first", "May's last"]),
    ("2026-05-01T00:00:00Z", "2026-05-31T23:59:59.999999Z", ["May's first", "May's last"]),
    ("2026-05-01T02:00:00+02:00", "2026-05-31T23:59:59.999999999Z", ["May's first", "May's last"]),
    ("2026-05-01T00:00:00.000001Z", "2026-05-31T23:59:59.999998Z", []),
    ("2026-05-01", "2026-05-31T23:59:59Z", ["May's first"]),
    ("2026-05-31", "2026-05-31", ["May's last"]),
    ("2026-05-02", "2026-05-30", []),
    ("2026-05-31T23:59:60Z", None, ["June's first"]),
    ("2026-06-01", None, ["June's first"]),
    (None, "2026-04-30", ["April's last"]),
    ("2026-05-31", "2026-05-01", []),
    ("2026-05-31T12:00:00Z", "2026-05-31T11:00:00Z", []),
]


class Books(NamedTuple):
    """The user, account, transfer and entry of each point in time."""

    api: Api
    source: str
    names: dict[Any, str]


@pytest.fixture
async def books(api: Api, connection: "asyncpg.Connection[Any]") -> Books:
    """Create a user, an account and a transfer to it at each of the times."""
    source = await api.new_account(balance_cents=100)
    before = await connection.fetchval("SELECT max(notification_id) FROM stored_events")
    made: list[tuple[str, str, str, int]] = []  # each with its last position
    names: dict[Any, str] = {}
    for name, time in RECORDED.items():
        account = await api.new_account()
        transfer = await api.transfer(source, account, 1)
        names |= dict.fromkeys((account["user_id"], account["id"], transfer.body["id"]), name)
        made.append((time, account["user_id"], account["id"], int(transfer.headers["Ledger-Position"])))
    await connection.execute("SET session_replication_role = replica")  # no trigger fires
    await _record(connection, "2026-04-01T00:00:00Z", 0, before)
    for time, _, _, position in made:
        await _record(connection, time, before, position)
        before = position
    return Books(api, source["id"], names)


async def _record(connection: "asyncpg.Connection[Any]", time: str, after: int, upto: int) -> None:
    """Set the recording time of the events between two positions."""
    for table, position, column in (
        ("stored_events", "notification_id", "recorded_at"),
        ("entries", "position", "recorded_at"),
        ("transfers", "position", "recorded_at"),
        ("accounts", "position", "created_at"),
        ("users", "position", "created_at"),
    ):
        await connection.execute(
            f"UPDATE {table} SET {column} = $1::text::timestamptz WHERE {position} > $2 AND {position} <= $3",
            *(time, after, upto),
        )


@pytest.mark.parametrize(("start", "end", "expected"), PERIODS)
async def test_a_list_includes_both_ends_of_a_period(
    books: Books, start: str | None, end: str | None, expected: list[str]
) -> None:
    query = {name: text for name, text in (("from_time", start), ("to_time", end)) if text is not None}

    lists = {
        path: (await books.api.get(f"/v1/{path}", params=query)).body
        for path in ("users", "accounts", "transactions", f"accounts/{books.source}/entries")
    }

    found = {
        path: [books.names[id_] for row in rows if (id_ := row.get("transaction_id", row.get("id"))) in books.names]
        for path, rows in lists.items()
    }
    assert dict.fromkeys(lists, expected[::-1]) == found


@pytest.mark.parametrize(
    ("moment", "cents"),
    [
        ("2026-04-29", 100),
        ("2026-04-30", 99),
        ("2026-05-01", 98),
        ("2026-05-30", 98),
        ("2026-05-31", 97),
        ("2026-05-31T23:59:59.999998Z", 98),
        ("2026-05-31T23:59:59.999999Z", 97),
        ("2026-06-01T00:00:00Z", 96),
        ("9999-12-31", 96),
    ],
)
async def test_a_date_as_a_point_in_time_is_the_end_of_that_day(books: Books, moment: str, cents: int) -> None:
    one = await books.api.get(f"/v1/accounts/{books.source}", params={"at_time": moment})
    listed = await books.api.get("/v1/accounts", params={"at_time": moment})
    sums = await books.api.get("/v1/ledger/trial-balance", params={"at_time": moment})

    (same,) = [account for account in listed.body if account["id"] == books.source]
    assert (cents, cents) == (one.body["balance_cents"], same["balance_cents"])
    assert one.body["position"] <= sums.body["position"]


@pytest.mark.parametrize(("start", "end", "expected"), [PERIODS[number] for number in (0, 3, 4, 8, 9, 10)])
async def test_an_export_includes_both_ends_of_a_period(
    books: Books, settings: Settings, start: str | None, end: str | None, expected: list[str]
) -> None:
    options = [*(("--from", start) if start else ()), *(("--to", end) if end else ())]

    status, output, log = await audit(settings, "export", "--format", "jsonl", *options)

    rows = map(json.loads, output.splitlines())
    assert (0, expected) == (status, [books.names[row["id"]] for row in rows if row["id"] in books.names]), log


async def test_the_balance_at_a_date_is_the_one_at_the_end_of_the_day(books: Books, settings: Settings) -> None:
    answers = [
        await audit(settings, "balance", books.source, "--at", moment, "--json")
        for moment in ("2026-05-30", "2026-05-31", "2026-05-31T12:00:00Z")
    ]

    assert [98, 97, 98] == [json.loads(output)["balance_cents"] for _, output, _ in answers]


async def audit(settings: Settings, *arguments: str) -> Ran:
    return await run_ledger("audit", *arguments, variables=settings.environment())


@pytest.mark.parametrize(
    ("path", "names"),
    [
        *((path, ("from_time", "to_time")) for path in ("users", "accounts", "transactions")),
        *((path, ("at_time",)) for path in ("accounts", "ledger/trial-balance")),
    ],
)
async def test_a_malformed_date_or_time_is_refused_by_name(api: Api, path: str, names: tuple[str, ...]) -> None:
    for name in names:
        for text in ("", "May", "2026-05", "2026-02-29", "2026-05-01T12:00:00", "2026-05-01T12:00:00 02:00"):
            answer = await api.get(f"/v1/{path}", params={name: text})

            assert (422, ["validation_error"]) == (answer.status, answer.codes), (name, text)
            assert name in json.dumps(answer.body["errors"])


async def test_the_effective_time_can_be_a_date(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    legs = [{"account_id": source["id"], "amount_cents": -1}, {"account_id": destination["id"], "amount_cents": 1}]

    answers = [
        await api.post(f"/v1/transactions{path}", {**body, "effective_at": "2026-05-31"})
        for path, body in (
            ("/transfer", transfer_body(source, destination, 1)),
            ("/hold", transfer_body(source, destination, 1)),
            ("", {"postings": legs}),
        )
    ]

    assert ["2026-05-31T00:00:00.000000Z"] * 3 == [answer.body["effective_at"] for answer in answers]


async def test_the_expiry_of_a_hold_cannot_be_a_date(api: Api) -> None:
    """A date could mean the start or the end of the day."""
    source, destination = await api.new_account(balance_cents=100), await api.new_account()

    answer = await api.post(
        "/v1/transactions/hold", {**transfer_body(source, destination, 1), "expires_at": "2099-05-31"}
    )

    assert (422, ["/expires_at"]) == (answer.status, answer.pointers)
