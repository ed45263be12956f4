"""`ledger import` sends files of transfers to a running service, and repeats none."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger import errors
from ledger.cli.import_client import ImportFailedError, Result, Service, measure, read, send
from ledger.errors import Refused
from tests.support.controls import ADMIN_PASSWORD, NOBODY, Api, new_id, transfer_body
from tests.support.processes import Ran, ledger, run_ledger, until
from web import auth
from web.handlers import batch_stream

HEADER = "source_account_id,destination_account_id,amount_cents,reference,metadata.flat\n"


def url(api: Api) -> str:
    return str(api.client.make_url("")).rstrip("/")


async def run(api: Api, file: Path, *arguments: str, password: str | None = ADMIN_PASSWORD) -> Ran:
    given = {} if password is None else {"LEDGER_PASSWORD": password}
    return await run_ledger("import", str(file), "--url", url(api), *arguments, variables=given)


def counts(ran: Ran) -> tuple[int, ...]:
    return tuple(ran.document[name] for name in ("made", "replayed", "refused"))


async def accounts(api: Api, balance_cents: int = 100) -> tuple[dict[str, Any], dict[str, Any]]:
    return await api.new_account(balance_cents=balance_cents), await api.new_account()


def a_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def test_a_csv_file_is_imported_once_however_often_it_is_sent(api: Api, tmp_path: Path) -> None:
    """Lesson 4."""
    alice, bob = await accounts(api)
    pair = f"{alice['id']},{bob['id']}"
    file = a_file(tmp_path / "may.csv", f'{HEADER}{pair},1,"rent, May",3\n{pair},2,,\n')

    first, again = [await run(api, file, "--json") for _ in range(2)]

    assert ([0, (2, 0, 0)], [0, (0, 2, 0)]) == ([first.status, counts(first)], [again.status, counts(again)])
    assert 97 == await api.balance(alice)
    (entry, other) = (await api.get(f"/v1/accounts/{bob['id']}/entries")).body
    assert (None, "rent, May") == (entry["reference"], other["reference"])
    transaction = (await api.get(f"/v1/transactions/{other['transaction_id']}")).body
    assert {"flat": "3"} == transaction["metadata"]


async def test_refusals_are_named_by_line_and_the_rest_is_transferred(api: Api, tmp_path: Path) -> None:
    """Lesson 5."""
    alice, bob = await accounts(api)
    good = json.dumps({**transfer_body(alice, bob, 1), "id": str(new_id())})
    bad = [json.dumps(transfer_body(alice, NOBODY, 1)), json.dumps(transfer_body(alice, bob, 1.5)), "{"]
    file = a_file(tmp_path / "may.jsonl", "\n".join([good, "", *bad, good]))

    said = await run(api, file)

    assert (1, "1 made, 1 replayed, 3 refused\n") == (said.status, said.output)
    assert [
        f"{file}:3: transfer_destination_account_not_found: destination account not found: {NOBODY}",
        f"{file}:4: validation_error: /amount_cents must be an integer, without quotes, fraction or exponent",
        f"{file}:5: malformed_request: the request is malformed",
    ] == said.error.splitlines()


async def test_a_killed_import_resumes_and_doubles_nothing(api: Api, tmp_path: Path) -> None:
    """Lesson 4."""
    alice, bob = await accounts(api, 5000)
    file = a_file(tmp_path / "may.jsonl", (json.dumps(transfer_body(alice, bob, 1)) + "\n") * 5000)

    async def has_begun() -> bool:
        return await api.balance(alice) < 5000

    with ledger(tmp_path / "killed", "import", str(file), "--url", url(api), LEDGER_PASSWORD=ADMIN_PASSWORD):
        await until(has_begun)

    again = await run(api, file, "--json")

    made, replayed, refused = counts(again)
    assert (0, 5000, 0) == (again.status, made + replayed, refused)
    assert [0, 5000] == [await api.balance(account) for account in (alice, bob)]


async def test_an_import_logs_in_again_when_its_session_ends(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await accounts(api)
    file = a_file(tmp_path / "may.jsonl", (json.dumps(transfer_body(alice, bob, 1)) + "\n") * 20)
    monkeypatch.setattr(batch_stream, "CHUNK", 5)
    real, calls = auth.check_again, iter(range(100))

    async def check_again(request: Any) -> None:
        if next(calls) == 2:
            raise Refused(errors.wrong_credentials())
        await real(request)

    monkeypatch.setattr(batch_stream, "check_again", check_again)
    results: list[Result] = []

    await send(Service(url(api), "admin", ADMIN_PASSWORD), lambda: read(file, "digest"), results.append)

    assert [(number, 200, False) for number in range(1, 21)] == [result[:3] for result in results]
    assert 80 == await api.balance(alice)


async def test_a_failed_login_is_reported(api: Api, tmp_path: Path) -> None:
    file = a_file(tmp_path / "may.jsonl", "{}")

    wrong, none = await run(api, file, password="not the password"), await run(api, file, password=None)

    assert (1, 2) == (wrong.status, none.status)
    assert "ledger: the service responds with 401 authentication_wrong_credentials" in wrong.error
    assert "ledger: give --password-file, or set LEDGER_PASSWORD\n" == none.error


async def test_a_service_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    file = a_file(tmp_path / "may.jsonl", "{}")

    with pytest.raises(ImportFailedError, match=r"^http://127\.0\.0\.1:1: "):
        await send(Service("http://127.0.0.1:1", "admin", "secret"), lambda: read(file, "digest"), print)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("source_account_id,amount_cents\n", ":1: no column destination_account_id"),
        (HEADER.replace("reference", "refrence"), ":1: unknown column 'refrence'"),
        (HEADER.replace("reference", "amount_cents"), ":1: duplicate column"),
        (HEADER + "a,b,1,,\na,b\n", ":3: 2 columns instead of 5"),
        (HEADER + 'a,b,1,"', ":2: unexpected end of data"),
        ("", ":1: no column source_account_id"),
    ],
)
def test_errors_in_a_file_are_named_by_line(tmp_path: Path, text: str, complaint: str) -> None:
    file = a_file(tmp_path / "may.csv", text)

    with pytest.raises(ImportFailedError) as refused:
        list(read(file, "digest"))

    assert f"{file}{complaint}" == str(refused.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match=r"must end in \.csv, \.jsonl or \.ndjson"):
        list(read(a_file(tmp_path / "may.xlsx", ""), "digest"))


def test_the_service_refuses_amounts_that_are_not_integers(tmp_path: Path) -> None:
    """Lesson 33."""
    rows = "".join(f"a,b,{amount},,\n" for amount in ("1.0", "1e3", "", "\u0661", "7"))

    found = [json.loads(record.body) for record in read(a_file(tmp_path / "may.csv", HEADER + rows), "digest")]

    assert ["1.0", "1e3", None, "\u0661", 7] == [body.get("amount_cents") for body in found]


def test_the_id_of_each_line_follows_from_the_file(tmp_path: Path) -> None:
    file = a_file(tmp_path / "may.jsonl", '{"amount_cents":1}\n' * 3)
    ids = [[json.loads(record.body)["id"] for record in read(file, measure(file).digest)] for _ in range(2)]
    file.write_text('{"amount_cents":1}\n' * 4)

    edited = [json.loads(record.body)["id"] for record in read(file, measure(file).digest)]

    assert ids[0] == ids[1]
    assert 7 == len({*ids[0], *edited})
