"""A service that seals its log, and an attacker who has the password of its database and nothing else."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, transfer_body
from tests.support.processes import Ledger, Ran, run_ledger, until
from tests.support.sealed import write_key_file
from tests.support.serving import call, log_in, serving

FORGED_CENTS = 99_999_900
# The last balance of an account, in its event, its head and its read table.
REWRITE = (
    f"""UPDATE stored_events SET state = overlay(state PLACING int8send({FORGED_CENTS}) FROM 26)
        WHERE topic = 'AccountDebited' AND notification_id = (SELECT max(notification_id) FROM stored_events
                                                              WHERE topic = 'AccountDebited')""",
    f"UPDATE accounts SET balance_cents = {FORGED_CENTS} WHERE id = $account",
    f"""UPDATE stream_heads
        SET state = convert_to(regexp_replace(convert_from(state, 'UTF8'), '"balance_cents":-?[0-9]+',
                                              '"balance_cents":{FORGED_CENTS}'), 'UTF8')
        WHERE originator_id = $account""",
)
DELETE_SEALS = "DELETE FROM seals"


class Victim(NamedTuple):
    """A ledger with a sealing key, some transfers between two accounts, and the folder of its files."""

    settings: Settings
    connection: Any
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """The settings as variables, for the command line."""
        return {**self.settings.environment(), "LEDGER_SEAL_EVENTS": "8"}

    def serve(self, name: str = "served", **variables: str) -> AbstractContextManager[Ledger]:
        given = {"LEDGER_SEAL_SECONDS": "0.05", "LEDGER_SEAL_EVENTS": "8", **variables}
        return serving(self.folder / name, self.settings, variables=given)

    async def run(self, *arguments: str, **variables: str) -> Ran:
        return await run_ledger("audit", *arguments, variables={**self.variables, **variables})

    async def attack(self, *statements: str, account: str = "") -> None:
        """Run statements that bypass all triggers."""
        await self.connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await self.connection.execute(statement.replace("$account", f"'{account}'"))
        await self.connection.execute("RESET session_replication_role")

    async def is_sealed(self) -> bool:
        """Return whether all events are sealed."""
        sql = """SELECT coalesce((SELECT max(last_position) FROM seals), 0)
                        >= (SELECT max(notification_id) FROM stored_events)"""
        return bool(await self.connection.fetchval(sql))


def prepare_victim(settings: Settings, connection: Any, folder: Path) -> Victim:
    """Return a ledger with a sealing key, whose log is empty."""
    key = write_key_file(folder / "seal-key.pem")
    return Victim(settings.model_copy(update={"ledger_seal_key_file": key}), connection, folder)


class History(NamedTuple):
    """Two accounts, and one of the transfers between them."""

    source: str
    destination: str
    transaction_id: str


async def record_history(victim: Victim, running: Ledger) -> History:
    """Make some transfers over HTTP, one of which is refused, and wait until all is sealed."""
    url = await running.url()
    token = await log_in(url, "admin", ADMIN_PASSWORD)
    source, destination = [await open_account(url, token, cents) for cents in (10_000, 0)]
    for _ in range(4):
        await transfer(url, token, source, destination)
    status, _ = await call("POST", f"{url}/v1/transactions/transfer", transfer_body(destination, source, 10**9), token)
    assert status >= 400, "refused"
    transaction_id = await transfer(url, token, source, destination)
    await until(victim.is_sealed)
    return History(source, destination, transaction_id)


async def open_account(url: str, token: str, balance_cents: int) -> str:
    _, users = await call("GET", f"{url}/v1/users", None, token)
    body = {"user_id": users[0]["id"], "balance_cents": balance_cents}
    status, account = await call("POST", f"{url}/v1/accounts", body, token)
    assert 201 == status, account
    return str(account["id"])


async def transfer(url: str, token: str, source: str, destination: str, cents: int = 25) -> str:
    body = transfer_body(source, destination, cents)
    status, made = await call("POST", f"{url}/v1/transactions/transfer", body, token)
    assert 200 == status, made
    return str(made["id"])


def problems(ran: Ran) -> Sequence[str]:
    """Return the findings of `verify-seals`, which must have exited with 1."""
    assert 1 == ran.status, ran.output + ran.error
    return ran.output.splitlines()[:-1]
