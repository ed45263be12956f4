"""Sources of settings: a misspelt name stops the start, and values are taken literally."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ledger.environment import variables
from ledger.environment.variables import SettingsError
from ledger.settings import SECRETS, VARIABLES, Settings

REFERENCE_FILE = """\
# Service configuration.
SERVICE_HOST = 127.0.0.1
POSTGRES_USER = admin
POSTGRES_PASSWORD = pa$$word
export REDIS_PORT=6379

JWT_EXPIRE_ACCESS_TOKEN_SECONDS  = 3600 # 1 hour
JWT_ENABLE_REVOKED_TOKENS = true # using revoked tokens"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, without a settings file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    return variables.read(environment or {}, VARIABLES, SECRETS)


def refusal(environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as raised:
        read(environment)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Names


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("LEDGER_ADMN_PASSWORD", "LEDGER_ADMIN_PASSWORD"),
        ("LEDGER_SEAL_SECOND", "LEDGER_SEAL_SECONDS"),
        ("LEDGER_ENVFILE", "LEDGER_ENV_FILE"),
        ("LEDGER_USER_NAME", "LEDGER_USERNAME"),
        ("LEDGER_PORT", "SERVICE_PORT"),
        ("JWT_SECRETS", "JWT_SECRET"),
        ("JWT_EXPIRE_ACCESS_TOKEN_SECOND", "JWT_EXPIRE_ACCESS_TOKEN_SECONDS"),
        ("SERVICE_HOSTS", "SERVICE_HOST"),
        ("POSTGRES_DATABASE", "POSTGRES_DB"),
        ("POSTGRES_PASSWRD", "POSTGRES_PASSWORD"),
        ("REDIS_HOSTS", "REDIS_HOST"),
        ("REDIS_PASSWORD", "REDIS_URL"),
        ("DATABASE_ULR", "DATABASE_URL"),
        ("DATABASE_READ_ULR", "DATABASE_READ_URL"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("ledger_data_dri", "LEDGER_DATA_DIR"),
    ],
)
def test_a_misspelt_name_stops_the_start(folder: Path, wrong: str, right: str) -> None:
    name, advice = wrong.upper(), f"; did you mean {right}?"
    assert f"{name}: unknown setting in the environment{advice}" == refusal({wrong: "hunter2"})

    (folder / ".env").write_text(f"SERVICE_PORT=1\n\n{wrong}=hunter2\n")
    assert f"{name}: unknown setting in .env:3{advice}" == refusal()


def test_all_misspelt_names_are_reported_in_one_line(folder: Path) -> None:
    (folder / ".env").write_text("JWT_SECRETS=hunter2\n")
    said = refusal({"LEDGER_SCHEME": "hunter2", "HOME": "/"})
    assert (
        "JWT_SECRETS: unknown setting in .env:1; did you mean JWT_SECRET?; "
        "LEDGER_SCHEME: unknown setting in the environment; did you mean LEDGER_SCHEMA?"
    ) == said


def test_an_unknown_name_without_a_similar_one_is_refused_without_advice(folder: Path) -> None:
    del folder
    assert "SERVICE_XQZ_QQQ_ZZZ_XXX: unknown setting in the environment" == refusal({"SERVICE_XQZ_QQQ_ZZZ_XXX": "1"})


@pytest.mark.parametrize(
    "foreign",
    [
        {"PATH": "/bin", "HOME": "/", "PGHOST": "db", "REDISCLI_AUTH": "x", "OTEL_SERVICE_NAME": "x"},
        {"DATABASE_USER": "x", "DATABASE_NAME": "x", "LOG_FORMAT": "x", "LOGLEVEL": "x"},
        # of the official image of PostgreSQL, which may read the same file
        {"POSTGRES_INITDB_ARGS": "--data-checksums", "POSTGRES_HOST_AUTH_METHOD": "scram-sha-256"},
        {"POSTGRES_PASSWORD_FILE": "/run/secrets/password", "POSTGRES_INITDB_WALDIR": "/wal"},
        # of `ledger import`, and of the tests
        {"LEDGER_URL": "http://ledger", "LEDGER_USERNAME": "alice", "LEDGER_PASSWORD": "x"},
        {"LEDGER_FUZZ_SECONDS": "600", "LEDGER_FUZZ_SEED": "1"},
        # set by Kubernetes for services called `ledger`, `ledger-api` and `redis`
        {
            "LEDGER_SERVICE_HOST": "10.0.0.1",
            "LEDGER_SERVICE_PORT": "8080",
            "LEDGER_SERVICE_PORT_HTTP": "8080",
            "LEDGER_PORT": "tcp://10.0.0.1:8080",
            "LEDGER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "LEDGER_PORT_8080_TCP_ADDR": "10.0.0.1",
            "LEDGER_PORT_8080_TCP_PORT": "8080",
            "LEDGER_PORT_8080_TCP_PROTO": "tcp",
            "LEDGER_API_SERVICE_HOST": "10.0.0.3",
            "LEDGER_API_SERVICE_PORT": "80",
            "LEDGER_API_PORT": "tcp://10.0.0.3:80",
            "REDIS_SERVICE_HOST": "10.0.0.2",
            "REDIS_SERVICE_PORT": "6379",
            "REDIS_PORT": "tcp://10.0.0.2:6379",
        },
        # set by Docker for a link called `postgres`
        {
            "POSTGRES_NAME": "/web/postgres",
            "POSTGRES_PORT": "tcp://172.17.0.5:5432",
            "POSTGRES_PORT_5432_TCP_ADDR": "172.17.0.5",
            "POSTGRES_ENV_POSTGRES_PASSWORD": "x",
        },
        {"LEDGER_FOREIGN_VARIABLES": "REDIS_TLS_URL service_name", "REDIS_TLS_URL": "x", "SERVICE_NAME": "x"},
    ],
)
def test_foreign_variables_are_ignored(folder: Path, foreign: dict[str, str]) -> None:
    del folder
    assert {} == read(foreign)


def test_a_link_variable_without_its_host_is_misspelt(folder: Path) -> None:
    """Kubernetes would set it together with the host, so an operator wrote it."""
    del folder
    assert "did you mean SERVICE_PORT?" in refusal({"LEDGER_SERVICE_PORT": "9000"})


def test_a_link_does_not_override_the_file(folder: Path) -> None:
    (folder / ".env").write_text("REDIS_PORT=6380\n")
    assert {"redis_port": "6380"} == read({"REDIS_PORT": "tcp://10.0.0.1:6379"})


def test_foreign_names_can_be_listed_in_the_file(folder: Path) -> None:
    (folder / ".env").write_text("LEDGER_FOREIGN_VARIABLES=REDIS_TLS_URL\nREDIS_TLS_URL=x\n")
    assert {} == read({"REDIS_TLS_URL": "y"})


# The file


def test_the_settings_file_of_the_reference_is_read_unchanged(folder: Path) -> None:
    (folder / ".env").write_text(REFERENCE_FILE)
    assert {
        "service_host": "127.0.0.1",
        "postgres_user": "admin",
        "postgres_password": "pa$$word",
        "redis_port": "6379",
        "jwt_expire_access_token_seconds": "3600",
        "jwt_enable_revoked_tokens": "true",
    } == read()


@pytest.mark.parametrize("secret", ["a$b", "$HOME", "${HOME}", "a$$b", "$", "`id`", "a\\$b", "50%#off"])
@pytest.mark.parametrize("written", ["{}", "'{}'", '"{}"'])
def test_a_secret_is_taken_literally(folder: Path, secret: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "expanded")
    (folder / ".env").write_text(f"JWT_SECRET={written.format(secret)}\n")
    assert {"jwt_secret": secret} == read()


def test_the_environment_takes_precedence_unless_it_is_empty(folder: Path) -> None:
    (folder / ".env").write_text("SERVICE_PORT=1\nSERVICE_HOST=a\nREDIS_HOST=\n")
    assert {"service_port": "2", "service_host": "a"} == read({"SERVICE_PORT": "2", "SERVICE_HOST": ""})


def test_names_are_accepted_in_any_case_and_capitals_win(folder: Path) -> None:
    del folder
    assert {"service_port": "2", "redis_host": "r"} == read(
        {"SERVICE_PORT": "2", "service_port": "1", "Redis_Host": "r"}
    )


UNREADABLE = "cannot be read: is a quotation mark or an equals sign missing?"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('SERVICE_PORT=1\n\nJWT_SECRET="hunter2\nREDIS_HOST=redis\n', 3),
        ("JWT_SECRET='hunter2\n", 1),
        ("# a comment\nJWT_SECRET='hunter'2'\n", 2),
        ("JWT_SECRET='it''s'\n", 1),
        ('JWT_SECRET="a" b\n', 1),
        ('JWT_SECRET="hunter2\nREDIS_HOST="\n', 1),
        ('OTHER="hunter2\nJWT_SECRET=x\nMORE="\n', 1),
        ("JWT SECRET=hunter2\n", 1),
        ("\r\n\r\nJWT_SECRET='hunter2\r\n", 3),
    ],
)
def test_broken_quoting_stops_the_start_with_its_line(folder: Path, text: str, line: int) -> None:
    (folder / ".env").write_text(text, newline="")
    assert f".env:{line}: {UNREADABLE}" == refusal()


def test_a_name_without_a_value_stops_the_start(folder: Path) -> None:
    (folder / ".env").write_text("OTHER\nJWT_SECRET\n")
    assert ".env:2: JWT_SECRET: has no equals sign and no value" == refusal()


def test_values_of_others_may_have_several_lines(folder: Path) -> None:
    (folder / ".env").write_text('CERTIFICATE="-----BEGIN\nabc=\n-----END"\nSERVICE_PORT=1\n')
    assert {"service_port": "1"} == read()


@pytest.mark.parametrize("content", [b"JWT_SECRET=\xff\xfe\n", None])
def test_a_binary_file_stops_the_start(folder: Path, content: bytes | None) -> None:
    file = folder / "settings"
    file.mkdir() if content is None else file.write_bytes(content)
    assert refusal({"LEDGER_ENV_FILE": "settings"}).startswith("LEDGER_ENV_FILE: settings: cannot be read: ")


def test_a_folder_called_env_is_ignored(folder: Path) -> None:
    (folder / ".env").mkdir()
    assert {} == read()


@pytest.mark.parametrize(
    ("environment", "port"),
    [
        ({}, "1"),
        ({"ENV_TEST": "1"}, "2"),
        ({"ENV_TEST": "0"}, "1"),
        ({"LEDGER_ENV_FILE": "other"}, "3"),
        ({"LEDGER_ENV_FILE": "other", "ENV_TEST": "1"}, "3"),
        ({"LEDGER_ENV_FILE": ""}, "1"),
        ({"LEDGER_ENV_FILE": "/dev/null"}, None),
    ],
)
def test_the_environment_names_the_file(folder: Path, environment: dict[str, str], port: str | None) -> None:
    for number, name in enumerate((".env", ".env_test", "other"), 1):
        (folder / name).write_text(f"ENV_TEST = 1\nSERVICE_PORT = {number}\n")
    assert ({} if port is None else {"service_port": port}) == read(environment)


@pytest.mark.parametrize(
    ("environment", "name"),
    [({"LEDGER_ENV_FILE": "gone"}, "LEDGER_ENV_FILE: gone"), ({"ENV_TEST": "1"}, "ENV_TEST: .env_test")],
)
def test_a_named_file_must_exist(folder: Path, environment: dict[str, str], name: str) -> None:
    (folder / ".env").write_text("SERVICE_PORT=1\n")
    assert f"{name}: cannot be read: No such file or directory" == refusal(environment)


def test_a_file_cannot_name_another_file(folder: Path) -> None:
    (folder / ".env").write_text("LEDGER_ENV_FILE=other\n")
    assert ".env:1: LEDGER_ENV_FILE: has an effect in the environment only" == refusal()


# Child processes


def test_a_child_has_the_settings_of_its_parent_and_reads_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (folder / "settings").write_text("JWT_SECRET='a $ecret that is long enough, of a file'\nSERVICE_PORT=1\n")
    monkeypatch.setenv("LEDGER_ENV_FILE", "settings")
    monkeypatch.setenv("service_host", "localhost")
    monkeypatch.setenv("REDIS_PORT", "tcp://10.0.0.1:6379")
    parent = Settings.load().model_copy(update={"service_port": 2})
    child_environment = parent.child_environment()

    (folder / "settings").write_text("SERVICE_PORT=3\nLEDGER_SCHEMA=other\n")
    (folder / ".env").write_text("SERVICE_PORT=4\nJWT_SECRETS=misspelt\n")
    for name in ("LEDGER_ENV_FILE", "service_host", "REDIS_PORT"):
        monkeypatch.delenv(name)
        assert name not in child_environment
    for name, value in child_environment.items():
        monkeypatch.setenv(name, value)

    assert parent == Settings.load_passed_on()
