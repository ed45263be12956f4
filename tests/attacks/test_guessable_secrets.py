"""Secrets that an attacker would try first, here or for any client's digest, are refused at every door."""

import base64
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import PASSWORD, Api, Response, Serve, user_body
from tests.support.processes import run_ledger
from tests.support.token_api import is_accepted, log_in

NAMES = {"username": "eve-of-may", "email": "eve.m@example.com"}
FULL_WIDTH = "".join(chr(ord(letter) + 0xFEE0) for letter in "acme")
BREACHED = "correct horse battery staple"


def digest(algorithm: str, text: str) -> bytes:
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).digest()


def sha1_line(text: str) -> str:
    return f"{digest('sha1', text).hex().upper()}:3"


async def try_every_door(api: Api, member: str, secret: str) -> list[Response]:
    """Try to give a user a secret in each way there is."""
    body = user_body(**NAMES, **{"password": None, member: secret})
    refused = await api.post("/v1/users", {name: value for name, value in body.items() if value is not None})
    eve = await api.new_user(**NAMES)
    pair = await log_in(api, eve)
    as_eve = replace(api, token=pair["access_token"])
    answers = [
        refused,
        await api.patch(f"/v1/users/{eve['id']}", {member: secret}),
        await api.put(f"/v1/users/{eve['id']}", {**eve, member: secret}),
        await as_eve.post("/v1/users/me/password", {"current_password": PASSWORD, member: secret}),
    ]
    assert await is_accepted(api, pair)
    return answers


def assert_refused(answers: list[Response], member: str, message: str) -> None:
    assert [(422, [f"/{member}"])] * 4 == [(answer.status, answer.pointers) for answer in answers]
    assert {message} == {answer.body["errors"][0]["message"] for answer in answers}


@pytest.mark.parametrize(
    "secret",
    [
        digest("md5", "password").hex(),
        digest("sha1", "iloveyou").hex().upper(),
        digest("sha256", "sunshine").hex(),
        digest("sha256", "PASSWORD").hex(),
        digest("sha512", "Qwertyuiop").hex(),
        base64.b64encode(digest("sha256", "12345678")).decode(),
        digest("sha256", "eve-of-may").hex(),
        digest("sha256", "Ledger").hex(),
    ],
)
async def test_no_door_accepts_the_digest_of_a_password_that_is_tried_first(api: Api, secret: str) -> None:
    assert_refused(
        await try_every_door(api, "password_hash", secret),
        "password_hash",
        "must not be the digest of a common password",
    )


async def test_a_common_password_is_refused_under_its_other_name_too(api: Api) -> None:
    assert_refused(
        await try_every_door(api, "password_hash", "Password1"), "password_hash", "must not be a common password"
    )


async def test_other_digests_are_accepted_those_with_a_salt_too(api: Api) -> None:
    """A salt is in no response, so an attacker cannot compute the digest of a common password with it."""
    for secret in (digest("sha256", "sunshine" + "a salt"), digest("sha256", "six impossible things")):
        body = user_body(password_hash=secret.hex())
        del body["password"]
        assert 201 == (await api.post("/v1/users", body)).status


async def test_operators_add_words_of_their_context(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_password_words": "Acme  Springfield"}))

    for number, password in enumerate(("acme123!", "Springfield", "SPRINGFIELD-42!", FULL_WIDTH + "!!!!")):
        answer = await api.post("/v1/users", user_body(password=password))
        assert (422, ["/password"]) == (answer.status, answer.pointers), number
    accepted = await api.post("/v1/users", user_body(password="acme of all good things"))
    hashed = await api.post("/v1/users", user_body(password=None, password_hash=digest("sha256", "Acme").hex()))

    assert (201, 422) == (accepted.status, hashed.status)


@pytest.mark.parametrize(
    ("member", "secret", "message"),
    [
        ("password", BREACHED, "must not be in a list of breached passwords"),
        ("password_hash", BREACHED, "must not be a breached password or its digest"),
        ("password_hash", digest("sha1", BREACHED).hex(), "must not be a breached password or its digest"),
    ],
)
async def test_no_door_accepts_a_breached_password(
    serve: Serve, settings: Settings, tmp_path: Path, member: str, secret: str, message: str
) -> None:
    path = tmp_path / "breached.txt"
    path.write_text("\n".join(sorted(sha1_line(text) for text in (BREACHED, "another one", "a third one"))))
    api = await serve(settings.model_copy(update={"ledger_breached_passwords_file": path}))

    assert_refused(await try_every_door(api, member, secret), member, message)


async def test_an_operator_without_clients_of_the_reference_refuses_digests(serve: Serve, settings: Settings) -> None:
    """Users who have a digest go on logging in with it."""
    secret = digest("sha256", "six impossible things").hex()
    before = await serve(settings)
    body = user_body(password_hash=secret)
    del body["password"]
    assert 201 == (await before.post("/v1/users", body)).status
    api = await serve(settings.model_copy(update={"ledger_password_hashes": False}))

    answers = await try_every_door(api, "password_hash", digest("sha256", "an own one").hex())

    assert_refused(answers, "password_hash", "is not accepted by this service: send the password")
    login = {"username": body["username"], "password_hash": secret}
    assert 200 == (await api.nobody.post("/v1/auth/login", login)).status


async def test_a_malformed_file_of_breached_passwords_stops_the_start(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "breached.txt"
    path.write_text("password\n12345678\n")
    variables: dict[str, Any] = {**settings.environment(), "LEDGER_BREACHED_PASSWORDS_FILE": str(path)}

    ran = await run_ledger("serve", variables=variables)

    assert 2 == ran.status
    assert 1 == len(ran.error.splitlines())
    assert ran.error.startswith("ledger: LEDGER_BREACHED_PASSWORDS_FILE: must have lines such as ")
