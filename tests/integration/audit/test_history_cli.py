"""`ledger audit` at a terminal: tables, JSON, and exit statuses."""

from typing import Any

import pytest

from ledger.money import MAX_CENTS
from ledger.settings import Settings
from tests.support.controls import NOBODY, Api
from tests.support.processes import Ran, run_ledger

SUMS = ("debit", "credit", "sum")


class Auditor:
    """Runs `ledger audit` on the test's database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def run(self, *arguments: str) -> Ran:
        return await run_ledger("audit", *arguments, variables=self._settings.environment())

    async def run_all(self, *questions: tuple[str, ...]) -> list[Ran]:
        return [await self.run(*question) for question in questions]


@pytest.fixture
def auditor(settings: Settings) -> Auditor:
    return Auditor(settings)


@pytest.fixture
async def account(api: Api) -> dict[str, Any]:
    """Return an account that was opened with 100 and paid 30."""
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    assert 200 == (await api.transfer(source, destination, 30)).status
    return source


async def test_json_is_that_of_the_api(api: Api, auditor: Auditor, account: dict[str, Any]) -> None:
    """Each entry, event or step is one line; a balance and the trial balance are one document each."""
    path = f"/v1/accounts/{account['id']}"
    lines, events, every, balance, trial = await auditor.run_all(
        ("history", account["id"], "--json"),
        ("events", "--stream", account["id"], "--limit", "2", "--json"),
        ("events", "--topic", "AccountDebited", "--json"),
        ("balance", account["id"], "--at-version", "2", "--json"),
        ("trial-balance", "--json"),
    )
    assert [0] * 5 == [said.status for said in (lines, events, every, balance, trial)]
    assert (await api.get(f"{path}/entries")).body == lines.documents
    assert (await api.get(f"{path}/events?limit=2")).body == events.documents
    assert (await api.get("/v1/events?topic=AccountDebited")).body == every.documents
    assert [(await api.get(f"{path}?at_version=2")).body] == balance.documents
    assert [(await api.get("/v1/ledger/trial-balance")).body] == trial.documents


async def test_a_replay_shows_the_account_after_each_event(api: Api, auditor: Auditor, account: dict[str, Any]) -> None:
    said, table = await auditor.run_all(("replay", account["id"], "--json"), ("replay", account["id"]))
    events = (await api.get(f"/v1/accounts/{account['id']}/events")).body
    assert 0 == said.status == table.status
    assert [event["topic"] for event in events] == [step["topic"] for step in said.documents]
    assert [event["recorded_at"] for event in events] == [step["recorded_at"] for step in said.documents]
    assert [0, 100, 70] == [step["balance_cents"] for step in said.documents]
    assert {(account["user_id"], "open")} == {(step["user_id"], step["status"]) for step in said.documents}
    heading, *rows = [line.split() for line in table.output.splitlines()]
    assert ["version", "position", "recorded", "at", "topic", "balance", "held", "user", "id", "status"] == heading
    assert [["1", "0.00"], ["2", "1.00"], ["3", "0.70"]] == [[row[0], row[4]] for row in rows]
    assert {("USD", "0.00", "USD")} == {tuple(row[5:8]) for row in rows}


async def test_tables_show_whole_ids(api: Api, auditor: Auditor, account: dict[str, Any]) -> None:
    (line, _) = (await api.get(f"/v1/accounts/{account['id']}/entries")).body
    history, balance, trial, events = await auditor.run_all(
        ("history", account["id"]),
        ("balance", account["id"], "--at", line["created_at"]),
        ("trial-balance", "--at-position", str(line["position"])),
        ("events", "--stream", account["id"], "--after", str(line["position"] - 1)),
    )
    row = history.output.splitlines()[1].split()
    amounts = ["-0.30", "USD", "0.70", "USD"]
    assert [
        *(str(line["version"]), line["created_at"], *amounts),
        *(line["other_account_id"], line["transaction_id"]),
    ] == row
    assert [account["id"], account["user_id"], "0.70", "USD"] == balance.output.splitlines()[1].split()[:4]
    assert ["USD", "3", "1.00", "USD"] == trial.output.splitlines()[1].split()[:4]
    assert [str(line["position"]), "AccountDebited"] == [events.output.splitlines()[1].split()[at] for at in (0, 4)]


async def test_sums_of_any_size_can_be_read(api: Api, auditor: Auditor) -> None:
    """A JSON reader with 64-bit floating-point numbers would round what is beyond 2^53 - 1 (RFC 7493)."""
    for _ in range(2):
        account = await api.new_account()
        await api.patch(f"/v1/accounts/{account['id']}", {"overdraft_limit_cents": MAX_CENTS})
        assert 200 == (await api.transfer(account, await api.new_account(), MAX_CENTS)).status
    trial = (await api.get("/v1/ledger/trial-balance")).body
    (dollars,) = trial["currencies"]
    exact = str(2 * MAX_CENTS)
    assert (True, None, None, 0) == (trial["balanced"], *(dollars[f"{name}_cents"] for name in SUMS))
    assert (exact, exact, "0") == tuple(dollars[f"{name}_cents_text"] for name in SUMS)
    said, table = await auditor.run_all(("trial-balance", "--json"), ("trial-balance",))
    assert [trial] == said.documents
    assert ["USD", "5", *["180143985094819.82", "USD"] * 2, "0.00", "USD"] == table.output.splitlines()[1].split()


@pytest.mark.parametrize(
    ("currency", "shown"), [("JPY", "100015579 JPY"), ("KWD", "100015.579 KWD"), ("EUR", "1000155.79 EUR")]
)
async def test_amounts_have_the_decimal_places_of_their_currency(
    api: Api, auditor: Auditor, currency: str, shown: str
) -> None:
    account = await api.new_account(balance_cents=100_015_579, currency=currency)
    questions = (("balance", account["id"]), ("history", account["id"]), ("replay", account["id"]), ("trial-balance",))
    assert [True] * 4 == [shown in said.output for said in await auditor.run_all(*questions)]


@pytest.mark.parametrize(
    ("question", "status", "word"),
    [
        (("history", NOBODY), 1, "no such account"),
        (("replay", NOBODY), 1, "no such account"),
        (("balance", NOBODY), 1, "no such account"),
        (("balance", "x"), 1, "no such account: x"),
        (("balance", "x y"), 2, "must be a UUID"),
        (("balance", NOBODY, "--at", "noon"), 2, "--at: must be a date, such as"),
        (("balance", NOBODY, "--at-version", "1", "--at-position", "1"), 2, "give one of"),
        (("trial-balance", "--at", "2026-05-01T12:00:00Z", "--at-position", "1"), 2, "give one of"),
        (("events", "--topic", "x"), 2, "--topic: must be one of"),
    ],
)
async def test_a_question_without_an_answer_is_one_line_and_a_status(
    auditor: Auditor, question: tuple[str, ...], status: int, word: str
) -> None:
    said = await auditor.run(*question)
    assert (status, "") == (said.status, said.output)
    (line,) = said.error.splitlines()
    assert word in line


async def test_before_it_existed_an_account_has_no_balance(auditor: Auditor, account: dict[str, Any]) -> None:
    said = await auditor.run("balance", account["id"], "--at", "2000-01-01T00:00:00Z")
    assert 1 == said.status
    assert "no such account then" in said.error


async def test_books_that_do_not_balance_are_a_failure(
    auditor: Auditor, account: dict[str, Any], connection: Any
) -> None:
    await connection.execute("SET session_replication_role = replica")  # no trigger fires
    await connection.execute(
        """UPDATE stored_events
           SET state = convert_to(jsonb_set(event_json(topic, state), '{balance_cents}', '99')::text, 'UTF8')
           WHERE topic = 'AccountCredited' AND event_json(topic, state) -> 'balance_cents' = '100'"""
    )
    said = await auditor.run("trial-balance", "--at-position", str(await connection.fetchval(OPENED, account["id"])))
    assert 1 == said.status
    assert "the books do not balance" in said.error
    assert "-0.01 USD" in said.output


OPENED = "SELECT max(position) FROM entries WHERE account_id = $1::text::uuid AND balance_cents = 99"


async def test_a_database_without_a_ledger_is_one_line(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"ledger_schema": "elsewhere"})
    said = await Auditor(elsewhere).run("trial-balance")
    assert 1 == said.status
    assert "run `ledger migrate`" in said.error.splitlines()[-1]
