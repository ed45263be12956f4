"""The demo, the first admin and further admins."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import __version__, cli
from tests.support.controls import Api
from tests.support.outages import reserved_port
from tests.support.processes import Ledger
from tests.support.serving import startup_error

DIGEST = "7c44575b741f02d49c3e988ba7aa95a8fb6d90c0ef63a97236fa54bfcfbd9d51"


def rows(running: Ledger) -> list[list[str]]:
    """Return the rows of the table that a command printed."""
    return [re.split(r" {2,}", line.strip()) for line in running.output.read_text().splitlines()][1:]


async def assert_is_demo_user(api: Api, row: list[str]) -> None:
    username, password, user_id, account_id = row
    person = await api.logged_in(username, password)
    user, account = await person.get(f"/v1/users/{user_id}"), await person.get(f"/v1/accounts/{account_id}")
    assert (username, f"{username}@mail.com", "customer") == tuple(
        user.body[name] for name in ("username", "email", "roles")
    )
    assert (user_id, 100_00, "USD") == tuple(account.body[key] for key in ("user_id", "balance_cents", "currency"))


async def test_the_demo_creates_two_users_with_a_hundred_each(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    """Lesson 31: on a configured database with random passwords."""
    running = run("demo", **shared)
    assert 0 == await running.status()
    created = rows(running)
    assert ["alice", "bob"] == [row[0] for row in created]
    for row in created:
        await assert_is_demo_user(api, row)
    assert DIGEST not in running.output.read_text()
    refused = await api.nobody.post("/v1/auth/login", {"username": "alice", "password_hash": DIGEST})
    assert 401 == refused.status


async def test_the_demo_has_sample_passwords_on_request(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    """Clients of the reference service log in with them."""
    running = run("demo", "--sample-passwords", **shared)
    assert 0 == await running.status()
    for row in rows(running):
        assert DIGEST == row[1]
        await assert_is_demo_user(api, row)
        login = await api.nobody.post("/v1/auth/login", {"username": row[0], "password_hash": DIGEST})
        assert 200 == login.status


async def test_the_demo_of_the_embedded_database_has_random_passwords(
    run: Callable[..., Ledger], alone: dict[str, str]
) -> None:
    running = run("demo", **alone)
    assert 0 == await running.status()
    (alice, first, *_), (bob, second, *_) = rows(running)
    assert ("alice", "bob") == (alice, bob)
    assert len({DIGEST, first, second}) == 3
    assert min(len(first), len(second)) >= 22


async def test_the_demo_leaves_existing_users_unchanged(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    first = run("demo", **shared)
    assert 0 == await first.status()
    created = rows(first)
    second = run("demo", "--sample-passwords", **shared)
    assert 0 == await second.status()
    unchanged = "(unchanged: the user existed)"
    assert [[name, unchanged, *ids] for name, _, *ids in created] == rows(second)
    for row in created:
        await assert_is_demo_user(api, row)


async def test_the_demo_takes_no_existing_name(run: Callable[..., Ledger], shared: dict[str, str], api: Api) -> None:
    await api.new_user(username="bob")
    line = await startup_error(run("demo", **shared))
    assert "ledger: user_already_exists: a user with this username already exists" == line


async def test_migrate_needs_the_settings_of_postgresql_alone(
    run: Callable[..., Ledger], shared: dict[str, str], tmp_path: Path
) -> None:
    """It needs neither a secret nor Redis, and starts no servers of its own."""
    with reserved_port(listening=False) as port:
        away = f"redis://127.0.0.1:{port}/0"
        for number, more in enumerate(({}, {"REDIS_URL": away})):
            variables = {"DATABASE_URL": shared["DATABASE_URL"], "LEDGER_SCHEMA": f"fresh_{number}", **more}
            running = run("migrate", LEDGER_DATA_DIR=str(tmp_path / "unused"), **variables)
            assert 0 == await running.status(), running.lines
            assert [f"fresh_{number}"] == [record["schema"] for record in running.logged("schema migrated")]
    assert not (tmp_path / "unused").exists()


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.root()(["--version"])
    assert (0, f"ledger {__version__}\n") == (ended.value.code, capsys.readouterr().out)


async def test_an_admin_is_created_with_a_password_from_a_pipe(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    running = run("admin", "create", "root", given="a password from a pipe\n", **shared)
    assert 0 == await running.status()
    root = await api.logged_in("root", "a password from a pipe")
    assert 200 == (await root.get("/v1/users")).status
    assert "a password from a pipe" not in running.log.read_text() + running.output.read_text()


async def test_a_dry_run_of_creating_an_admin_creates_none(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    running = run("admin", "create", "root", "--dry-run", given="a password from a pipe\n", **shared)
    assert 0 == await running.status()
    assert "dry run: an admin would be created" in running.log.read_text() + running.output.read_text()
    assert [] == (await api.get("/v1/users", params={"username": "root"})).body
    taken = run("admin", "create", "Admin", "--dry-run", given="a password from a pipe\n", **shared)
    assert "ledger: user_already_exists" in await startup_error(taken)


async def test_an_admin_whose_name_is_taken_is_one_line(
    run: Callable[..., Ledger], shared: dict[str, str], api: Api
) -> None:
    del api  # its first admin has this name
    line = await startup_error(run("admin", "create", "Admin", given="a password from a pipe\n", **shared))
    assert "ledger: user_already_exists" in line


async def test_a_password_that_is_too_short_is_one_line(run: Callable[..., Ledger], shared: dict[str, str]) -> None:
    running = run("admin", "create", "root", given="hunter2\n", **shared)
    assert 2 == await running.status()
    assert ["ledger: a password has 8 to 1024 characters"] == running.lines


@pytest.mark.parametrize("password", ["password", "springfield"])
async def test_a_password_that_is_tried_first_is_one_line(
    run: Callable[..., Ledger], shared: dict[str, str], password: str
) -> None:
    variables = {**shared, "LEDGER_PASSWORD_WORDS": "springfield"}
    running = run("admin", "create", "root", given=f"{password}\n", **variables)
    assert 2 == await running.status()
    assert running.lines[-1].startswith("ledger: the password must not be a ")


async def test_a_start_without_any_user_or_admin_password_says_what_to_do(
    run: Callable[..., Ledger], shared: dict[str, str]
) -> None:
    running = run("serve", **{**shared, "LEDGER_ADMIN_PASSWORD": ""})
    await running.url()
    warnings = [record["event"] for record in running.records if record["level"] == "warning"]
    assert 1 == sum("LEDGER_ADMIN_PASSWORD" in warning for warning in warnings)
