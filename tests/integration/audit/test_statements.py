"""Statements agree with the naive sums of random histories, on the command line, and where they are read back."""

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st

from ledger.audit.statements import reading
from ledger.audit.statements.model import Statement, StatementError
from ledger.audit.statements.reading import Selection, read_lines, read_statement
from ledger.projections.account_owners import WHOLE
from ledger.projections.statement_sums import Sums
from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.controls import Api, transfer_body
from tests.support.dates import Books, Entry, Step, age, edges, read_entries, steps, sum_up
from tests.support.import_files import BANK_OPTIONS, check
from tests.support.processes import Ran, run_ledger
from tests.support.statements import Picture, parse_camt

ON_A_LEDGER_OF_ITS_OWN = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    max_examples=8,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},
)


async def read(connection: Any, account_id: UUID, selection: Selection) -> tuple[Statement, list[dict[str, Any]]]:
    found = await read_statement(connection, account_id, selection, (WHOLE,))
    assert found is not None
    statement, part = found
    return statement, [line async for lines in read_lines(connection, statement, part, None) for line in lines]


def recorded(entries: list[Entry], times: dict[int, datetime]) -> list[Entry]:
    """Return the entries as if each counted when it was recorded."""
    return [entry._replace(counts_at=times[entry.position]) for entry in entries]


@ON_A_LEDGER_OF_ITS_OWN
@hypothesis.given(history=st.lists(steps, min_size=1, max_size=12), data=st.data())
async def test_each_statement_adds_up_whatever_the_history(
    history: list[Step], data: st.DataObject, runtime: Runtime, connection: Any
) -> None:
    books = await Books.open(runtime)
    for step in history:
        await books.execute(step)
    await age(connection)
    entries = [entry for entry in await read_entries(connection) if entry.account_id in books.account_ids]
    rows = await connection.fetch("SELECT notification_id, recorded_at FROM stored_events")
    times = {row[0]: row[1] for row in rows}
    moments = sorted({entry.counts_at for entry in entries} | {*times.values(), *edges})
    first, last = sorted(data.draw(st.sampled_from(moments)) for _ in range(2))

    for by_effective_time, counted in ((False, recorded(entries, times)), (True, entries)):
        for account_id in books.account_ids:
            statement, lines = await read(connection, account_id, Selection(first, last, by_effective_time))
            own = [entry for entry in counted if entry.account_id == account_id and first <= entry.counts_at <= last]
            order = sorted(own, key=lambda entry: (entry.counts_at, entry.version) if by_effective_time else entry)
            assert [entry.version for entry in order] == [line["version"] for line in lines]
            closing = sum_up(counted, account_id, last, entries[-1].position)
            opening = closing - sum(entry.amount_cents for entry in own)
            assert (opening, closing) == (statement.opening_cents, statement.closing_cents)
            assert closing == (lines[-1]["balance_cents"] if lines else opening)


@pytest.fixture
async def account(api: Api) -> dict[str, Any]:
    """Return an account that was opened with 100, and paid 30, 5 and 12 on several days."""
    source = await api.new_account(balance_cents=100, code="assets:main", name="Main")
    destination = await api.new_account(name="मित्र")
    for cents, effective_at in ((30, "2026-04-10"), (5, "2026-03-10"), (12, None)):
        dated = {} if effective_at is None else {"effective_at": effective_at, "reference": f"bill of {effective_at}"}
        body = {**transfer_body(source, destination, cents), **dated}
        assert 200 == (await api.post("/v1/transactions/transfer", body)).status
    return source


async def run(settings: Settings, *arguments: str) -> Ran:
    return await run_ledger("statement", *arguments, variables=settings.environment())


async def test_the_command_writes_what_the_api_answers(api: Api, settings: Settings, account: dict[str, Any]) -> None:
    asked = {"by": "effective", "from": "2026-04-01", "to": "2026-04-30"}
    options = [text for name, value in asked.items() for text in (f"--{name}", value)]
    for format_ in ("json", "csv", "camt"):
        said = await run(settings, "assets:main", *options, "--format", format_)
        assert (0, "1 line, closing balance -0.35 USD\n") == (said.status, said.error), said
        answer = await api.get(f"/v1/accounts/{account['id']}/statement", params={**asked, "format": format_})
        assert 200 == answer.status
        if format_ == "json":
            assert {**json.loads(said.output), "created_at": ""} == {**answer.body, "created_at": ""}
        elif format_ == "csv":
            assert list(csv.reader(io.StringIO(answer.body))) == list(csv.reader(io.StringIO(said.output)))
        else:
            assert len(parse_camt(answer.body)) == len(parse_camt(said.output))


async def test_the_command_writes_a_file(settings: Settings, account: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "main.pdf"
    said = await run(settings, account["id"], "--format", "pdf", "-o", str(path))
    assert (0, "", "4 lines, closing balance 0.53 USD\n") == (said.status, said.output, said.error)
    assert "Page 1 of 1" in Picture(path.read_bytes()).texts[0]

    for arguments, status, message in (
        (("nothing",), 1, "ledger: no such account: nothing\n"),
        (("assets:main", "--from", "May"), 2, "ledger: --from: must be a date"),
        (("assets:main", "--from", "2026-05-01", "--to", "2026-04-01"), 1, "ledger: the start must not be after"),
        (("assets:main", "-o", str(tmp_path / "none" / "x.csv")), 1, f"ledger: {tmp_path}/none/x.csv: No such file"),
    ):
        refused = await run(settings, *arguments)
        assert (status, True) == (refused.status, refused.error.startswith(message)), refused.error


async def test_the_import_reads_a_statement_in_camt(
    settings: Settings, account: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "main.xml"
    said = await run(settings, "assets:main", "--by", "effective", "--format", "camt", "-o", str(path))
    assert 0 == said.status
    rows = check(path, None, **BANK_OPTIONS)

    assert sorted([5, 30, 12, 100]) == sorted(row["amount_cents"] for row in rows)
    days = [row["effective_at"][:10] for row in rows[:2]]
    assert ["2026-03-10", "2026-04-10"] == days
    assert ["bill of 2026-03-10", "bill of 2026-04-10"] == [row["metadata"]["end_to_end_id"] for row in rows[:2]]
    assert "मित्र" == rows[0]["description"]
    assert {UUID(account["id"]).hex} == {row["metadata"]["bank_account"] for row in rows}
    assert 4 == len({row["id"] for row in rows})


async def test_memory_does_not_grow_with_the_number_of_lines(
    connection: Any, account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only as many lines are read at once as a chunk has, and sums are added up in parts."""
    monkeypatch.setattr(reading, "CHUNK", 2)
    monkeypatch.setattr(reading, "SUMMED", 1)
    for by_effective_time in (False, True):
        selection = Selection(by_effective_time=by_effective_time)
        found = await read_statement(connection, UUID(account["id"]), selection, (WHOLE,))
        assert found is not None
        sizes = [len(lines) async for lines in read_lines(connection, *found, None)]
        assert (4, True) == (sum(sizes), max(sizes) <= 2)
        assert (4, 53) == (found[0].line_count, found[0].closing_cents)


async def test_entries_that_do_not_add_up_end_the_statement(connection: Any, account: dict[str, Any]) -> None:
    found = await read_statement(connection, UUID(account["id"]), Selection(), (WHOLE,))
    assert found is not None
    statement, part = found
    wrong = (
        statement._replace(opening_cents=1),
        statement._replace(sums=Sums(1, 3, 100, 48)),
    )
    for one in wrong:
        with pytest.raises(StatementError):
            _ = [lines async for lines in read_lines(connection, one, part, None)]
