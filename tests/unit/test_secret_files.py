"""Each secret can be in a file, which the service reads at its start."""

from pathlib import Path

import pytest

from ledger.environment import variables
from ledger.environment.variables import SettingsError
from ledger.settings import SECRETS, VARIABLES, Settings

SECRET = "a $ecret of 'the tests' that is long enough"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, without a settings file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(**environment: str) -> dict[str, str]:
    return variables.read(environment, VARIABLES, SECRETS)


def refusal(**environment: str) -> str:
    with pytest.raises(SettingsError) as raised:
        read(**environment)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def write(folder: Path, content: bytes) -> str:
    path = folder / "hunter2"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("secret", sorted(SECRETS))
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_each_secret_may_be_in_a_file(folder: Path, secret: str, end: bytes) -> None:
    path = write(folder, SECRET.encode() + end)

    found = read(**{f"{secret}_FILE": path, "POSTGRES_HOST": "localhost"})

    assert {secret.lower(): SECRET, "postgres_host": "localhost"} == found


def test_every_setting_that_is_a_secret_is_one_of_these() -> None:
    """A secret is what a message, a log line or the repr of the settings must not show."""
    words = ("SECRET", "PASSWORD", "TOKEN", "CREDENTIALS", "_URL")
    named = {name for name in VARIABLES if any(word in name for word in words)}
    no_secrets = {
        "JWT_EXPIRE_ACCESS_TOKEN_SECONDS",
        "JWT_EXPIRE_REFRESH_TOKEN_SECONDS",
        "JWT_ENABLE_REVOKED_TOKENS",
        "LEDGER_BREACHED_PASSWORDS_FILE",
        "LEDGER_PASSWORD_HASHES",
        "LEDGER_PASSWORD_WORDS",
    }
    assert SECRETS == named - no_secrets


def test_the_settings_file_may_name_the_file(folder: Path) -> None:
    (folder / ".env").write_text(f"JWT_SECRET_FILE={write(folder, SECRET.encode())}\n")

    assert {"jwt_secret": SECRET} == read()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be a file with 1 to 65536 bytes"),
        (b"\n", "must be a file with 1 to 65536 bytes"),
        (b"x" * 65_537, "must be a file with 1 to 65536 bytes"),
        (b"\xff\xfe", "cannot be read: is not the name of a file with UTF-8"),
    ],
)
def test_an_unusable_file_stops_the_start_with_one_line(folder: Path, content: bytes, said: str) -> None:
    assert f"JWT_SECRET_FILE: {said}" == refusal(JWT_SECRET_FILE=write(folder, content))


def test_a_missing_file_stops_the_start_with_one_line(folder: Path) -> None:
    for path in (folder / "hunter2", folder, Path("a\x00b")):
        said = refusal(JWT_SECRET_FILE=str(path))
        assert said.startswith("JWT_SECRET_FILE: cannot be read: ")
        assert "hunter2" not in said


@pytest.mark.parametrize("secret", sorted(SECRETS - {"POSTGRES_PASSWORD"}))
def test_a_secret_is_given_once(folder: Path, secret: str) -> None:
    path = write(folder, SECRET.encode())

    assert f"{secret}_FILE: cannot be set when {secret} is" == refusal(**{f"{secret}_FILE": path, secret: "x"})


@pytest.mark.parametrize("others", [{}, {"POSTGRES_HOST": "db", "POSTGRES_PASSWORD": "x"}, {"DATABASE_URL": "x"}])
def test_the_file_of_the_container_of_postgresql_is_read_only_if_it_is_needed(others: dict[str, str]) -> None:
    """One `.env` may be passed to both containers, and only the other one has the file."""
    found = read(POSTGRES_PASSWORD_FILE="/run/secrets/missing", **others)

    assert {name.lower(): value for name, value in others.items()} == found


def test_a_misspelt_name_is_reported_with_the_nearest(folder: Path) -> None:
    del folder
    assert "JWT_SECRETS_FILE: unknown setting in the environment; did you mean JWT_SECRET_FILE?" == refusal(
        JWT_SECRETS_FILE="x"
    )


def test_child_processes_get_the_secret_and_not_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES | variables.name_files(SECRETS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JWT_SECRET_FILE", write(folder, SECRET.encode()))

    passed_on = Settings.load().child_environment()

    assert SECRET == passed_on["JWT_SECRET"]
    assert "JWT_SECRET_FILE" not in passed_on
