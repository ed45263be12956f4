"""Statements over HTTP: their balances, their lines with the other side, who may read them, and their formats."""

import csv
import io
from typing import Any

import pytest

from ledger.events.accounts import world_account_id
from tests.support.controls import Api, Response, transfer_body
from tests.support.statements import Picture, fetch_bytes, parse_camt, text_at

MARCH, APRIL = "2026-03-15", "2026-04-10T12:00:00Z"
Accounts = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture
async def accounts(api: Api) -> Accounts:
    """Return two accounts with labels, between which money moved with effective times that are not in order."""
    source = await api.new_account(balance_cents=1000, code="assets:bank:main", name="Main bank")
    destination = await api.new_account(code="income:sales", name="Sales, 東京")
    for cents, effective_at in ((20, APRIL), (300, None), (4, MARCH)):
        named = {} if effective_at is None else {"effective_at": effective_at}
        body = {**transfer_body(source, destination, cents), **named, "description": f"=sale of {cents}"}
        assert 200 == (await api.post("/v1/transactions/transfer", body)).status
    return source, destination


async def statement(api: Api, account: Any, **parameters: Any) -> Response:
    return await api.get(f"/v1/accounts/{account['id']}/statement", params=parameters)


def amounts(answer: Response) -> list[tuple[int, int]]:
    assert 200 == answer.status, answer.body
    return [(line["amount_cents"], line["balance_cents"]) for line in answer.body["lines"]]


def sums(answer: Response) -> tuple[int, ...]:
    names = ("opening_balance_cents", "credit_cents", "debit_cents", "closing_balance_cents")
    return tuple(answer.body[name] for name in names)


async def test_a_statement_has_its_balances_its_lines_and_its_sums(api: Api, accounts: Accounts) -> None:
    answer = await statement(api, accounts[0])

    assert [(1000, 1000), (-20, 980), (-300, 680), (-4, 676)] == amounts(answer)
    assert (0, 1000, 324, 676) == sums(answer)
    head = {name: answer.body[name] for name in ("code", "name", "currency", "digits", "by", "from_time", "credits")}
    assert head == {
        "code": "assets:bank:main",
        "name": "Main bank",
        "currency": "USD",
        "digits": 2,
        "by": "recorded",
        "from_time": None,
        "credits": 1,
    }
    by_code = await api.get("/v1/accounts/assets:bank:main/statement")
    assert answer.body["lines"] == by_code.body["lines"]


async def test_the_lines_name_the_other_side(api: Api, accounts: Accounts) -> None:
    opening, *others = (await statement(api, accounts[0])).body["lines"]

    assert [{"id": str(world_account_id("USD"))}] == opening["other_accounts"]
    other = {"id": accounts[1]["id"], "code": "income:sales", "name": "Sales, 東京"}
    assert all([other] == line["other_accounts"] and 1 == line["other_account_count"] for line in others)


async def test_a_period_begins_and_ends_with_the_balances_of_its_bounds(api: Api, accounts: Accounts) -> None:
    lines = (await statement(api, accounts[0])).body["lines"]
    bounds = {"from": lines[1]["created_at"], "to": lines[2]["created_at"]}
    answer = await statement(api, accounts[0], **bounds)

    assert [(-20, 980), (-300, 680)] == amounts(answer)
    assert (1000, 0, 320, 680) == sums(answer)
    empty = await statement(api, accounts[0], **{"from": "2020-01-01", "to": "2020-12-31"})
    assert ([], (0, 0, 0, 0)) == (empty.body["lines"], sums(empty))


async def test_by_effective_time_the_lines_are_in_that_order(api: Api, accounts: Accounts) -> None:
    answer = await statement(api, accounts[1], by="effective")
    assert [(4, 4), (20, 24), (300, 324)] == amounts(answer)
    assert (0, 324, 0, 324) == sums(answer)

    april = await statement(api, accounts[1], by="effective", **{"from": "2026-04-01", "to": "2026-04-30"})
    assert [(20, 24)] == amounts(april)
    assert (4, 20, 0, 24) == sums(april)
    day = {"effective_at": "2026-04-30"}
    known = (await api.get(f"/v1/accounts/{accounts[1]['id']}", params=day)).body["balance_cents"]
    assert known == april.body["closing_balance_cents"]


async def test_a_period_must_not_end_before_it_begins(api: Api, accounts: Accounts) -> None:
    answer = await statement(api, accounts[0], **{"from": "2026-04-01", "to": "2026-03-01"})

    assert (422, ["query from"]) == (answer.status, answer.parameters)
    assert ["query format"] == (await statement(api, accounts[0], format="docx")).parameters


async def test_several_other_sides_are_named_up_to_three(api: Api) -> None:
    main, *others = [await api.new_account(name=f"Account {number}") for number in range(6)]
    postings = [
        {"account_id": other["id"], "amount_cents": cents, "currency": "USD"}
        for other, cents in ((main, 10), (others[0], 40), (others[1], -20), (others[2], -20), (others[3], -9))
    ]
    postings.append({"account_id": others[4]["id"], "amount_cents": -1, "currency": "USD"})
    for other in others:
        limit = {"user_id": other["user_id"], "overdraft_limit_cents": 100}
        assert 200 == (await api.put(f"/v1/accounts/{other['id']}", limit)).status
    posted = await api.post("/v1/transactions", {"postings": postings})
    assert 200 == posted.status, posted.body

    (line,) = (await statement(api, main)).body["lines"]
    assert ["Account 2", "Account 3", "Account 4"] == [other["name"] for other in line["other_accounts"]]
    assert (4, None) == (line["other_account_count"], line["other_account_id"])
    text = (await statement(api, main, format="csv")).body
    assert "Account 2, Account 3, Account 4 and 1 more" in text


async def test_a_customer_reads_the_own_statement_without_the_names_of_others(api: Api) -> None:
    customer, other = await api.as_new_user("customer"), await api.as_new_user("customer")
    mine = await api.new_account(customer.user_id, 500, name="Mine")
    saved = await api.new_account(customer.user_id, name="Saved")
    theirs = await api.new_account(other.user_id, name="Theirs")
    for account in (saved, theirs):
        assert 200 == (await customer.transfer(mine, account, 5)).status

    lines = (await statement(customer, mine)).body["lines"]
    sides = [[{"id": saved["id"], "name": "Saved"}], [{"id": theirs["id"]}]]
    assert sides == [line["other_accounts"] for line in lines[1:]]
    assert 404 == (await statement(other, mine)).status
    auditor = await api.as_new_user("auditor")
    assert "Theirs" == (await statement(auditor, mine)).body["lines"][2]["other_accounts"][0]["name"]


async def test_after_a_change_of_owner_each_owner_has_a_statement_of_the_own_time(api: Api) -> None:
    old, new = await api.as_new_user("customer"), await api.as_new_user("customer")
    account, other = await api.new_account(old.user_id, 100), await api.new_account(balance_cents=500)
    body = {**transfer_body(other, account, 7), "effective_at": "2099-01-01"}
    assert 200 == (await api.post("/v1/transactions/transfer", body)).status
    assert 200 == (await api.put(f"/v1/accounts/{account['id']}", {"user_id": new.user_id})).status
    for cents, effective_at in ((20, None), (3, MARCH)):
        body = {**transfer_body(other, account, cents), **({"effective_at": effective_at} if effective_at else {})}
        assert 200 == (await api.post("/v1/transactions/transfer", body)).status

    assert [(100, 100), (7, 107)] == amounts(await statement(old, account))
    answer = await statement(new, account)
    assert ([(20, 127), (3, 130)], (107, 23, 0, 130)) == (amounts(answer), sums(answer))
    effective = await statement(new, account, by="effective", to="2100-01-01")
    assert ([(20, 130)], (110, 20, 0, 130)) == (amounts(effective), sums(effective))
    assert [(100, 100)] == amounts(await statement(old, account, by="effective"))
    assert 404 == (await statement(new, account, to="2020-01-01")).status


async def test_csv_has_a_row_for_each_line_and_both_balances(api: Api, accounts: Accounts) -> None:
    answer = await api.get(f"/v1/accounts/{accounts[0]['id']}/statement", headers={"Accept": "text/csv"})
    assert "text/csv; charset=utf-8" == answer.headers["Content-Type"]
    rows = list(csv.DictReader(io.StringIO(answer.body)))

    kinds = ["opening_balance", "opening", "transfer", "transfer", "transfer", "closing_balance"]
    assert kinds == [row["kind"] for row in rows]
    assert ["0.00", "10.00", "9.80", "6.80", "6.76", "6.76"] == [row["balance"] for row in rows]
    assert ["", "0.20", "3.00", "0.04"] == [row["debit"] for row in rows[1:5]]
    assert ("world", "income:sales") == (rows[1]["other_accounts"], rows[2]["other_accounts"].split(" · ")[1])
    assert "'=sale of 20" == rows[2]["description"]


async def test_camt_is_valid_against_its_schema(api: Api, accounts: Accounts) -> None:
    document = (await statement(api, accounts[0], format="camt", by="effective")).body
    found = parse_camt(document)

    entries = found.findall("{*}Ntry")
    sides = sorted((text_at(one, "Amt"), text_at(one, "CdtDbtInd")) for one in entries)
    assert [("0.04", "DBIT"), ("0.20", "DBIT"), ("10.00", "CRDT"), ("3.00", "DBIT")] == sides
    assert ["2026-03-15", "2026-04-10"] == [text_at(one, "BookgDt/DtTm")[:10] for one in entries[:2]]
    balances = [(text_at(one, "Tp/CdOrPrtry/Cd"), text_at(one, "Amt")) for one in found.findall("{*}Bal")]
    assert [("OPBD", "0.00"), ("CLBD", "6.76")] == balances
    assert "3.24" == text_at(found, "TxsSummry/TtlDbtNtries/Sum")


async def test_camt_is_refused_for_an_asset_that_it_cannot_name(api: Api) -> None:
    assert 201 == (await api.post("/v1/assets", {"code": "HOURS", "name": "Hours", "digits": 4})).status
    account = await api.new_account(currency="HOURS")

    answer = await statement(api, account, format="camt")
    assert (422, ["query format"]) == (answer.status, answer.parameters)
    assert 4 == (await statement(api, account)).body["digits"]


async def test_a_pdf_is_a_file_to_keep(api: Api, accounts: Accounts) -> None:
    path = f"/v1/accounts/{accounts[0]['id']}/statement"
    status, document, headers = await fetch_bytes(api, path, headers={"Accept": "application/pdf"})

    assert (200, "application/pdf", b"%PDF") == (status, headers["Content-Type"], document[:4])
    assert f'filename="statement-{accounts[0]["id"]}-' in headers["Content-Disposition"]
    (page,) = Picture(document).texts
    for text in ("Main bank", "Opening balance", "income:sales", "6.76", "Page 1 of 1"):
        assert text in page


async def test_a_long_statement_is_streamed(api: Api, accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await statement(api, accounts[0])
    monkeypatch.setattr("web.handlers.statements.MAX_SMALL", 0)
    monkeypatch.setattr("ledger.audit.statements.reading.CHUNK", 1)
    for by in ("recorded", "effective"):
        streamed = await statement(api, accounts[0], by=by)
        assert "chunked" == streamed.headers["Transfer-Encoding"]
        assert 4 == len(streamed.body["lines"])
        assert sums(whole) == sums(streamed)
    assert "closing_balance" in (await statement(api, accounts[0], format="csv")).body


async def test_a_pdf_has_a_limited_number_of_lines(
    api: Api, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.audit.statements.writers.MAX_PDF_LINES", 3)
    answer = await statement(api, accounts[0], format="pdf")

    assert (422, ["query format"]) == (answer.status, answer.parameters)
    assert "at most 3" in answer.body["errors"][0]["message"]
