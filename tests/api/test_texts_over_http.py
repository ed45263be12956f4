"""Texts that look the same are equal, and deceptive texts are refused. Lesson 64."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from ledger.audit.verify import Sources, verify
from ledger.cli.seed import ensure_first_admin
from ledger.commands.command import Credential, Decision, States
from ledger.commands.users import CreateUser
from ledger.environment.variables import SettingsError
from ledger.events.users import NameClaimed, UserCreated, email_streams, username_stream
from ledger.runtime import Runtime, open_runtime
from ledger.settings import Settings
from ledger.values.ids import new_id
from ledger.write.group import Origin
from tests.support.controls import PASSWORD, Api, Response, transfer_body, user_body

Serve = Callable[[Settings], Awaitable[Api]]

CYRILLIC, LATIN = "\u0430\u0440\u0435", "ape"
COMPOSED, DECOMPOSED = "caf\u00e9 7", "cafe\u0301 7"
HIDDEN = ["\u200b", "\u200d", "\u00ad", "\ufeff", "\u202e", "\ufe0f", "\u2028", "\ue000", "\u0378", "\U000e0061"]


def summary(answer: Response) -> tuple[int, list[str], list[str]]:
    return answer.status, answer.codes, answer.pointers


# Names.


@pytest.mark.parametrize("name", ["\u0430lice", "al\u200dice", "b\U0001f600b", "a  b"])
async def test_a_deceptive_name_is_refused_everywhere(api: Api, name: str) -> None:
    user = await api.new_user()
    path, refused = f"/v1/users/{user['id']}", (422, ["validation_error"], ["/username"])

    assert refused == summary(await api.post("/v1/users", user_body(username=name)))
    assert refused == summary(await api.put(path, {**user, "username": name}))
    assert refused == summary(await api.call("PATCH", path, {"username": name}))


@pytest.mark.parametrize("address", ["\u0430lice@example.com", "alice@\u0435xample.com", "al\u200bice@example.com"])
async def test_a_deceptive_address_is_refused_everywhere(api: Api, address: str) -> None:
    user = await api.new_user()
    path, refused = f"/v1/users/{user['id']}", (422, ["validation_error"], ["/email"])

    assert refused == summary(await api.post("/v1/users", user_body(email=address)))
    assert refused == summary(await api.put(path, {**user, "email": address}))


@pytest.mark.parametrize(("first", "second"), [(CYRILLIC, LATIN), (LATIN, CYRILLIC)])
async def test_a_lookalike_of_another_name_is_taken(api: Api, first: str, second: str) -> None:
    other = await api.new_user()
    await api.new_user(username=first, email=f"a@{first}.com")
    taken = (409, ["user_already_exists"])

    assert (*taken, ["/username"]) == summary(await api.post("/v1/users", user_body(username=second)))
    assert (*taken, ["/email"]) == summary(await api.post("/v1/users", user_body(email=f"a@{second}.com")))
    assert (*taken, ["/username"]) == summary(await api.put(f"/v1/users/{other['id']}", {**other, "username": second}))


async def test_only_one_of_racing_lookalikes_is_created(serve: Serve, settings: Settings) -> None:
    """The requests reach two workers."""
    workers = [await serve(settings), await serve(settings)]

    answers = await asyncio.gather(
        *(
            workers[number % 2].post("/v1/users", user_body(username=(CYRILLIC, LATIN)[number // 2]))
            for number in range(4)
        )
    )

    assert [201, 409, 409, 409] == sorted(answer.status for answer in answers)


async def test_a_lookalike_is_free_once_the_name_is_released(api: Api) -> None:
    user = await api.new_user(username=CYRILLIC)
    await api.put(f"/v1/users/{user['id']}", {**user, "username": "somebody"})
    other = await api.new_user(username=LATIN)
    await api.delete(f"/v1/users/{other['id']}")

    assert CYRILLIC == (await api.new_user(username=CYRILLIC))["username"]


async def test_a_login_with_a_lookalike_has_wrong_credentials(api: Api) -> None:
    await api.new_user(username=CYRILLIC)

    answer = await api.nobody.post("/v1/auth/login", {"username": LATIN, "password": PASSWORD})

    assert (401, ["authentication_wrong_credentials"]) == (answer.status, answer.codes)
    assert (await api.logged_in(CYRILLIC)).token is not None


async def test_a_name_is_returned_as_stored(api: Api) -> None:
    user = await api.new_user(username="\uff5aoe\u0308", email="zoe\u0308@example.com")

    assert ("zo\u00eb", "zo\u00eb@example.com") == (user["username"], user["email"])
    assert user == (await api.get(f"/v1/users/{user['id']}")).body
    assert [user] == (await api.get("/v1/users", params={"username": "ZOE\u0308"})).body


class CreateOldUser(CreateUser, frozen=True):
    """Create a user like versions without rules for names and without lookalikes."""

    def streams(self) -> Any:
        return (self.user_id, username_stream(self.username), email_streams(self.email)[0])

    def decide(self, states: States) -> Decision:
        del states
        claimed = NameClaimed(self.user_id)
        created = UserCreated(self.username, self.email, self.active, self.roles, self.credential.id)
        streams = (username_stream(self.username), email_streams(self.email)[0])
        return Decision(
            [(self.user_id, created), *((stream, claimed) for stream in streams)],
            {"id": str(self.user_id)},
            self.credential,
        )


async def create_old_user(api: Api, runtime: Runtime, username: str) -> dict[str, Any]:
    user_id = new_id()
    credential = Credential(new_id(), user_id, await runtime.passwords.hash(PASSWORD))
    email = f"{user_id}@example.com"
    command = CreateOldUser(
        user_id=user_id, username=username, email=email, active=True, roles=("customer",), credential=credential
    )
    await runtime.committer.submit(command, Origin(new_id()))
    return dict((await api.get(f"/v1/users/{user_id}")).body)


@pytest.mark.parametrize("name", ["\u0430lice", "al\u200dice", "b\U0001f600b", CYRILLIC])
async def test_an_old_user_keeps_an_invalid_name(api: Api, runtime: Runtime, name: str) -> None:
    user = await create_old_user(api, runtime, name)

    assert (await api.logged_in(name)).token is not None
    assert [user] == (await api.get("/v1/users", params={"username": name})).body
    changed = await api.put(f"/v1/users/{user['id']}", {**user, "roles": "guest"})
    assert (200, name, "guest") == (changed.status, changed.body["username"], changed.body["roles"])
    assert 200 == (await api.delete(f"/v1/users/{user['id']}")).status


async def test_the_lookalike_of_an_old_name_is_reserved_with_the_next_change(api: Api, runtime: Runtime) -> None:
    user = await create_old_user(api, runtime, CYRILLIC)
    await api.put(f"/v1/users/{user['id']}", user)

    assert 409 == (await api.post("/v1/users", user_body(username=LATIN))).status


async def test_the_name_of_the_first_admin_must_be_valid(settings: Settings) -> None:
    """Otherwise the service would start without an admin."""
    async with open_runtime(settings.model_copy(update={"ledger_admin_username": "\u0430dmin"})) as opened:
        with pytest.raises(SettingsError, match=r"^LEDGER_ADMIN_USERNAME: must not mix"):
            await ensure_first_admin(opened)


class SilentProgress:
    """Progress that is not shown."""

    def begin(self, what: str, rows: int) -> None:
        """Do nothing."""

    def advance(self, rows: int) -> None:
        """Do nothing."""

    def note(self, sentence: str) -> None:
        """Do nothing."""


async def test_the_books_verify_with_names_in_the_streams_of_lookalikes(
    api: Api, runtime: Runtime, connection: "asyncpg.Connection[Any]"
) -> None:
    user, gone = await api.new_user(username=CYRILLIC), await api.new_user(username="\u0441\u0430\u0440")
    await api.put(f"/v1/users/{user['id']}", {**user, "username": LATIN})
    await api.delete(f"/v1/users/{gone['id']}")
    await create_old_user(api, runtime, "al\u200dice")

    sources = Sources(connection, runtime.pool, runtime.redis)

    assert [] == [finding async for finding in verify(sources, SilentProgress())]
    assert [] == [finding async for finding in verify(sources, SilentProgress(), fast=True)]


# References.


@pytest.mark.parametrize(
    ("first", "second"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), ("INV\u00a017", "INV 17")]
)
async def test_an_invoice_is_paid_once_for_any_spelling_of_its_reference(api: Api, first: str, second: str) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    path, transfer = "/v1/transactions", transfer_body(source, destination, 1)
    legs = [{"account_id": source["id"], "amount_cents": -1}, {"account_id": destination["id"], "amount_cents": 1}]

    paid = await api.post(f"{path}/transfer", {**transfer, "reference": first})
    again = [
        await api.post(f"{path}/transfer", {**transfer, "reference": second}),
        await api.post(f"{path}/hold", {**transfer, "reference": second}),
        await api.post(path, {"postings": legs, "reference": second}),
        await api.post(f"{path}/batch", {"atomic": True, "items": [{**transfer, "reference": second}]}),
    ]

    assert (200, [(409, ["reference_already_exists"])] * 4) == (
        paid.status,
        [(answer.status, answer.codes) for answer in again],
    )
    assert 99 == await api.balance(source)
    assert paid.body["reference"] in {COMPOSED, "INV 17"}
    for reference in (first, second):
        found = await api.get(path, params={"reference": reference})
        assert [paid.body["id"]] == [one["id"] for one in found.body]


async def test_an_old_reference_is_found_in_its_old_spelling(api: Api, connection: "asyncpg.Connection[Any]") -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    old: dict[str, str] = {}
    for number, reference in enumerate((DECOMPOSED, "INV\u200b17", "a\u00a0b")):
        body = {**transfer_body(source, destination, 1), "reference": f"as it is now {number}"}
        old[reference] = (await api.post("/v1/transactions/transfer", body)).body["id"]
        await connection.execute("UPDATE transfers SET reference = $1 WHERE id = $2", reference, old[reference])

    found = {reference: await api.get("/v1/transactions", params={"reference": reference}) for reference in old}

    assert old == {reference: one["id"] for reference, answer in found.items() for one in answer.body}
    composed = await api.get("/v1/transactions", params={"reference": COMPOSED})
    assert [old[DECOMPOSED]] == [one["id"] for one in composed.body]


@pytest.mark.parametrize("character", HIDDEN)
async def test_references_and_keys_cannot_have_invisible_characters(api: Api, character: str) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    transfer = transfer_body(source, destination, 1)

    for member, value in (("reference", f"a{character}b"), ("metadata", {f"a{character}b": "x"})):
        answer = await api.post("/v1/transactions/transfer", {**transfer, member: value})

        assert (422, ["validation_error"]) == (answer.status, answer.codes)
        assert answer.pointers[0].startswith(f"/{member}")


async def test_lookalike_metadata_keys_are_refused(api: Api) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    path, transfer = "/v1/transactions/transfer", transfer_body(source, destination, 1)

    twice = await api.post(path, {**transfer, "metadata": {COMPOSED: "1", DECOMPOSED: "2"}})
    once = await api.post(path, {**transfer, "metadata": {DECOMPOSED: "2"}})

    assert (422, ["validation_error"], ["/metadata"]) == summary(twice)
    assert {COMPOSED: "2"} == once.body["metadata"]


# Texts for people.


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\uf8ff",
    ],
    ids=["emoji", "Persian", "private"],
)
async def test_text_for_people_is_stored_unchanged(api: Api, text: str) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    members = {"description": text, "metadata": {"note": text}}

    answer = await api.post("/v1/transactions/transfer", {**transfer_body(source, destination, 1), **members})

    assert (200, members) == (answer.status, {name: answer.body[name] for name in members})


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u2028", "\x00", "\x85"])
async def test_text_cannot_break_or_reorder_lines(api: Api, character: str) -> None:
    source, destination = await api.new_account(balance_cents=100), await api.new_account()
    members = {"description": f"a{character}b", "metadata": {"note": f"a{character}b"}}

    answer = await api.post("/v1/transactions/transfer", {**transfer_body(source, destination, 1), **members})

    assert (422, ["/description", "/metadata/note"]) == (answer.status, answer.pointers)
