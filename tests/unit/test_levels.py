"""Log levels by module, as operators write them."""

import pytest

from ledger.environment.log_levels import LEVELS, OFF, parse_levels

DEBUG, INFO, WARNING, ERROR = LEVELS.values()


@pytest.mark.parametrize(
    ("text", "module", "level"),
    [
        ("info", "ledger.write.committer", INFO),
        ("WARNING", "ledger.write.committer", WARNING),
        ("warn", "web.app", WARNING),
        ("trace", "web.app", DEBUG),
        ("off", "web.app", OFF),
        ("info,aiohttp.access=debug,ledger.write.committer=warning", "aiohttp.access", DEBUG),
        ("info,aiohttp.access=debug,ledger.write.committer=warning", "ledger.write.committer", WARNING),
        ("info,aiohttp.access=debug,ledger.write.committer=warning", "ledger.store.log", INFO),
        ("error,ledger=debug", "ledger.write.committer", DEBUG),
        ("error,ledger=debug", "ledgers", ERROR),
        ("ledger=debug,ledger.cli=error,warning", "ledger.cli.seals", ERROR),
        ("ledger.cli=error,ledger=debug,warning", "ledger.cli.seals", ERROR),
        ("ledger=debug,ledger=error", "ledger", ERROR),
        ("ledger=debug", "web.app", INFO),
        (" info , ledger = Trace ", "ledger", DEBUG),
        ("info,tower_http::trace=debug", "web.app", INFO),
    ],
)
def test_the_most_specific_directive_decides(text: str, module: str, level: int) -> None:
    assert level == parse_levels(text).of(module)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("loud", 1),
        ("", 1),
        ("info,", 2),
        ("info,,debug", 2),
        ("info,ledger", 2),
        ("info,ledger=", 2),
        ("info,ledger=loud", 2),
        ("=debug", 1),
        ("info,a b=debug", 2),
        ("info;ledger=debug", 1),
        ("ledger=debug=info", 1),
        ("30", 1),
    ],
)
def test_a_malformed_directive_is_named_by_its_number(text: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"^directive {number} must be LEVEL or MODULE=LEVEL"):
        parse_levels(text)
