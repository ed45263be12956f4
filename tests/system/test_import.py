"""`ledger import` checks files, sends them to a running service, and makes each transaction once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ledger import errors
from ledger.cli import import_client
from ledger.cli.import_client import ImportFailedError, Service, send
from ledger.errors import Refused
from ledger.events.accounts import world_account_id
from ledger.importing.draft import Reading
from ledger.importing.prepare import prepare
from ledger.importing.readers import FORMATS
from ledger.importing.results import Tally
from ledger.write import dry_run
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, new_id, transfer_body
from tests.support.import_files import BANKS, FITIDS, HEADER, write
from tests.support.processes import Ran, ledger, run_ledger, until
from web import auth
from web.handlers import batch_stream

RUN = ("--run", "2026-06-rent")


def url(api: Api) -> str:
    return str(api.client.make_url("")).rstrip("/")


async def run(api: Api, file: Path, *arguments: str, password: str | None = ADMIN_PASSWORD) -> Ran:
    given = {} if password is None else {"LEDGER_PASSWORD": password}
    return await run_ledger("import", str(file), "--url", url(api), *arguments, variables=given)


def counts(ran: Ran) -> tuple[int, ...]:
    return tuple(ran.document[name] for name in ("made", "replayed", "refused", "unconfirmed"))


async def accounts(api: Api, balance_cents: int = 100, **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    currency = {name: value for name, value in members.items() if name == "currency"}
    return await api.new_account(balance_cents=balance_cents, **members), await api.new_account(**currency)


def table(pair: str, *rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *(f"{pair},{row}" for row in rows)]) + "\n"


def between(source: dict[str, Any], destination: dict[str, Any]) -> str:
    return f"{source['id']},{destination['id']}"


async def test_a_file_is_imported_once_however_it_is_saved(api: Api, tmp_path: Path) -> None:
    """Lessons 4 and 45."""
    alice, bob = await accounts(api)
    header = f"{HEADER},reference,metadata.flat"
    text = table(between(alice, bob), '1,"rent, May",3', "2,,", "2,,", header=header)
    forms = {"utf-8": text, "utf-8-sig": text.replace("\n", "\r\n"), "utf-16": text.rstrip()}
    ran = [
        await run(api, write(tmp_path / f"{number}.csv", form, encoding), *RUN, "--json")
        for number, (encoding, form) in enumerate(forms.items())
    ]

    assert [(3, 0, 0, 0), (0, 3, 0, 0), (0, 3, 0, 0)] == [counts(each) for each in ran]
    assert [0, 0, 0] == [each.status for each in ran]
    assert 95 == await api.balance(alice)
    *_, other = (await api.get(f"/v1/accounts/{bob['id']}/entries")).body
    assert "rent, May" == other["reference"]
    transaction = (await api.get(f"/v1/transactions/{other['transaction_id']}")).body
    assert {"flat": "3"} == transaction["metadata"]


async def test_a_mended_file_pays_only_what_was_not_paid(api: Api, tmp_path: Path) -> None:
    """Lesson 45: nothing is made until all 1,500 lines are right, and last month's file pays again."""
    alice, bob = await accounts(api, 4000)
    rows = ["1"] * 1500
    bad = write(tmp_path / "bad.csv", table(between(alice, bob), *rows[:1000], "1.5", *rows[1001:]))
    good = write(tmp_path / "good.csv", table(between(alice, bob), *rows))

    said = await run(api, bad, *RUN)
    assert (1, "0 made, 0 replayed, 0 refused\n", 4000) == (said.status, said.output, await api.balance(alice))
    assert [
        f"{bad}:1002:75: amount_cents: must be an integer, without a fraction",
        f"ledger: {bad} has 1 fault, so nothing was sent",
    ] == said.error.splitlines()

    paid, again, next_month = [
        await run(api, good, "--run", name, "--json") for name in ("2026-06", "2026-06", "2026-07")
    ]
    assert [(1500, 0, 0, 0), (0, 1500, 0, 0), (1500, 0, 0, 0)] == [counts(each) for each in (paid, again, next_month)]
    assert 1000 == await api.balance(alice)


async def test_refusals_are_named_by_line_and_the_rest_is_transferred(api: Api, tmp_path: Path) -> None:
    """Lesson 5. A row that was refused and mended pays alone."""
    alice, bob = await accounts(api)
    pair = between(alice, bob)
    file = write(tmp_path / "may.csv", table(pair, "1", "500", "2"))

    said = await run(api, file, *RUN)
    assert (1, "2 made, 0 replayed, 1 refused\n") == (said.status, said.output)
    assert f"{file}:3: transfer_insufficient_funds: " in said.error

    write(file, table(pair, "1", "50", "2"))
    mended = await run(api, file, *RUN, "--json")
    assert ((1, 2, 0, 0), 47) == (counts(mended), await api.balance(alice))


async def test_a_line_made_before_is_replayed_or_says_what_differs(api: Api, tmp_path: Path) -> None:
    """By id and by reference, whether the tool or another client has made the transaction."""
    alice, bob = await accounts(api)
    mine, pair = str(new_id()), between(alice, bob)
    by_hand = {**transfer_body(alice, bob, 3), "reference": "by hand", "metadata": {"a": "1"}}
    assert 200 == (await api.post("/v1/transactions/transfer", by_hand)).status
    header = f"{HEADER},id,reference,metadata.a"
    file = write(tmp_path / "may.csv", table(pair, f"1,{mine},,", "2,,rent,", "3,,by hand,1", header=header))
    first, again = [await run(api, file, "--json") for _ in range(2)]
    assert [(2, 1, 0, 0), (0, 3, 0, 0)] == [counts(first), counts(again)]

    other = write(tmp_path / "june.csv", table(pair, f"9,{mine},,", "2,,rent,x", "4,,by hand,1", header=header))
    said = await run(api, other)

    assert (1, "0 made, 0 replayed, 3 refused\n") == (said.status, said.output)
    assert [
        "amount_cents is 1 in the ledger, and 9 in the file",
        'metadata is absent in the ledger, and {"a":"x"} in the file',
        "amount_cents is 3 in the ledger, and 4 in the file",
    ] == [line.rpartition(": ")[2] for line in said.error.splitlines()]
    assert [f"{other}:{number}:" for number in (2, 3, 4)] == [line.split(" ")[0] for line in said.error.splitlines()]


async def test_entries_and_holds_are_made_in_the_order_of_the_file(api: Api, tmp_path: Path) -> None:
    alice, bob = await accounts(api)
    legs = [{"account_id": bob["id"], "amount_cents": -100}, {"account_id": alice["id"], "amount_cents": 100}]
    bodies: list[dict[str, Any]] = [
        transfer_body(alice, bob, 100),
        {"postings": legs, "reference": "back"},
        transfer_body(alice, bob, 60),
        {**transfer_body(alice, bob, 40), "expires_at": "2100-01-01T00:00:00Z", "reference": "far"},
        {**transfer_body(alice, bob, 40), "expires_in_seconds": 60, "reference": "hold"},
        transfer_body(alice, bob, 1),
    ]
    file = write(tmp_path / "may.jsonl", "".join(json.dumps(body) + "\n" for body in bodies))

    first, again = [await run(api, file, *RUN, "--json") for _ in range(2)]

    assert [(4, 0, 2, 0), (0, 4, 2, 0)] == [counts(first), counts(again)]
    assert [(4, "validation_error"), (6, "transfer_insufficient_funds")] == [
        (error["line"], error["code"]) for error in first.document["errors"]
    ]
    assert [40, 60] == [await api.balance(account) for account in (alice, bob)]


async def test_a_killed_import_makes_each_line_once(api: Api, tmp_path: Path) -> None:
    """Lessons 4 and 45: killed at twenty random points of its way."""
    lines, rounds = 3000, 20
    alice, bob = await accounts(api, lines)
    rows = ["1"] * (lines // 2) + [f"1,{number}" for number in range(lines // 2)]
    text = table(between(alice, bob), *(row if "," in row else f"{row}," for row in rows), header=f"{HEADER},reference")
    file = write(tmp_path / "may.csv", text)
    stops = sorted(random.Random(15).sample(range(lines), rounds))  # noqa: S311 - not for secrets

    for number, stop in enumerate(stops):

        async def is_there(stop: int = stop) -> bool:
            return running.process.poll() is not None or await api.balance(bob) >= stop

        arguments = ("import", str(file), "--url", url(api), *RUN)
        with ledger(tmp_path / f"killed-{number}", *arguments, LEDGER_PASSWORD=ADMIN_PASSWORD) as running:
            await until(is_there)
            running.process.kill()

    last, again = [await run(api, file, *RUN, "--json") for _ in range(2)]
    assert (0, lines, 0, 0) == counts(again)
    assert (0, lines) == (last.status, sum(counts(last)[:2]))
    assert [0, lines] == [await api.balance(account) for account in (alice, bob)]


async def test_a_stopped_import_prints_true_counts(api: Api, tmp_path: Path) -> None:
    lines = 20_000
    alice, bob = await accounts(api, lines)
    file = write(tmp_path / "may.csv", table(between(alice, bob), *["1"] * lines))

    async def has_begun() -> bool:
        return await api.balance(bob) > 0

    arguments = ("import", str(file), "--url", url(api), *RUN, "--json")
    with ledger(tmp_path / "stopped", *arguments, LEDGER_PASSWORD=ADMIN_PASSWORD) as running:
        await until(has_begun)
        running.process.terminate()
        assert 1 == await running.status()

    document = json.loads(running.output.read_text())
    assert document["stopped"].startswith("stopped; run the command again to resume")
    assert document["made"] <= await api.balance(bob) < lines
    assert await api.balance(bob) <= document["made"] + document["unconfirmed"] < lines


async def test_a_dry_run_says_what_would_become_of_each_line_and_writes_nothing(
    api: Api, connection: Any, tmp_path: Path
) -> None:
    alice, bob = await accounts(api)
    header, pair = f"{HEADER},reference", between(alice, bob)
    await run(api, write(tmp_path / "may.csv", table(pair, "1,a", "2,b", header=header)))
    file = write(tmp_path / "june.csv", table(pair, "1,a", "3,b", "90,c", "8,d", "7,e", header=header))
    before = await connection.fetchval("SELECT max(notification_id) FROM stored_events WHERE topic LIKE 'Account%'")

    tried = await run(api, file, "--dry-run")

    assert before == await connection.fetchval(
        "SELECT max(notification_id) FROM stored_events WHERE topic LIKE 'Account%'"
    )
    assert (1, "2 new, 1 made before, 2 refused, nothing written\n") == (tried.status, tried.output)
    wrong, short = tried.error.splitlines()
    assert wrong.startswith(f"{file}:3: transaction_id_reused: ")
    assert "amount_cents is 2 in the ledger, and 3 in the file" in wrong
    assert short.startswith(f"{file}:5: transfer_insufficient_funds: ")
    made = await run(api, file)
    assert tried.error == made.error
    assert "2 made, 1 replayed, 2 refused\n" == made.output


async def test_a_dry_run_of_journal_entries_and_holds_tries_each_alone(api: Api, tmp_path: Path) -> None:
    alice, bob = await accounts(api)
    entry = {
        "postings": [{"account_id": alice["id"], "amount_cents": -100}, {"account_id": bob["id"], "amount_cents": 100}]
    }
    lines = [transfer_body(alice, bob, 100), entry, {**entry, "description": "again"}]
    file = write(tmp_path / "may.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    tried = await run(api, file, "--dry-run", *RUN)

    assert (0, "3 new, 0 made before, 0 refused, nothing written\n") == (tried.status, tried.output)
    assert 100 == await api.balance(alice)


async def test_a_dry_run_of_many_lines_has_parts(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "MAX_STREAMS", 1200)
    alice, bob = await accounts(api, 3000)

    tried = await run(api, write(tmp_path / "may.csv", table(between(alice, bob), *["1"] * 5000)), *RUN, "--dry-run")

    assert "tried in 3 parts, each on the present state" in tried.output
    assert 3000 == await api.balance(alice)


async def test_a_bank_file_is_imported_once_in_every_format(api: Api, tmp_path: Path) -> None:
    """MT940 and OFX name the same account and the same references: the entries are the same in other words."""
    bank, suspense = await api.new_account(currency="EUR"), await api.new_account(currency="EUR")
    await api.put(f"/v1/accounts/{suspense['id']}", {"overdraft_limit_cents": 10**6})
    arguments = ("--account", bank["id"], "--against", suspense["id"], "--run", "may", "--json")
    qif = ("--currency", "EUR", "--number-format", "1.234,56", "--date-format", "DD.MM.YYYY")
    made = {}
    for name, text in BANKS.items():
        file = write(tmp_path / f"may.{name}", text)
        first, again = [await run(api, file, *arguments, *(qif if name == "qif" else ())) for _ in range(2)]
        assert (0, 2, 0, 0) == counts(again), (name, again)
        made[name] = counts(first)[0]
    assert {"ofx": 2, "camt": 2, "mt940": 0, "qif": 2} == made
    assert 3 * (125000 - 1234) == await api.balance(bank)
    listed = (await api.get("/v1/transactions", params={"account_id": bank["id"]})).body
    assert {*FITIDS} <= {transaction.get("metadata", {}).get("bank_reference") for transaction in listed}


async def test_an_amount_in_another_currency_than_the_account_is_a_fault(api: Api, tmp_path: Path) -> None:
    alice, bob = await accounts(api, currency="JPY")
    text = table(between(alice, bob), "10.00", "5").replace("amount_cents", "amount")
    said = await run(api, write(tmp_path / "may.csv", text), *RUN, "--currency", "EUR")
    assert (1, "0 made, 0 replayed, 0 refused\n") == (said.status, said.output)
    assert f"may.csv:2:1: currency: account {alice['id']} is in JPY, not in EUR" in said.error


async def test_money_of_world_opens_it(api: Api, tmp_path: Path) -> None:
    """So an export can be imported into an empty ledger, whose `world` no money has moved in."""
    alice, world = await api.new_account(currency="ISK"), str(world_account_id("ISK"))
    file = write(tmp_path / "may.csv", table(f"{world},{alice['id']}", "5", "6"))
    assert (2, 0, 0, 0) == counts(await run(api, file, *RUN, "--json"))
    assert [11, -11] == [await api.balance(account) for account in (alice, {"id": world})]


async def test_a_profile_holds_the_options_of_a_source(api: Api, tmp_path: Path) -> None:
    alice, bob = await accounts(api, 10**6, currency="EUR")
    profile = """separator = ";"\nencoding = "windows-1252"\nnumber_format = "1.234,56"\ncurrency = "EUR"\n
        [map]\nsource_account_id = "Von"\ndestination_account_id = "An"\namount = "Betrag"\ndescription = "Text"\n"""
    file = write(
        tmp_path / "mai.csv",
        f"Von;An;Betrag;Text;Saldo\r\n{alice['id']};{bob['id']};1.234,56;Gr\u00f6\u00dfe;x\r\n",
        "windows-1252",
    )
    arguments = ("--profile", str(write(tmp_path / "bank.toml", profile)), "--ignore", "Saldo")
    assert (1, 0, 0, 0) == counts(await run(api, file, *RUN, *arguments, "--json"))
    assert 123456 == await api.balance(bob)
    assert "Gr\u00f6\u00dfe" == (await api.get("/v1/transactions")).body[0]["description"]


async def test_an_import_logs_in_again_when_its_session_ends(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await accounts(api)
    file = write(tmp_path / "may.csv", table(between(alice, bob), *["1"] * 20))
    monkeypatch.setattr(batch_stream, "CHUNK", 5)
    real, calls = auth.check_again, iter(range(100))

    async def check_again(request: Any) -> None:
        if next(calls) == 2:
            raise Refused(errors.wrong_credentials())
        await real(request)

    monkeypatch.setattr(batch_stream, "check_again", check_again)
    tally = Tally()
    with prepare(file, Reading(), "a run") as prepared:
        await send(Service(url(api), "admin", ADMIN_PASSWORD), prepared, tally, lambda _: None)

    assert ({"made": 20, "replayed": 0, "refused": 0}, 0) == (tally.counts, tally.unconfirmed)
    assert 80 == await api.balance(alice)


async def test_wrong_usage_is_one_line(api: Api, tmp_path: Path) -> None:
    file = write(tmp_path / "may.csv", f"{HEADER}\n")
    wrong = await run(api, file, password="not the password")
    assert (1, "ledger: the service responds with 401 authentication_wrong_credentials: wrong credentials\n") == (
        wrong.status,
        wrong.error,
    )
    for arguments, said in (
        (("--number-format", "1"), "--number-format: write 1234.56 in the form of the file, such as 1.234,56"),
        (("--run", " "), "--run: must be a name of 1 to 200 printable characters"),
        (
            ("--format", "xlsx"),
            f"--format: must be one of {', '.join(FORMATS)}",
        ),
    ):
        ran = await run(api, file, *arguments)
        assert (2, f"ledger: {said}\n") == (ran.status, ran.error)
    none = await run(api, file, password=None)
    assert (2, "ledger: give --password-file, or set LEDGER_PASSWORD\n") == (none.status, none.error)


async def test_a_service_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    file = write(tmp_path / "may.csv", table(f"{NOBODY},{new_id()}", "1"))
    ran = await run_ledger("import", str(file), "--url", "http://127.0.0.1:1", *RUN, variables={"LEDGER_PASSWORD": "x"})
    assert (1, "0 made, 0 replayed, 0 refused\n") == (ran.status, ran.output)
    assert ran.error.startswith("ledger: http://127.0.0.1:1: ")
    assert ran.error.endswith("; run the command again to resume; completed transfers are not repeated\n")


async def test_another_server_is_no_ledger(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    file = write(tmp_path / "may.csv", table(f"{NOBODY},{new_id()}", "1"))
    with prepare(file, Reading(), "a run") as prepared, pytest.raises(ImportFailedError, match=r"401|404"):
        await send(Service(f"{url(api)}/x", "admin", ADMIN_PASSWORD), prepared, Tally(), lambda _: None)


async def test_many_lines_with_taken_references_are_compared_in_windows(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_client, "WINDOW", 3)
    alice, bob = await accounts(api)
    for number in range(5):
        await api.post("/v1/transactions/transfer", {**transfer_body(alice, bob, 1), "reference": f"r{number}"})
    rows = [f"{1 + number // 9},r{number}" for number in range(10)]
    file = write(tmp_path / "may.csv", table(between(alice, bob), *rows, header=f"{HEADER},reference"))
    tally, order = Tally(), []
    with prepare(file, Reading(), None) as prepared:
        await send(Service(url(api), "admin", ADMIN_PASSWORD), prepared, tally, lambda r: order.append(r.line))
    assert {"made": 5, "replayed": 5, "refused": 0} == tally.counts
    assert [*range(2, 12)] == order
