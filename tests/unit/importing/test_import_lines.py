"""JSON Lines: what the importer checks is what it sends, by the same rules as the API."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.importing.draft import Kind
from ledger.importing.members import CHECKS
from tests.support.import_files import A, B, C, check, faults, write
from web import requests

TRANSFER = {"source_account_id": A, "destination_account_id": B, "amount_cents": 5}
LEGS = [{"account_id": A, "amount_cents": -5}, {"account_id": B, "amount_cents": 5}]
MODELS: dict[Kind, type[requests.Transaction]] = {
    "transfer": requests.Transfer,
    "hold": requests.Hold,
    "journal": requests.JournalEntry,
}


def lines(*bodies: dict[str, Any]) -> str:
    return "".join(json.dumps(body, ensure_ascii=False) + "\n" for body in bodies)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_blank_lines_and_carriage_returns_are_no_content(tmp_path: Path, encoding: str) -> None:
    """Lesson 45."""
    text = lines({**TRANSFER, "description": "Größe"}, TRANSFER)
    plain = check(write(tmp_path / "plain.jsonl", text))
    odd = write(tmp_path / "odd.jsonl", "\n \t\n" + text.replace("\n", " \r\n\r\n").rstrip(), encoding)
    assert plain == check(odd)


def test_what_was_checked_is_what_is_sent(tmp_path: Path) -> None:
    """The order of members, the spelling of ids and times, null members and read-only ones say nothing."""
    odd = {"metadata": None, "currency": "EUR", "effective_at": "2026-05-01", "amount_cents": 5, "id": None}
    odd |= {"destination_account_id": f"urn:uuid:{B}", "source_account_id": A.upper(), "created_at": "whenever"}
    plain = {**TRANSFER, "effective_at": "2026-05-01T02:00:00+02:00"}
    (first,), (second,) = (check(write(tmp_path / "may.jsonl", lines(body))) for body in (odd, plain))
    assert first == second
    assert {**TRANSFER, "effective_at": "2026-05-01T00:00:00.000000Z"}.items() <= first.items()


def test_journal_entries_and_holds_are_told_by_their_members_or_kind(tmp_path: Path) -> None:
    file = write(
        tmp_path / "may.jsonl",
        lines(
            {"postings": LEGS},
            {**TRANSFER, "expires_in_seconds": 60},
            {**TRANSFER, "expires_at": "2026-06-01T00:00:00Z"},
            {**TRANSFER, "kind": "hold"},
            TRANSFER,
        ),
    )
    requests_ = check(file)
    assert [LEGS, None, None, None, None] == [request.get("postings") for request in requests_]
    assert 5 == len({request["id"] for request in requests_}), "a hold is not the same as a transfer"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "1:2: the line is not JSON"),
        ("  {]", "1:4: the line is not JSON"),
        ("[]", "1:1: the line is no JSON object"),
        ('{"a": 1, "a": 2}', '1:1: the line has the member "a" twice in one object'),
        ('{"amount_cents": NaN}', "1:1: the line has NaN, which is not a JSON number"),
        (lines({**TRANSFER, "amount_cents": 1.5}), "1:129: amount_cents: must be an integer, without quotes"),
        (lines({**TRANSFER, "amount_cents": "5"}), "1:129: amount_cents: must be an integer, without quotes"),
        (lines({**TRANSFER, "amount_cents": True}), "1:129: amount_cents: must be an integer, without quotes"),
        (lines({**TRANSFER, "refrence": "x"}), "1:148: refrence: unknown; did you mean reference?"),
        (lines({**TRANSFER, "kind": "gift"}), "1:148: kind: must be transfer, hold, journal"),
        (lines({**TRANSFER, "status": "voided"}), "1:148: status: a transaction that is voided cannot be imported"),
        (lines({"postings": LEGS[:1]}), "1:2: postings: must be a list of 2 to 100 postings"),
        (lines({"postings": [{**LEGS[0], "x": 1}, LEGS[1]]}), "1:2: postings: posting 1 has an unknown member: x"),
        (lines({"postings": [LEGS[0], {"account_id": B}]}), "1:2: postings: posting 2 must have account_id and amount"),
        (lines({"postings": [LEGS[0], LEGS[0]]}), "1:2: postings: must sum to zero"),
        (lines({**TRANSFER, "metadata": {"a": 1}}), "1:148: metadata: a: must be a text"),
        (lines({**TRANSFER, "expires_at": "2026-06-01T00:00:00Z", "expires_in_seconds": 1}), "1:186: expires_in_"),
        (lines({**TRANSFER, "description": "a\nb"}), "1:148: description: must not contain control characters"),
        ('{"description": "\\ud800"}', "1:1: source_account_id: must be given"),
    ],
)
def test_each_fault_names_its_line_and_column(tmp_path: Path, text: str, why: str) -> None:
    """Lesson 33."""
    said = faults(write(tmp_path / "may.jsonl", text))
    assert any(each.startswith(why) for each in said), said


SAMPLES: dict[str, list[Any]] = {
    "source_account_id": [A, C.upper(), C.replace("-", ""), "x", 5, None, A[:14] + "8" + A[15:]],
    "destination_account_id": [B, "", [B]],
    "amount_cents": [1, 2**53 - 1, 0, -1, 2**53, 1.0, "1", True, None],
    "reference": ["r", "r" * 200, "r" * 201, " r", "a\u200bb", "", 5, "e\u0301", None],
    "description": ["d", "d" * 500, "d" * 501, "a\u2028b", "a\u200db", " d", "", 7],
    "metadata": [{}, {"a": ""}, {"": "a"}, {"a": 1}, {"a" * 65: "a"}, {"a": "a" * 501}, [], "x"]
    + [{str(number): "x" for number in range(count)} for count in (50, 51)]
    + [{"\u00e9": "1", "e\u0301": "2"}],
    "effective_at": ["2026-05-01", "2026-05-01T12:00:00Z", "2026-02-30", "2026-05-01T12:00:00", 5, ""],
    "expires_at": ["2026-05-01T12:00:00Z", "2026-05-01", ""],
    "expires_in_seconds": [1, 366 * 86400, 366 * 86400 + 1, 0, "1"],
    "postings": [LEGS, LEGS[:1], [], {}, [{**LEGS[0], "amount_cents": 0}, LEGS[1]], [LEGS[0], {**LEGS[1], "x": 1}]],
    "id": [C, "x", A[:14] + "8" + A[15:], None],
}
COMPLETE: dict[str, dict[str, Any]] = {
    "transfer": TRANSFER,
    "hold": {**TRANSFER, "kind": "hold"},
    "journal": {"postings": LEGS},
}
CASES = [
    (kind, name, value)
    for kind, checks in CHECKS.items()
    for name in (*checks, "id", "unknown")
    for value in SAMPLES.get(name, ["x"])
]


@pytest.mark.parametrize(("kind", "name", "value"), CASES)
def test_the_importer_and_the_api_refuse_the_same(tmp_path: Path, kind: Kind, name: str, value: Any) -> None:
    body = {**COMPLETE[kind], name: value}
    try:
        MODELS[kind].model_validate_json(json.dumps(body))
    except ValidationError:
        accepted = False
    else:
        accepted = True
    assert accepted == (not faults(write(tmp_path / "may.jsonl", lines(body)))), body


@pytest.mark.parametrize("kind", MODELS)
def test_every_member_of_a_request_can_be_imported(kind: Kind) -> None:
    """Only what is to happen later cannot: a file says what has happened."""
    fields = {name for name, field in MODELS[kind].model_fields.items() if not field.exclude}
    assert fields - {"id", "execute_at"} == {*CHECKS[kind]}
