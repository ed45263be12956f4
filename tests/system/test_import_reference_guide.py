"""The commands of the guide to moving from the reference print the reports in the guide."""

import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from ledger.cli.seed import ensure_first_admin
from ledger.runtime import Runtime
from ledger.settings import Settings
from tests.support.processes import ROOT, run_program
from tests.support.reference import Reference, at, reference_database

GUIDE = (ROOT / "docs" / "how-to" / "import-reference.md").read_text()
ADMIN, ALICE, BOB, GONE = (UUID(f"{digit}17646a0-7437-48a0-bb03-a7aa830f8f81") for digit in ("6", "7", "8", "9"))
PURSE, OFFICE, ALICES, BOBS = (UUID(f"72022566-44e2-44a4-bf07-485c6a56d50{digit}") for digit in range(4))


@pytest.fixture
async def reference(settings: Settings) -> AsyncIterator[Reference]:
    async with reference_database(settings) as reference:
        yield reference


def block(name: str) -> str:
    """Return the block with this name in the guide."""
    (found,) = re.findall(rf"<!-- {name} -->\n```(?:sh)?\n(.*?)```\n<!-- /{name} -->", GUIDE, re.DOTALL)
    return str(found)


async def fill(reference: Reference) -> None:
    """Fill the reference with the guide's data."""
    for user_id, name in ((ADMIN, "admin"), (ALICE, "alice"), (BOB, "bob")):
        roles = "admin" if name == "admin" else "customer"
        await reference.user(name, id=user_id, email=f"{name}@mail.com", roles=roles, created_at=at(0))
    for account_id, user_id, cents in ((PURSE, ADMIN, 5_000), (OFFICE, GONE, 700), (ALICES, ALICE, 10_000)):
        await reference.account(user_id, cents, id=account_id, created_at=at(0))
    await reference.account(BOB, 10_000, id=BOBS, created_at=at(0))
    for number, cents in enumerate((2_500, 1_200, 0)):
        transaction_id = UUID(f"0c0ff4ee-8f0c-4c0a-9a4f-5d2a4c9b7e1{number}")
        await reference.transfer(ALICES, BOBS, cents, id=transaction_id, created_at=at(number))
    last = UUID("0c0ff4ee-8f0c-4c0a-9a4f-5d2a4c9b7e19")
    await reference.transfer(PURSE, ALICES, 4_000, id=last, created_at=at(9))


async def test_the_guide_s_commands_print_the_guide_s_reports(
    settings: Settings, runtime: Runtime, reference: Reference, tmp_path: Path
) -> None:
    assert await ensure_first_admin(runtime)
    await fill(reference)
    path = f"{tmp_path}:{os.environ['PATH']}"
    variables = {**settings.environment(), "REFERENCE_URL": reference.url, "PATH": path}
    program = tmp_path / "ledger"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ledger "$@"\n')
    program.chmod(0o755)

    for name in ("dry-run", "import"):
        ran = await run_program("sh", "-c", block(name), folder=tmp_path, variables=variables)
        assert (1, block(f"{name} report")) == (ran.status, ran.output)
