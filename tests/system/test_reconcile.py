"""`ledger reconcile` against a running service: an accountant compares a bank's file with the books."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.controls import ADMIN_PASSWORD, Api
from tests.support.import_files import BANKS, CAMT, MT940, QIF_OPTIONS, write
from tests.support.processes import Ran, run_ledger

BANK, OTHERS = "assets:bank:main", "equity:suspense"
CSV = "Tag;Betrag;Text\n01.05.2026;1.250,00;Rechnung 7\n02.05.2026;-12,34;Strom\n"
CSV_OPTIONS = (
    *("--number-format", "1.234,56", "--date-format", "DD.MM.YYYY", "--currency", "EUR"),
    *("--map", "effective_at=Tag", "--map", "amount=Betrag", "--map", "description=Text"),
)
OPTIONS: dict[str, tuple[str, ...]] = {
    "qif": tuple(word for name, value in QIF_OPTIONS.items() for word in (f"--{name.replace('_', '-')}", value)),
    "csv": CSV_OPTIONS,
}
OPENING = """<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">100.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<Dt><Dt>2026-05-01</Dt></Dt></Bal>"""
CLOSING = OPENING.replace("OPBD", "CLBD").replace("100.00", "1337.66").replace("05-01", "05-02")
STATEMENT = CAMT.replace("</Acct>", f"</Acct>{OPENING}{CLOSING}", 1)
Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
async def run(api: Api) -> Run:
    """Return a function that runs `ledger` with the service's URL."""
    url = str(api.client.make_url("")).rstrip("/")

    async def run_command(*arguments: object) -> Ran:
        return await run_ledger(*map(str, arguments), "--url", url, variables={"LEDGER_PASSWORD": ADMIN_PASSWORD})

    return run_command


@pytest.fixture
async def accounts(api: Api) -> dict[str, str]:
    """Open the account of the bank, with 100.00 before May, and another one."""
    owner = (await api.new_user())["id"]
    ids = {}
    for code in (BANK, OTHERS):
        account = await api.new_account(owner, code=code, currency="EUR", overdraft_limit_cents=1_000_000)
        ids[code] = account["id"]
    await pay(api, OTHERS, BANK, 10_000, "2026-04-01")
    return ids


async def pay(api: Api, source: str, destination: str, cents: int, day: str, **details: Any) -> dict[str, Any]:
    body = {"source_account_id": source, "destination_account_id": destination, "amount_cents": cents}
    answer = await api.post("/v1/transactions/transfer", {**body, "effective_at": day, **details})
    assert 200 == answer.status, answer
    return dict(answer.body)


@pytest.mark.parametrize("name", [*BANKS, "csv"])
async def test_an_imported_file_is_matched_to_the_last_line(
    run: Run, accounts: dict[str, str], tmp_path: Path, name: str
) -> None:
    assert accounts
    file = write(tmp_path / f"may.{name}", CSV if name == "csv" else BANKS[name])
    options = OPTIONS.get(name, ())
    ran = await run("import", file, "--account", BANK, "--against", OTHERS, "--run", "may", *options)
    assert 0 == ran.status, ran
    ran = await run("reconcile", BANK, file, *options, "--json")
    report = ran.document
    assert (0, [0, 1]) == (ran.status, [one["line"] for one in report["matched"]]), ran
    has_references = name not in ("qif", "csv")
    assert {"reference" if has_references else "day"} == {one["by"] for one in report["matched"]}
    again = await run("reconcile", BANK, file, *options, "--json")
    assert (0, 0, 2) == (again.status, len(again.document["matched"]), len(again.document["reconciled_before"]))
    closing = {"mt940": 0}.get(name)
    assert closing == report.get("closing", {}).get("difference_cents")


async def test_an_accountant_sees_what_is_missing_on_either_side(
    api: Api, run: Run, accounts: dict[str, str], tmp_path: Path
) -> None:
    file = write(tmp_path / "may.xml", STATEMENT)
    await pay(api, OTHERS, BANK, 125_000, "2026-05-03", reference="INV-7", description="Mueller")
    await pay(api, BANK, OTHERS, 1_243, "2026-05-02", description="power, with a slip of the pen")
    dry = await run("reconcile", BANK, file, "--dry-run")
    ran = await run("reconcile", BANK, file)
    assert 1 == ran.status, ran
    reconciliation_id = ran.output.rstrip().rpartition(" ")[2]
    expected = [
        f"{BANK}: 2 lines of {file}, from 2026-05-01 to 2026-05-02",
        "  balance  end of      statement  ledger  difference",
        "  opening  2026-04-30     100.00  100.00        0.00",
        "  closing  2026-05-02   1,337.66   87.57   -1,250.09",
        "1 matched: 1 by reference",
        "not in the ledger: 1",
        "  line 9  2026-05-02  -12.34  2026050200002",
        "not on the statement: 1",
        "  entry 6  2026-05-02  -12.43  power, with a slip of the pen",
    ]
    assert [*expected, f"to undo this: ledger reconcile {BANK} --undo {reconciliation_id}"] == ran.output.splitlines()
    assert (1, [*expected, "dry run: nothing was written"]) == (dry.status, dry.output.splitlines())
    listed = (await api.get(f"/v1/accounts/{BANK}/reconciliation")).body
    assert [(reconciliation_id, 1, accounts[BANK])] == [
        (one["id"], one["matched"], one["account_id"]) for one in listed
    ]


async def test_a_reconciliation_is_undone_by_its_id_or_its_file(
    api: Api, run: Run, accounts: dict[str, str], tmp_path: Path
) -> None:
    file, june = write(tmp_path / "may.sta", MT940), write(tmp_path / "june.sta", MT940.replace("Strom", "Power"))
    assert 0 == (await run("import", file, "--account", BANK, "--against", OTHERS)).status
    first = (await run("reconcile", BANK, file, "--json")).document
    overlapping = (await run("reconcile", BANK, june, "--json")).document
    assert ([], 2) == (overlapping["matched"], len(overlapping["reconciled_before"]))
    for name in (first["id"], file):
        tried = await run("reconcile", accounts[BANK], "--undo", name, "--dry-run")
        assert f"dry run: would undo: {first['id']} (2 matched lines)\n" == tried.output
        ran = await run("reconcile", accounts[BANK], "--undo", name)
        assert f"undone: {first['id']} (2 matched lines)\n" == ran.output
        assert 1 == (await run("reconcile", BANK, "--undo", name)).status
        first = (await run("reconcile", BANK, file, "--json")).document
        assert 2 == len(first["matched"])
    assert 3 == len((await api.get(f"/v1/accounts/{BANK}/reconciliation")).body)


async def test_ambiguous_lines_are_shown_with_what_they_could_be(
    api: Api, run: Run, accounts: dict[str, str], tmp_path: Path
) -> None:
    assert accounts
    file = tmp_path / "may.csv"
    file.write_text(CSV)
    for _ in range(2):
        await pay(api, BANK, OTHERS, 1_234, "2026-05-02", description="Strom")
    ran = await run("reconcile", BANK, file, *CSV_OPTIONS, "--window", "0")
    assert 1 == ran.status
    assert [
        "0 matched",
        "not in the ledger: 1",
        "  line 2  2026-05-01  1,250.00  Rechnung 7",
        "ambiguous, so not matched: 1",
        "  line 3  2026-05-02  -12.34  Strom",
        "    could be entry 5  2026-05-02  -12.34  Strom",
        "    could be entry 6  2026-05-02  -12.34  Strom",
    ] == ran.output.splitlines()[1:]


async def test_what_cannot_be_compared_is_said_in_one_line(run: Run, accounts: dict[str, str], tmp_path: Path) -> None:
    assert accounts
    file = write(tmp_path / "may.xml", CAMT.replace("EUR", "USD"))
    cases: dict[tuple[object, ...], tuple[int, str]] = {
        (BANK, file): (1, "currency_mismatch"),
        ("assets:nothing", file): (1, "account not found: assets:nothing"),
        (BANK,): (2, "give either the FILE"),
        (BANK, "--undo", "may"): (2, "no file, and no id"),
        (BANK, write(tmp_path / "books.jsonl", "{}")): (2, "no format of banks"),
        (BANK, write(tmp_path / "cut.xml", CAMT[:700])): (1, "has 1 fault"),
        (BANK, write(tmp_path / "no.csv", "effective_at,amount_cents\n,5\n")): (1, "has 1 fault"),
    }
    for arguments, (status, message) in cases.items():
        ran = await run("reconcile", *arguments)
        assert (status, True) == (ran.status, message in ran.error), ran
