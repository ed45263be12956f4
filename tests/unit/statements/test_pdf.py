"""The process that makes a PDF: it knows no secrets, and ends in time."""

import asyncio
import json
import os
from typing import Any

import pytest

from ledger.audit.statements import pdf
from ledger.audit.statements.pdf import TypesettingTimeoutError
from ledger.settings import SECRETS, VARIABLES


async def test_what_is_no_statement_fails() -> None:
    with pytest.raises(RuntimeError, match="the PDF could not be made"):
        await pdf.typeset(json.dumps({"lines": []}).encode())


async def test_a_process_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def keep(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*arguments, **options))
        return started[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", keep)
    monkeypatch.setattr(pdf, "SECONDS", 0.01)
    with pytest.raises(TypesettingTimeoutError):
        await pdf.typeset(b"{}")
    assert started[0].returncode is not None


def test_the_process_has_no_setting_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*VARIABLES, *SECRETS}:
        monkeypatch.setenv(name.upper(), "a secret")
    environment = pdf.environment()
    assert [] == [name for name, value in environment.items() if value == "a secret"]
    assert environment["PATH"] == os.environ["PATH"]
