"""Invalid settings are reported in the service's own words."""

from pathlib import Path

import pytest

from ledger.environment.variables import SOURCES, SettingsError
from ledger.settings import VARIABLES, Settings

WRONG = ("nonsense", "-1", "0", "1.5", "nan", "1e999", "tru", "9" * 5000, "x" * 2000, "\udcff")


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Remove all settings from the environment, in an empty folder."""
    for name in VARIABLES | SOURCES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def message_about(name: str, value: str, clean: pytest.MonkeyPatch) -> str:
    """Return the message about this value of a setting; empty if the value is accepted."""
    with clean.context() as patch:
        patch.setenv(name, value)
        try:
            Settings.load()
        except SettingsError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_invalid_settings_are_not_reported_in_the_words_of_a_library(name: str, clean: pytest.MonkeyPatch) -> None:
    said = " ".join(message_about(name, value, clean) for value in WRONG)

    assert [] == [
        word for word in ("Input", "input", "should", "valid", "String", "Value", "parse", "form") if word in said
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SERVICE_PORT", "eighty", "must be a whole number"),
        ("SERVICE_PORT", "70000", "must be at most 65535"),
        ("SERVICE_PORT", "9" * 5000, "must be a whole number"),
        ("POSTGRES_CONNECTION_POOL", "0", "must be at least 1"),
        ("LEDGER_SEAL_SECONDS", "soon", "must be a number"),
        ("LEDGER_SEAL_SECONDS", "0", "must be more than 0"),
        ("LEDGER_SEAL_SECONDS", "4000", "must be at most 3600"),
        ("JWT_ENABLE_REVOKED_TOKENS", "maybe", "must be true or false"),
        ("LEDGER_TRACING", "on", "must be off or otlp"),
        ("LEDGER_LOG_FORMAT", "xml", "must be auto, json or console"),
        ("LEDGER_ADMIN_PASSWORD", "short", "must have at least 8 characters"),
        ("LEDGER_ADMIN_PASSWORD", "x" * 1025, "must have at most 1024 characters"),
        ("LEDGER_ADMIN_USERNAME", "x" * 65, "must have at most 64 characters"),
        ("LEDGER_ADMIN_USERNAME", "\udcff", "must be UTF-8"),
        ("LEDGER_SCHEMA", "A b", "must match ^[a-z_][a-z0-9_]{0,62}$"),
    ],
)
def test_an_invalid_setting_is_reported_with_the_rule(
    name: str, value: str, said: str, clean: pytest.MonkeyPatch
) -> None:
    assert f"{name}: {said}" == message_about(name, value, clean)
