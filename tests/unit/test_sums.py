"""Sums that JSON readers might round are never numbers (RFC 7493, section 2.2)."""

import json
from typing import Any
from uuid import UUID

import pytest

from ledger.audit.verify.findings import Finding, json_line
from ledger.import_reference.report import Proof, Report
from ledger.money import MAX_CENTS, Assets, format_sums

LARGE = MAX_CENTS + 1


@pytest.mark.parametrize("cents", [0, 1, -1, MAX_CENTS, -MAX_CENTS])
def test_a_small_sum_is_an_integer_and_text(cents: int) -> None:
    assert {"sum_cents": cents, "sum_cents_text": str(cents)} == format_sums(sum_cents=cents)


@pytest.mark.parametrize("cents", [LARGE, -LARGE, 2**63, -(10**30)])
def test_a_large_sum_is_text_only(cents: int) -> None:
    assert {"sum_cents": None, "sum_cents_text": str(cents)} == format_sums(sum_cents=cents)


def numbers(value: Any) -> list[int]:
    """Return all numbers in a JSON value."""
    if isinstance(value, dict | list):
        return [number for part in (value.values() if isinstance(value, dict) else value) for number in numbers(part)]
    return [value] if isinstance(value, int) else []


def test_the_report_of_an_import_has_no_number_that_is_rounded() -> None:
    report = Report("EUR", dry_run=False, reference_cents=5 * LARGE, taken_cents=2 * LARGE, proof=Proof())
    assert report.proof is not None
    report.proof.compare(UUID(int=1), LARGE, -LARGE, 3 * LARGE)
    body = json.loads(json.dumps(report.body()))
    assert all(abs(number) <= MAX_CENTS for number in numbers(body))
    assert [None, str(5 * LARGE)] == [body["reference_cents"], body["reference_cents_text"]]
    assert str(3 * LARGE) == body["not_taken_cents_text"] == body["proof"]["moved_cents_text"]
    assert str(-LARGE) == body["proof"]["differences"][0]["imported_cents_text"]


def test_the_report_of_an_import_has_the_places_of_an_asset() -> None:
    report = Report("HOURS", dry_run=True, reference_cents=7_5000, assets=Assets({"HOURS": 4}))
    assert "balances at the reference" in "\n".join(report.lines())
    assert "7.5000 HOURS" in "\n".join(report.lines())
    assert "assets" not in report.body()


def test_a_finding_has_no_number_that_is_rounded() -> None:
    finding = json.loads(json_line(Finding("a rule", LARGE, -MAX_CENTS)))
    assert (str(LARGE), -MAX_CENTS) == (finding["expected"], finding["found"])
