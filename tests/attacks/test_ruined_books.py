"""Somebody who ruins everything does not drown the checks in their own findings."""

import json

from ledger.audit import limited
from ledger.audit.limited import MAX_KINDS, OTHERS, Limited
from ledger.cli.output import describe_omitted
from ledger.seals import verifying
from ledger.settings import Settings
from tests.support.controls import Api
from tests.support.processes import run_ledger
from tests.support.sealed import Sealed
from tests.support.token_api import Connection

ROW_EXTRA = "the read table has only rows that follow from the events"
FORGED = 1500
FORGE = """INSERT INTO cutoffs (user_id, position)
           SELECT gen_random_uuid(), 1 FROM generate_series(1, $1)"""


async def test_verify_reports_the_first_findings_and_counts_the_others_by_rule(
    api: Api, connection: Connection, settings: Settings
) -> None:
    await api.new_account(balance_cents=5)
    await connection.execute(FORGE, FORGED)

    text = await run_ledger("audit", "verify", variables=settings.environment())
    as_json = await run_ledger("audit", "verify", "--json", variables=settings.environment())
    everything = await run_ledger("audit", "verify", "--json", "--all", variables=settings.environment())

    rest = FORGED - limited.MAX_FINDINGS
    assert [1, 1, 1] == [ran.status for ran in (text, as_json, everything)]
    assert f"... and {rest} more: {ROW_EXTRA}" in text.output.splitlines()
    lines = [json.loads(line) for line in as_json.output.splitlines()]
    assert (limited.MAX_FINDINGS + 1, {"rule": ROW_EXTRA, "omitted": rest}) == (len(lines), lines[-1])
    assert FORGED == len(everything.output.splitlines())


async def test_verify_seals_counts_the_others_by_problem(sealed: Sealed) -> None:
    await sealed.tamper("UPDATE seals SET key_id = key_id || number")
    keys, blocks = {sealed.key.kid: sealed.key}, len(await sealed.blocks())

    some, every = (
        await verifying.verify(sealed.pool, keys, limit=2),
        await verifying.verify(sealed.pool, keys, limit=None),
    )

    assert (every.findings[:2], every.total, {}) == (some.findings, some.total, every.omitted)
    assert {"it is signed with key … which is not trusted": blocks - 2} == {
        kind: count for kind, count in some.omitted.items() if "key" in kind
    }
    assert "... and 7 more: a problem" in describe_omitted({"a problem": 7})


def test_the_kinds_of_findings_are_limited_too() -> None:
    found = Limited(1)

    shown = [found.admits(f"rule {number}") for number in range(MAX_KINDS + 10)]

    assert [True] == [one for one in shown if one]
    assert (MAX_KINDS + 10, MAX_KINDS + 1) == (found.count, len(found.omitted))
    assert 9 == found.omitted[OTHERS]
