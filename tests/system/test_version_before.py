"""A database of the version before opens, verifies and rebuilds, and its requests get the responses of that version.

`tests/data/version_before/README.md` describes the database.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ledger.embedded import Services
from ledger.identity.keys import public_key
from ledger.projections import INLINE
from ledger.seals import receipts
from ledger.settings import Settings
from ledger.store.migrate import latest_migration, migrate
from tests.conftest import settings_for
from tests.support import citus
from tests.support.controls import PASSWORD, Api, new_id, transfer_body, user_body
from tests.support.processes import ROOT, run_ledger
from tests.support.valkey import valkey_server

KEPT = ROOT / "tests" / "data" / "version_before"
PUBLIC_KEY, HEADS = KEPT / "seal-key.pem", KEPT / "heads.jsonl"
TOKENS: dict[str, dict[str, str]] = json.loads((KEPT / "tokens.json").read_text())
RESPONSES: list[dict[str, Any]] = json.loads((KEPT / "responses.json").read_text())
KEYED: list[dict[str, Any]] = json.loads((KEPT / "keyed.json").read_text())
RECEIPTS = [response for response in RESPONSES if response["path"].split("?")[0].endswith("/proof")]

# The changes of behavior since then. The changelog lists them.
PATHS_TODAY = {("admin", "/v1/accounts"): "/v1/accounts?world=true"}
NEW_MEMBERS = {  # of the responses of these paths
    r"/accounts(/[-0-9a-f]+)?": {"max_balance_cents"},
    r"/.*/entries": {"description", "metadata", "effective_at", "reverses"},
    r"/.*/trial-balance": {"debit_cents_text", "credit_cents_text", "sum_cents_text"},
}
REORDERED_TODAY = ("/v1/transactions?limit=20", "/v1/transactions?limit=3")  # a captured hold counts from its capture
KEYS_REUSED_TODAY = {"spelt-otherwise"}  # its request has a time in another zone than UTC

EVENTS, SEALED_EVENTS, BLOCKS = 318, 314, 6
LOGINS = {
    "alice": PASSWORD,
    "ALICE": PASSWORD,
    "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS} M\N{LATIN SMALL LETTER U WITH DIAERESIS}ller": PASSWORD,  # stored as NFD
    "\N{LATIN SMALL LIGATURE FI}ona Straße": PASSWORD,
    "fiona strasse": PASSWORD,
    "\N{CYRILLIC SMALL LETTER ER}\N{CYRILLIC SMALL LETTER A}ypal": PASSWORD,  # new names must not mix scripts
    "Μαρία": PASSWORD,
    "erika": "another password of hers",  # changed, like her name
    "erin": PASSWORD,  # a new user with the old name of erika
    "digest": PASSWORD,  # replaced a digest
    "second": PASSWORD,
}
REFUSED_LOGINS = ("carol", "dave")  # one is inactive, the other deleted
REFERENCES = (
    "rent, May",
    "Mu\N{COMBINING DIAERESIS}ller & So\N{COMBINING DIAERESIS}hne",  # as stored
    "M\N{LATIN SMALL LETTER U WITH DIAERESIS}ller & S\N{LATIN SMALL LETTER O WITH DIAERESIS}hne",
)

Command = Callable[..., Awaitable[str]]


def an_id(number: int) -> str:
    return str(UUID(f"018f0000-0000-7000-8000-{number:012}"))


SOURCE, DESTINATION, OTHER = (an_id(number) for number in (100, 101, 106))  # accounts in the same currency
TRANSFER, HOLD, SECOND_HOLD = an_id(201), an_id(240), an_id(246)  # the holds are pending


@pytest.fixture
async def settings(servers: Services, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings of the old ledger, migrated.

    All copies have one identity, which the seals name, so each needs a Valkey of its own.
    """
    dump = (KEPT / "dump.sql").read_text()
    with valkey_server(tmp_path) as valkey:
        await valkey.start()
        async with citus.lend_dump(dump) if citus.URL else _load(servers, dump) as place:
            settings = valkey.settings(settings_for(servers, **place))
            await migrate(settings)
            yield settings


@asynccontextmanager
async def _load(servers: Services, dump: str) -> AsyncIterator[dict[str, str]]:
    """Yield the settings that lead to a database with the contents of a dump."""
    name = f"t_{new_id().hex}"
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute(f"CREATE DATABASE {name}")
    loading = await asyncpg.connect(settings_for(servers, name).database_dsn())
    await loading.execute(dump)
    await loading.close()
    yield {"database": name}
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
def run(settings: Settings) -> Command:
    """Run a `ledger` command, which must succeed, and return its standard output."""

    async def run_successfully(*arguments: str, **variables: str) -> str:
        ran = await run_ledger(*arguments, variables={**settings.environment(), **variables})
        assert 0 == ran.status, ran.output + ran.error
        return ran.output

    return run_successfully


async def requested(api: Api, method: str, path: str, **options: Any) -> dict[str, Any]:
    """Send a request and return its response as the kept ones are stored: the body as text, or error codes."""
    headers = {"Authorization": f"Bearer {api.token}", **options.pop("headers", {})}
    async with api.client.request(method, path, headers=headers, **options) as response:
        text = await response.text()
        kept = {name.lower(): response.headers[name] for name in ("ETag", "Link") if name in response.headers}
        failed = response.status >= 400
        return {
            "status": response.status,
            **kept,
            "body": [error["code"] for error in json.loads(text)["errors"]] if failed else text,
        }


async def test_the_database_verifies_before_and_after_a_command(api: Api, run: Command, connection: Any) -> None:
    assert latest_migration() == await connection.fetchval("SELECT version_num FROM alembic_version")
    assert "" == await run("audit", "verify", "--json")
    assert 200 == (await api.post("/v1/auth/revoke-user", {"user_id": an_id(2)})).status
    assert "" == await run("audit", "verify", "--json")


async def test_every_projection_rebuilds_with_no_difference(run: Command) -> None:
    for options, is_swapped in ((("--dry-run",), False), ((), True)):
        outcome = json.loads(await run("projections", "rebuild", "--all", "--json", *options))
        assert [projection.name for projection in INLINE] == outcome["projections"]
        assert (EVENTS, 0, is_swapped) == (outcome["events"], outcome["differing"], outcome["swapped"])


async def test_the_seals_verify_and_another_key_continues_them(
    run: Command, settings: Settings, key_file: Path
) -> None:
    """The chain is adopted, because that version kept no head of it."""
    options = ("audit", "verify-seals", "--json", "--public-key", str(PUBLIC_KEY), "--against", str(HEADS))
    expected = {"blocks": BLOCKS, "events": SEALED_EVENTS, "heads_compared": BLOCKS, "findings": [], "omitted": {}}
    ran = await run_ledger(*options, variables=settings.environment())
    (finding,) = ran.document["findings"]
    assert (1, True, True) == (
        ran.status,
        finding["position"] > SEALED_EVENTS,
        "have not been sealed" in finding["problem"],
    )
    assert {**expected, "unsealed_events": EVENTS - SEALED_EVENTS} == {**ran.document, "findings": []}
    key = {"LEDGER_SEAL_KEY_FILE": str(key_file)}
    await run("audit", "seal", **key)
    expected |= {"blocks": BLOCKS + 1, "events": EVENTS, "heads_compared": BLOCKS + 1}
    assert {**expected, "unsealed_events": 0} == json.loads(await run(*options, **key))


async def test_the_command_line_checks_a_receipt_offline(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text(RECEIPTS[0]["body"])
    options = (str(tmp_path / "receipt.json"), "--public-key", str(PUBLIC_KEY))
    ran = await run_ledger("audit", "check-receipt", *options)
    assert 0 == ran.status, ran.error
    assert "proven: MoneyTransferred" in ran.output


@pytest.mark.parametrize("receipt", RECEIPTS, ids=lambda receipt: f"{receipt['as']} {receipt['path']}")
def test_a_receipt_proves_events_of_its_subject(receipt: dict[str, Any]) -> None:
    key = public_key(PUBLIC_KEY)
    for proof in receipts.check(receipt["body"].encode(), {key.kid: key}).proofs:
        assert receipt["path"].split("/")[3] in f"{proof.event.originator_id} {proof.event.state.decode()}"


async def test_responses_are_byte_for_byte_those_of_the_version_before(
    serve: Callable[..., Awaitable[Api]], settings: Settings
) -> None:
    """Receipts and links to next pages are among them. The callers use tokens of that version."""
    api = await serve(settings, logs_in=False)  # a login would add an event
    for response in RESPONSES:
        caller, path = response["as"], response["path"]
        found = await requested(
            replace(api, token=TOKENS["alive"][caller]), "GET", PATHS_TODAY.get((caller, path), path)
        )
        resource = path.removeprefix("/v1").partition("?")[0]
        new = next((names for pattern, names in NEW_MEMBERS.items() if re.fullmatch(pattern, resource)), set())
        if path in REORDERED_TODAY:
            assert_same_items(response["body"], found["body"])
        else:
            assert response == {"as": caller, "path": path, **found, "body": without_members(found["body"], new)}


def without_members(body: Any, names: set[str]) -> Any:
    """Return the text of a resource, a list or a trial balance without the members of these names."""
    if not names or isinstance(body, list):
        return body
    decoded = json.loads(body)
    for row in decoded if isinstance(decoded, list) else decoded.get("currencies", [decoded]):
        for name in names & row.keys():
            del row[name]
    return json.dumps(decoded, separators=(",", ":"), ensure_ascii=False)


def assert_same_items(before: str, today: str) -> None:
    """Assert that all items but one are on both pages, and unchanged: a captured hold takes the place of another."""
    items, others = ({row["id"]: row for row in json.loads(body)} for body in (before, today))
    assert len(items) == len(others)
    common = items.keys() & others.keys()
    assert len(items) - 1 <= len(common)
    assert {key: items[key] for key in common} == {key: others[key] for key in common}


async def test_users_log_in_with_their_passwords(api: Api) -> None:
    for username, password in LOGINS.items():
        caller = await api.logged_in(username, password)
        assert 200 == (await caller.get("/")).status, username
    for username in REFUSED_LOGINS:
        refused = await api.nobody.post("/v1/auth/login", {"username": username, "password": PASSWORD})
        assert (401, ["authentication_wrong_credentials"]) == (refused.status, refused.codes), username


@pytest.mark.parametrize(("kind", "status"), [("alive", 200), ("dead", 401)])
async def test_a_token_stays_as_it_was(api: Api, kind: str, status: int) -> None:
    """An access token is used, a refresh token is exchanged."""
    assert TOKENS[kind]
    for name, token in TOKENS[kind].items():
        caller = replace(api, token=token)
        method, path = ("POST", "/v1/auth/refresh") if name.endswith("(refresh)") else ("GET", "/")
        assert status == (await caller.call(method, path)).status, name


async def test_idempotency_keys_are_remembered(api: Api) -> None:
    """The same request is replayed, also if it was refused. Another request under the key is refused."""
    reused = (422, ["idempotency_key_reused"])
    for keyed in KEYED:
        key = {"headers": {"Idempotency-Key": keyed["key"]}}
        replayed = await requested(api, "POST", keyed["path"], json=keyed["request"], **key)
        expected = reused if keyed["key"] in KEYS_REUSED_TODAY else (keyed["status"], keyed["body"])
        assert expected == (replayed["status"], replayed["body"]), keyed["key"]
        other = await requested(api, "POST", "/v1/transactions/transfer", json=transfer_body(SOURCE, OTHER, 77), **key)
        assert reused == (other["status"], other["body"]), keyed["key"]


async def test_references_names_and_ids_stay_taken(api: Api) -> None:
    for reference in REFERENCES:
        refused = await api.post(
            "/v1/transactions/transfer", {**transfer_body(SOURCE, OTHER, 1), "reference": reference}
        )
        assert (409, ["reference_already_exists"]) == (refused.status, refused.codes), reference
    for members in ({"id": an_id(4)}, {"username": "BOB"}, {"email": "user2@EXAMPLE.com"}):
        refused = await api.post("/v1/users", user_body(**members))
        assert (409, ["user_already_exists"]) == (refused.status, refused.codes), members


async def test_commands_continue_old_accounts_holds_and_transactions(api: Api, run: Command) -> None:
    account = await api.get(f"/v1/accounts/{SOURCE}")
    tag = {"If-Match": account.headers["ETag"]}
    assert 200 == (await api.transfer(SOURCE, DESTINATION, 100, headers=tag)).status
    captured = await api.post(f"/v1/transactions/{HOLD}/capture", {"amount_cents": 40})
    assert (200, "captured", 40) == (captured.status, captured.body["status"], captured.body["captured_cents"])
    voided = await api.post(f"/v1/transactions/{SECOND_HOLD}/void")
    assert (200, "voided") == (voided.status, voided.body["status"])
    reversal = await api.post(f"/v1/transactions/{TRANSFER}/reverse")
    assert (200, TRANSFER, 11_00) == (reversal.status, reversal.body["reverses"], reversal.body["amount_cents"])
    again = await api.post(f"/v1/transactions/{TRANSFER}/reverse")
    assert (409, ["transaction_already_reversed"]) == (again.status, again.codes)

    before, after = account.body, (await api.get(f"/v1/accounts/{SOURCE}")).body
    assert before["balance_cents"] - 100 - 40 + 11_00 == after["balance_cents"]
    assert before["held_cents"] - 240 - 246 == after["held_cents"]
    assert (await api.get("/v1/ledger/trial-balance")).body["balanced"]
    assert "" == await run("audit", "verify", "--json")
    assert 0 == json.loads(await run("projections", "rebuild", "--all", "--dry-run", "--json"))["differing"]
