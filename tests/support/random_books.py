"""Random histories of books over HTTP, and the naive sums that they must agree with."""

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, TypeAlias

from hypothesis import strategies as st

from tests.support.controls import Api, Response, new_id, transfer_body
from tests.support.dry_runs import Compared

CREDIT = 10**9
BATCH = "/v1/transactions/batch"
LINES = {"Content-Type": "application/jsonl"}
INSTANT = timedelta(microseconds=1)

# As clients write them: days, and times of any zone; some are yet to come.
days = st.dates(date(2025, 12, 20), date(2026, 3, 10)) | st.sampled_from([date(2026, 1, 31), date(2999, 12, 31)])
effective_times = days.flatmap(
    lambda day: st.sampled_from(
        [f"{day}", f"{day}T00:00:00Z", f"{day}T23:59:59.999999Z", f"{day}T01:30:00+02:00", f"{day}T22:00:00-05:00"]
    )
)
accounts = st.integers(0, 2)


class Move(NamedTuple):
    """A movement of money: of which kind, how much, between which accounts, and when it takes effect."""

    kind: str
    cents: int
    source: int
    distance: int
    effective_at: str | None


class Close(NamedTuple):
    """The closing of all days through one; None reopens the last period."""

    through: date | None


KINDS = ("transfer", "transfer", "entry", "batch", "lines", "hold", "capture", "reverse", "reverse", "amend")
moves = st.builds(
    Move, st.sampled_from(KINDS), st.integers(2, 500), accounts, st.integers(1, 2), st.none() | effective_times
)
closings = st.builds(Close, st.none() | st.dates(date(2025, 12, 25), date(2026, 2, 28)))
Step: TypeAlias = Move | Close
histories = st.lists(moves | moves | closings, min_size=4, max_size=18)


class Entry(NamedTuple):
    """What a transaction adds to an account, when it counts, and the position after which it is known."""

    account_id: str
    cents: int
    counts_at: datetime
    position: int


class Tried(NamedTuple):
    """A request, the position before it, and what its response says."""

    position: int
    method: str
    path: str
    options: dict[str, Any]
    described: dict[str, Any]


class RandomBooks:
    """Three accounts, between which the steps of a history move money, and what a plain sum makes of it."""

    def __init__(self, api: Api, account_ids: list[str], position: int) -> None:
        self.api, self.account_ids, self.position = api, account_ids, position
        self.entries: list[Entry] = []
        self.closed: dict[date, dict[str, Any]] = {}  # the responses to closings
        self.tried: list[Tried] = []
        self._moved: list[dict[str, Any]] = []
        self._reversed: dict[str, int] = {}
        self._holds: list[tuple[str, int, int]] = []
        self._compared = Compared()

    @classmethod
    async def open(cls, api: Api) -> "RandomBooks":
        """Open the accounts."""
        opened = [await api.new_account(overdraft_limit_cents=CREDIT) for _ in range(3)]
        position = (await api.get("/v1/ledger/trial-balance")).body["position"]
        return cls(api, [account["id"] for account in opened], position)

    async def send(self, method: str, path: str, **options: Any) -> Response:
        """Send a request after a dry run of it, which must have the same response."""
        tried = self._describe(await self.try_out(method, path, options))
        answer = await self.api.call(method, path, **options)
        assert self._describe(answer) == tried, (path, options, answer)
        self.tried.append(Tried(self.position, method, path, options, tried))
        self.position = int(answer.headers.get("Ledger-Position", self.position))
        return answer

    async def try_out(self, method: str, path: str, options: dict[str, Any], **params: str) -> Response:
        """Return the response to a dry run."""
        return await self.api.call(method, path, params={"dry_run": "true", **params}, **options)

    async def check_tried(self) -> None:
        """Check that a dry run on the state before each request still has the response that the request had."""
        for tried in self.tried:
            answer = await self.try_out(tried.method, tried.path, tried.options, at_position=str(tried.position))
            assert tried.described == self._describe(answer), (tried, answer)

    def _describe(self, answer: Response) -> dict[str, Any]:
        body = answer.body
        if isinstance(body, str):
            body = [json.loads(line) for line in body.splitlines()]
        return self._compared.describe(answer.status, body, answer.headers)

    # Steps.

    async def execute(self, step: Step) -> None:
        """Execute a step, and add what it must have changed to the sums."""
        match step:
            case Close():
                await (self._reopen() if step.through is None else self._close(step.through))
            case Move():
                await getattr(self, f"_{step.kind}")(step)

    @property
    def through(self) -> date | None:
        """Return the last closed day."""
        return max(self.closed, default=None)

    async def _close(self, through: date) -> None:
        answer = await self.send("POST", "/v1/periods/close", json={"through": str(through)})
        if self.through is not None and through <= self.through:
            assert ["period_closed"] == answer.codes
            return
        assert 200 == answer.status, answer
        self.closed[through] = answer.body

    async def _reopen(self) -> None:
        answer = await self.send("POST", "/v1/periods/reopen", json={})
        if self.through is None:
            assert 422 == answer.status, answer
            return
        assert (200, str(self.through)) == (answer.status, answer.body["through"])
        del self.closed[self.through]

    def _is_closed(self, effective_at: str | None) -> bool:
        return effective_at is not None and self.through is not None and parse(effective_at).date() <= self.through

    def _body(self, move: Move, cents: int | None = None) -> dict[str, Any]:
        sides = self.account_ids[move.source], self.account_ids[(move.source + move.distance) % 3]
        dated = {} if move.effective_at is None else {"effective_at": move.effective_at}
        return {**transfer_body(*sides, cents or move.cents), "id": str(new_id()), **dated}

    def _learn(self, answer: Response, body: dict[str, Any], effective_at: str | None, *, cents: int = 0) -> None:
        """Add the entries of a transfer or a capture."""
        amount = cents or body["amount_cents"]
        for side, sign in (("source", -1), ("destination", 1)):
            self._add(body[f"{side}_account_id"], sign * amount, effective_at, answer.body["created_at"])

    def _add(self, account_id: str, cents: int, effective_at: str | None, recorded_at: str) -> None:
        self.entries.append(Entry(account_id, cents, parse(effective_at or recorded_at), self.position))

    async def _transfer(self, move: Move) -> None:
        body = self._body(move)
        answer = await self.send("POST", "/v1/transactions/transfer", json=body)
        if self._expect(answer, move.effective_at):
            self._learn(answer, body, move.effective_at)
            self._moved.append(body)

    def _expect(self, answer: Response, effective_at: str | None) -> bool:
        """Return whether a request must have succeeded, after checking that it did, or was refused for its time."""
        if self._is_closed(effective_at):
            assert (409, ["period_closed"]) == (answer.status, answer.codes), answer
            return False
        assert 200 == answer.status, answer
        return True

    async def _entry(self, move: Move) -> None:
        body = self._body(move)
        source, destination = body.pop("source_account_id"), body.pop("destination_account_id")
        legs = ((source, -body.pop("amount_cents")), (destination, 1), (destination, move.cents - 1))
        body["postings"] = [{"account_id": key, "amount_cents": cents} for key, cents in legs]
        answer = await self.send("POST", "/v1/transactions", json=body)
        if self._expect(answer, move.effective_at):
            for key, cents in legs:
                self._add(key, cents, move.effective_at, answer.body["created_at"])

    def _items(self, move: Move) -> list[dict[str, Any]]:
        plain = move._replace(effective_at=None)
        return [self._body(plain, 3), self._body(move), self._body(plain, 4)]

    async def _batch(self, move: Move) -> None:
        items = self._items(move)
        answer = await self.send("POST", BATCH, json={"atomic": True, "items": items})
        if self._expect(answer, move.effective_at):
            self._learn_results(items, answer.body["results"])

    async def _lines(self, move: Move) -> None:
        items = self._items(move)
        data = "".join(f"{json.dumps(item)}\n" for item in items)
        answer = await self.send("POST", BATCH, data=data, headers=LINES)
        results = [json.loads(line) for line in answer.body.splitlines()]
        assert [200, 409 if self._is_closed(move.effective_at) else 200, 200] == [one["status"] for one in results]
        self.position = (await self.api.get("/v1/ledger/trial-balance")).body["position"]
        self._learn_results(items, results)

    def _learn_results(self, items: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
        for item, result in zip(items, results, strict=True):
            if result["status"] == 200:
                one = Response(200, result["transaction"], {})
                self._learn(one, item, item.get("effective_at"))

    async def _hold(self, move: Move) -> None:
        body = {**self._body(move), "amount_cents": 100 + move.cents}
        answer = await self.send("POST", "/v1/transactions/hold", json=body)
        if self._expect(answer, move.effective_at):
            self._holds.append((body["id"], move.source, move.distance))

    async def _capture(self, move: Move) -> None:
        if not self._holds:
            return await self._hold(move)
        hold_id, source, distance = self._holds.pop()
        dated = {} if move.effective_at is None else {"effective_at": move.effective_at}
        answer = await self.send(
            "POST", f"/v1/transactions/{hold_id}/capture", json={"amount_cents": 1 + move.cents // 8, **dated}
        )
        if self._expect(answer, move.effective_at):
            body = self._body(move._replace(source=source, distance=distance))
            settled = Response(200, {"created_at": answer.body["settled_at"]}, {})
            self._learn(settled, body, move.effective_at, cents=1 + move.cents // 8)
        return None

    async def _reverse(self, move: Move) -> None:
        """Reverse a part of the last transfer; in a closed period, that takes effect on the first open day."""
        if not self._moved:
            return await self._transfer(move)
        moved = self._moved[-1]
        dated = {} if move.effective_at is None else {"effective_at": move.effective_at}
        path = f"/v1/transactions/{moved['id']}/reverse"
        answer = await self.send("POST", path, json={"id": str(new_id()), "amount_cents": 1, **dated})
        left = moved["amount_cents"] - self._reversed.get(moved["id"], 0)
        if not left:
            assert ["transaction_already_reversed"] == answer.codes, answer
            return None
        assert 200 == answer.status, answer
        self._reversed[moved["id"]] = self._reversed.get(moved["id"], 0) + 1
        counts_at = move.effective_at
        if self._is_closed(counts_at):
            assert self.through is not None
            counts_at = f"{self.through + timedelta(days=1)}"
            assert f"{counts_at}T00:00:00.000000Z" == answer.body["effective_at"]
        back = {
            "source_account_id": moved["destination_account_id"],
            "destination_account_id": moved["source_account_id"],
            "amount_cents": 1,
        }
        self._learn(answer, back, counts_at)
        return None

    async def _amend(self, move: Move) -> None:
        if not self._moved:
            return await self._transfer(move)
        path = f"/v1/transactions/{self._moved[-1]['id']}"
        answer = await self.send("PATCH", path, json={"description": f"amended {move.cents}"})
        assert 200 == answer.status, answer
        return None

    # Sums.

    def times(self) -> list[datetime]:
        """Return when entries count, the instants before, and the ends of these days."""
        times = {entry.counts_at for entry in self.entries}
        ends = {datetime.combine(moment.date(), time.max, UTC) for moment in times}
        return sorted(times | ends | {moment - INSTANT for moment in times})

    def sum_up(self, moment: datetime, position: int) -> dict[str, int]:
        """Return the naive sums of the accounts as of an effective time, as they were known at a position."""
        return {
            account_id: sum(
                entry.cents
                for entry in self.entries
                if entry.account_id == account_id and entry.counts_at <= moment and entry.position <= position
            )
            for account_id in self.account_ids
        }

    def statement(self, account_id: str) -> list[tuple[int, int]]:
        """Return the amounts of an account in the order in which they count, with the balance after each."""
        balance, lines = 0, []
        for entry in sorted(self.entries, key=lambda entry: entry.counts_at):  # stable: others as they were recorded
            if entry.account_id == account_id:
                balance += entry.cents
                lines.append((entry.cents, balance))
        return lines


def parse(text: str) -> datetime:
    """Return an effective time; a day stands for its beginning."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
