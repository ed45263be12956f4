"""Reconciliations over HTTP: nothing is matched twice, in any order, and all can be undone."""

import asyncio
from typing import Any

import pytest

from ledger.events.reconciliations import reconciliation_stream
from ledger.store.connections import Connection
from ledger.values.ids import parse_id
from tests.support.controls import NOBODY, Api, Response

Body = dict[str, Any]


@pytest.fixture
async def bank(api: Api) -> Body:
    """Return an account with three entries in May: 10.00, 7.00 and -5.00, beside its opening balance."""
    account, other = await api.new_account(balance_cents=10_000), await api.new_account(balance_cents=10_000)
    for day, cents, reference in ((1, 1_000, "r-1"), (4, 700, None), (9, -500, None)):
        sides = (other, account) if cents > 0 else (account, other)
        details: Body = {
            "effective_at": f"2026-05-0{day}",
            "metadata": {"bank_reference": reference} if reference else {},
        }
        await transfer(api, *sides, abs(cents), **details)
    return account


async def transfer(api: Api, source: Body, destination: Body, cents: int, **details: Any) -> None:
    body = {"source_account_id": source["id"], "destination_account_id": destination["id"], "amount_cents": cents}
    answer = await api.post("/v1/transactions/transfer", {**body, **details})
    assert 200 == answer.status, answer


def line(day: int, cents: int, **members: Any) -> Body:
    return {"day": f"2026-05-{day:02}", "amount_cents": cents, **members}


LINES = [line(1, 1_000, reference="r-1"), line(5, 700), line(9, -500)]


async def reconcile(api: Api, account: Body, lines: list[Body], query: str = "", **members: Any) -> Response:
    path = f"/v1/accounts/{account['id']}/reconciliation{query}"
    headers = members.pop("headers", {})
    return await api.post(path, {"lines": lines, **members}, headers=headers)


async def versions(api: Api, account: Body, query: str) -> list[int]:
    answer = await api.get(f"/v1/accounts/{account['id']}/entries?order=asc&{query}")
    return [entry["version"] for entry in answer.body]


async def test_a_statement_is_matched_once(api: Api, bank: Body, connection: Connection) -> None:
    first = (await reconcile(api, bank, LINES, source="may")).body
    assert [("reference", 0), ("window", 1), ("day", 2)] == [(one["by"], one["line"]) for one in first["matched"]]
    assert [] == first["missing_in_ledger"] + first["missing_in_statement"] + first["ambiguous"]
    overlapping = (await reconcile(api, bank, [*reversed(LINES), line(10, 42), LINES[0]])).body
    assert ([], [3], [4]) == (
        overlapping["matched"],
        overlapping["missing_in_ledger"],
        overlapping["repeated"],
    )
    assert [(0, first["id"]), (1, first["id"]), (2, first["id"])] == [
        (one["line"], one["reconciliation_id"]) for one in overlapping["reconciled_before"]
    ]
    assert "id" not in overlapping
    events = await connection.fetch(
        "SELECT topic FROM stored_events WHERE originator_id = $1 ORDER BY originator_version",
        reconciliation_stream(parse_id(bank["id"])),
    )
    assert ["StatementReconciled", *["EntryReconciled"] * 3] == [row[0] for row in events]


@pytest.mark.parametrize("by", ["recorded", "effective"])
async def test_entries_are_chosen_by_whether_they_are_reconciled(api: Api, bank: Body, by: str) -> None:
    every = await versions(api, bank, f"by={by}")
    assert [] == await versions(api, bank, f"by={by}&reconciled=true")
    report = (await reconcile(api, bank, LINES[:2])).body
    matched = {one["entry_version"] for one in report["matched"]}
    assert matched == {*await versions(api, bank, f"by={by}&reconciled=true")}
    assert {*every} - matched == {*await versions(api, bank, f"by={by}&reconciled=false")}
    page = await api.get(f"/v1/accounts/{bank['id']}/entries?by={by}&reconciled=true&limit=1&order=asc")
    found = []
    while True:
        found += [entry["version"] for entry in page.body]
        if "Link" not in page.headers:
            break
        page = await api.get(page.headers["Link"].partition("<")[2].partition(">")[0])
    assert sorted(matched) == sorted(found)


async def test_concurrent_reconciliations_match_each_entry_once(api: Api, bank: Body, connection: Connection) -> None:
    """Statements with the same lines, and statements whose different lines could be the same entry."""
    texts = [[{**one, "description": f"from bank {number}"} for one in LINES] for number in range(6)]
    answers = await asyncio.gather(*(reconcile(api, bank, lines) for lines in texts + [LINES] * 4))
    assert [200] * 10 == [answer.status for answer in answers]
    matched = [one["entry_version"] for answer in answers for one in answer.body["matched"]]
    assert 3 == len(matched) == len(set(matched))
    assert 3 == await connection.fetchval("SELECT count(*) FROM reconciled_entries")


async def test_what_was_undone_can_be_matched_again(api: Api, bank: Body) -> None:
    path = f"/v1/accounts/{bank['id']}/reconciliation"
    first = (
        await reconcile(api, bank, LINES[:1], source="may", opening={"day": "2026-04-30", "balance_cents": 0})
    ).body
    second = (await reconcile(api, bank, LINES, source="may")).body
    undone = (await api.post(f"{path}/undo", {"id": second["id"]})).body
    assert ([second["id"]], 2) == (undone["undone"], undone["entries"])
    third = (await reconcile(api, bank, LINES, source="may")).body
    assert second["matched"] == third["matched"]
    undone = (await api.post(f"{path}/undo", {"source": "may"})).body
    assert ([third["id"], first["id"]], 3) == (undone["undone"], undone["entries"])
    for body in ({"source": "may"}, {"id": first["id"]}, {"id": NOBODY}):
        assert ["resource_not_found"] == (await api.post(f"{path}/undo", body)).codes
    for body in ({}, {"id": first["id"], "source": "may"}):
        assert ["validation_error"] == (await api.post(f"{path}/undo", body)).codes
    listed = (await api.get(path)).body
    assert [third["id"], second["id"], first["id"]] == [one["id"] for one in listed]
    assert ([2, 2, 1], 3) == ([one["matched"] for one in listed], sum("undone_at" in one for one in listed))
    assert (0, "may") == (listed[2]["opening_balance_cents"], listed[2]["source"])
    other = await api.new_account()
    elsewhere = f"/v1/accounts/{other['id']}/reconciliation"
    assert [] == (await api.get(elsewhere)).body
    assert ["resource_not_found"] == (await api.post(f"{elsewhere}/undo", {"id": third["id"]})).codes


async def test_balances_are_compared_before_the_first_day_and_after_the_last(api: Api, bank: Body) -> None:
    """Whether the bank dates its opening balance on the first day of the statement, or on the day before."""
    for day in ("2026-05-01", "2026-04-30"):
        report = (
            await reconcile(
                api,
                bank,
                LINES,
                "?dry_run=true",
                opening={"day": day, "balance_cents": 0},
                closing={"day": "2026-05-10", "balance_cents": 1_100},
            )
        ).body
        assert ("2026-05-01", "2026-05-10") == (report["first_day"], report["last_day"])
        expected = {"day": "2026-04-30", "statement_cents": 0, "ledger_cents": 0, "difference_cents": 0}
        assert expected == report["opening"]
        assert ("2026-05-10", 1_200, 100) == tuple(
            report["closing"][name] for name in ("day", "ledger_cents", "difference_cents")
        )
    quiet = (await reconcile(api, bank, [], closing={"day": "2026-05-04", "balance_cents": 1_700})).body
    assert ("2026-05-04", 0) == (quiet["first_day"], quiet["closing"]["difference_cents"])
    assert [700] == [one["amount_cents"] for one in quiet["missing_in_statement"]]


async def test_a_line_from_another_format_is_ambiguous_beside_the_entry_it_may_be(api: Api, bank: Body) -> None:
    first = (await reconcile(api, bank, LINES)).body
    other = (await reconcile(api, bank, [line(5, 700, description="the same line as a table has it")])).body
    (group,) = other["ambiguous"]
    assert ([0], [first["id"]]) == (group["lines"], [one["reconciliation_id"] for one in group["entries"]])
    assert [] == other["matched"] + other["missing_in_ledger"]


async def test_a_dry_run_says_what_then_happens(api: Api, bank: Body, connection: Connection) -> None:
    dry = await reconcile(api, bank, LINES, "?dry_run=true")
    assert 0 == await connection.fetchval("SELECT count(*) FROM reconciliations")
    real = await reconcile(api, bank, LINES)
    position = int(real.headers["Ledger-Position"])
    for body in (dry.body, real.body):
        del body["id"], body["created_at"]
    assert dry.body == real.body
    after = await reconcile(api, bank, LINES, "?dry_run=true")
    assert 3 == len(after.body["reconciled_before"])
    then = await reconcile(api, bank, LINES, f"?dry_run=true&at_position={position - 4}")
    assert dry.body["matched"] == then.body["matched"]
    path = f"/v1/accounts/{bank['id']}/reconciliation/undo"
    reconciliation_id = (await api.get(path.removesuffix("/undo"))).body[0]["id"]
    assert 3 == (await api.post(f"{path}?dry_run=true", {"id": reconciliation_id})).body["entries"]
    assert 3 == await connection.fetchval("SELECT count(*) FROM reconciled_entries")


async def test_a_repeated_request_gets_the_first_report(api: Api, bank: Body) -> None:
    headers = {"Idempotency-Key": "may"}
    first, again = [await reconcile(api, bank, LINES, headers=headers) for _ in range(2)]
    assert (first.body, "true") == (again.body, again.headers["Idempotent-Replayed"])
    assert ["idempotency_key_reused"] == (await reconcile(api, bank, LINES[:1], headers=headers)).codes


async def test_what_cannot_be_compared_is_refused(api: Api, bank: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[list[Body], Body, str]] = [
        ([], {}, "/lines"),
        ([line(1, 0)], {}, "/lines/0/amount_cents"),
        ([{**LINES[0], "day": "2026-02-30"}], {}, "/lines/0/day"),
        (LINES, {"window_days": 91}, "/window_days"),
    ]
    for lines, members, pointer in cases:
        assert [pointer] == (await reconcile(api, bank, lines, **members)).pointers
    assert ["currency_mismatch"] == (await reconcile(api, bank, LINES, currency="EUR")).codes
    assert ["resource_not_found"] == (await reconcile(api, {"id": NOBODY}, LINES)).codes
    for day in ("0001-01-01", "9999-12-31"):  # the calendar ends there, and so does the window
        balance = {"day": day, "balance_cents": 0}
        ends = (await reconcile(api, bank, [{**LINES[0], "day": day}], opening=balance, closing=balance)).body
        assert (day, day, [0]) == (ends["first_day"], ends["last_day"], ends["missing_in_ledger"])
    monkeypatch.setattr("ledger.audit.reconciliation.MAX_ENTRIES", 2)
    assert ["validation_error"] == (await reconcile(api, bank, LINES)).codes
