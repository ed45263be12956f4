"""Only the store names its tables and the advisory locks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWNED = re.compile(r"stored_events|stream_heads|command_log|ledger_identity|advisory")
STORE = ROOT / "ledger" / "store"


def named_in(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [f"{path.relative_to(ROOT)}:{number}" for number, line in enumerate(lines, 1) if OWNED.search(line)]


def test_only_the_store_names_its_tables_and_locks() -> None:
    paths = [path for folder in ("ledger", "web") for path in (ROOT / folder).rglob("*.py")]

    assert [] == [place for path in paths if not path.is_relative_to(STORE) for place in named_in(path)]
    assert named_in(STORE / "locks.py")


def test_asyncpg_is_private_in_one_module() -> None:
    private = re.compile(r"\b_protocol\.get|pgproto")
    users = {path.name for path in (ROOT / "ledger").rglob("*.py") if private.search(path.read_text())}

    assert {"asyncpg_private.py"} == users
