"""The ledger's own exports come back in: the same ids, amounts and texts, whatever kind of transaction it was."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from ledger.events.accounts import world_account_id
from ledger.importing.compare import find_differences
from ledger.importing.faults import OptionError
from tests.support.import_files import A, B, C, check, faults, write

WORLD = str(world_account_id("EUR"))
IDS = [f"018f0000-0000-7000-8000-0000000001{number:02}" for number in range(4)]
AT = "2026-05-01T12:00:00.000000Z"
ODD = "=INV|1;2, 50% \"of\" \\all [x]: 'y'"
LEGS = [
    {"account_id": A, "amount_cents": -7, "currency": "EUR"},
    {"account_id": B, "amount_cents": 4, "currency": "EUR"},
    {"account_id": C, "amount_cents": 3, "currency": "EUR"},
]
EXPECTED: list[dict[str, Any]] = [
    {"id": IDS[0], "source_account_id": WORLD, "destination_account_id": A, "amount_cents": 123456},
    {
        "id": IDS[1],
        "source_account_id": A,
        "destination_account_id": B,
        "amount_cents": 5,
        "reference": ODD,
        "description": "a\u2009b",
        "metadata": {"k": ODD},
        "effective_at": AT,
    },
    {"id": IDS[2], "postings": [{name: leg[name] for name in ("account_id", "amount_cents")} for leg in LEGS]},
    {"id": IDS[3], "source_account_id": B, "destination_account_id": A, "amount_cents": 5},
]
KINDS = ["opening", "hold", "journal", "reversal"]


def exported() -> list[dict[str, Any]]:
    """Return the rows of an export."""
    rows = []
    for number, (request, kind) in enumerate(zip(EXPECTED, KINDS, strict=True), 1):
        row = {"position": number, "recorded_at": AT, "kind": kind, "currency": "EUR", **request}
        if "amount_cents" in row:
            row["amount"] = f"{row['amount_cents'] // 100}.{row['amount_cents'] % 100:02}"
        if kind == "journal":
            row |= {"currency": None, "postings": LEGS}
        rows.append(row)
    rows[-1]["reverses"] = IDS[1]
    return rows


def as_csv() -> str:
    names = list({name: None for row in exported() for name in row})
    lines = [",".join(names)]
    for row in exported():
        cells = [row.get(name) for name in names]
        texts = [
            json.dumps(cell) if isinstance(cell, dict | list) else "" if cell is None else str(cell) for cell in cells
        ]
        texts = ["'" + text if text.startswith("=") else text for text in texts]
        lines.append(",".join('"' + text.replace('"', '""') + '"' for text in texts))
    return "\r\n".join(lines) + "\r\n"


def as_hledger() -> str:
    blocks = ["decimal-mark .\ncommodity 1000.00 EUR\n" + f"account equity:world:EUR\naccount assets:accounts:{A}\n"]
    for row in exported():
        blocks.append(
            f"\n2026-05-01 * ({row['position']}) any text\n"
            f"    ; id: {row['id']}, kind: {row['kind']}, recorded-at: {AT}\n" + _texts(row, "    ; ", _tag)
        )
        for account, units in _moves(row):
            name = "equity:world:EUR" if account == WORLD else f"assets:accounts:{account}"
            blocks.append(f"    {name}  {units} EUR\n")
    return "".join(blocks)


def as_beancount() -> str:
    blocks = [f'option "title" "Ledger"\n\n2026-05-01 commodity EUR\n2026-05-01 open Assets:Accounts:A-{A} EUR\n']
    for row in exported():
        blocks.append(
            f'\n2026-05-01 * "any text"\n  id: "{row["id"]}"\n  position: {row["position"]}\n'
            f'  kind: "{row["kind"]}"\n  recorded-at: "{AT}"\n' + _texts(row, "  ", _quote)
        )
        for account, units in _moves(row):
            name = "Equity:World:EUR" if account == WORLD else f"Assets:Accounts:A-{account}"
            blocks.append(f"  {name}  {units} EUR\n")
    return "".join(blocks)


def _texts(row: dict[str, Any], begin: str, form: Any) -> str:
    names = ("reference", "description", "metadata", "effective_at")
    values = {name.replace("_", "-"): row[name] for name in names if name in row}
    texts = {name: json.dumps(text) if isinstance(text, dict) else text for name, text in values.items()}
    return "".join(f"{begin}{name}: {form(text)}\n" for name, text in texts.items())


def _tag(text: str) -> str:
    return "".join(f"%{ord(each):02X}" if each in ",[]%" else each for each in text)


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _moves(row: dict[str, Any]) -> list[tuple[str, str]]:
    legs = row.get("postings") or [
        {"account_id": row["source_account_id"], "amount_cents": -row["amount_cents"]},
        {"account_id": row["destination_account_id"], "amount_cents": row["amount_cents"]},
    ]
    signs = [(leg["account_id"], "-" if leg["amount_cents"] < 0 else "", abs(leg["amount_cents"])) for leg in legs]
    return [(account, f"{sign}{cents // 100}.{cents % 100:02}") for account, sign, cents in signs]


def as_jsonl() -> str:
    return "".join(json.dumps(row) + "\n" for row in exported())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("may.csv", as_csv()),
        ("may.jsonl", as_jsonl()),
        ("may.journal", as_hledger()),
        ("may.beancount", as_beancount()),
    ],
)
def test_a_text_export_comes_back_in(tmp_path: Path, name: str, text: str) -> None:
    assert EXPECTED == check(write(tmp_path / name, text), None)


def test_a_parquet_export_comes_back_in(tmp_path: Path) -> None:
    rows = [
        {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}
        for row in exported()
    ]
    columns = {name: [row.get(name) for row in rows] for name in {name: None for row in rows for name in row}}
    pq.write_table(pa.table(columns), tmp_path / "may.parquet")
    assert EXPECTED == check(tmp_path / "may.parquet", None)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("may.journal", "2026-05-01 * x\n    a 1 EUR\n", "2:1: the line is neither a posting nor a text in the form"),
        ("may.journal", "2026-05-01 * x\n    a  1 EUR\n", "2:5: no line declares the account a"),
        ("may.journal", "; x\n", "1:1: the journal is not in the form of `ledger audit export`"),
        ("may.journal", "2026-05-01 * x\n", "1:1: the transaction has no id, kind and recorded-at"),
        ("may.journal", as_hledger().replace("1234.56", "1234,56", 1), "8:23: the amount must be a number"),
        ("may.beancount", as_beancount().replace("opening", "gift"), "6:1: kind: must be the kind of a transaction"),
        ("may.csv", as_csv().replace("1234.56", "1234.57"), "2:177: amount: is not the same amount as amount_cents"),
        ("may.csv", as_csv().replace('{""k""', '{""k'), "3:"),
        ("may.parquet", "PAR1", "1:1: the file is no Parquet"),
    ],
)
def test_a_changed_export_is_a_fault(tmp_path: Path, name: str, text: str, why: str) -> None:
    (said,) = faults(write(tmp_path / name, text), None)
    assert said.startswith(why)


def test_another_parquet_file_is_no_export(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "may.parquet")
    assert ["1:1: the file is no export of the ledger: it has no column position"] == faults(tmp_path / "may.parquet")


def test_parquet_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(OptionError, match="parquet needs pyarrow"):
        faults(write(tmp_path / "may.parquet", ""))


FOUND = {**EXPECTED[1], "kind": "transfer", "status": "posted", "currency": "EUR"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"amount_cents": 6}, ["amount_cents is 6 in the ledger, and 5 in the file"]),
        ({"description": None}, ['description is absent in the ledger, and "a\u2009b" in the file']),
        ({"effective_at": "2026-05-01T14:00:00+02:00"}, []),
        ({"kind": "hold"}, ["kind is hold in the ledger, and transfer in the file"]),
    ],
)
def test_what_differs_is_named(changes: dict[str, Any], said: list[str]) -> None:
    assert said == find_differences(EXPECTED[1], "transfer", "request", {**FOUND, **changes})


def test_a_captured_hold_is_the_transfer_of_what_was_captured() -> None:
    found = {**FOUND, "kind": "hold", "amount_cents": 9, "captured_cents": 5}
    assert [] == find_differences(EXPECTED[1], "transfer", "export", found)


def test_an_entry_of_a_bank_is_the_same_in_other_words() -> None:
    found = {**FOUND, "description": "other words", "metadata": None, "effective_at": None}
    assert [] == find_differences(EXPECTED[1], "transfer", "bank", found)
    (said,) = find_differences(EXPECTED[1], "transfer", "bank", {**found, "amount_cents": 6})
    assert said.startswith("amount_cents is 6")
