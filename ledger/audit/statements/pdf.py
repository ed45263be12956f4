"""Statements as PDF. A process of its own makes each, so that neither the event loop nor its memory bears the work."""

import asyncio
import os
import sys

from ledger.environment.secret_files import SUFFIX
from ledger.settings import VARIABLES

SECONDS = 120  # that one document may take
_MODULE = "ledger.audit.statements.typeset"
_OTHERS = ("LEDGER_", "PG")  # variables that begin with these are not for the process either


class TypesettingTimeoutError(Exception):
    """A PDF takes too long. The message is one sentence for the caller."""


async def typeset(document: bytes) -> bytes:
    """Return the PDF of a statement in JSON. Raises `TypesettingTimeoutError`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", _MODULE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, errors = await process.communicate(document)
    except TimeoutError:
        raise TypesettingTimeoutError("the PDF took too long: choose a shorter period, or csv or json") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"the PDF could not be made: {last}")
    return output


def environment() -> dict[str, str]:
    """Return the environment of the process: it has no use for the settings and secrets of the service."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.removesuffix(SUFFIX) not in VARIABLES and not name.startswith(_OTHERS)
    }
