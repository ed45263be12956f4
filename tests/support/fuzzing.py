"""Hooks for Schemathesis: callers, existing ids, and the refusals allowed for a request that fits the document."""

import json
import os
from typing import Any
from uuid import UUID
from zlib import crc32

import httpx
import schemathesis

from ledger.values.names import MIXED_SCRIPTS, NOT_OF_RFC_8265
from ledger.values.text import NOT_IDENTIFYING
from web.http.event_forms import FEED, FORMS

Case = schemathesis.Case[Any]
GIVEN: dict[str, Any] = json.loads(os.environ["LEDGER_FUZZ"])  # from tests/fuzz/test_fuzz.py
KNOWN: list[str] = GIVEN["known_ids"]
NOBODY = "018f0000-0000-7000-8000-000000000000"
WITH_REFRESH_TOKEN = "/auth/(refresh|logout)$"
ID_MEMBERS = ("user_id", "source_account_id", "destination_account_id")

ENDING_FORMS = [form for form in FORMS if form != FEED]

# Rules that no schema can state: they depend on the ledger or on several parameters. JSON Schema also takes 1.0 for an
# integer, which the ledger does not.
DEPENDS = (
    "must be 1, or left out, for a single CloudEvent",
    "must be a topic whose events leave the ledger",
    "must be a code of the second factor that was not used before",
    "must be an integer, without quotes, fraction or exponent",
    "must be that of a `Link`",
    "must not bring a balance beyond 2^53 - 1",
    "must be given alone",
    "must not be given together with at_position",
    "must be given together with dry_run=true",
    "must be given with by=effective",
    "the start must not be after the end",
    "must not be before the start of the period",
    "must be that of a `Link` to a next page of this list",
    "must be in the future, and no more than",
    "must be a date and time that exist",  # a pattern cannot check the length of a month
    NOT_IDENTIFYING,  # nor whether Unicode has assigned a character
    NOT_OF_RFC_8265,
    MIXED_SCRIPTS,
    "characters in normalization form C",
    "must not have keys that look the same",
    "must cover the amount that is already overdrawn or held",
    "must not be below the overdraft limit",
    "must not be more than the amount held",
    "must not be more than what is left to reverse",
    "must not be given unless an account that gets its money back is closed",
    "must not be given for a journal entry of more than two postings",
    "was withdrawn on",
    "or the code of a registered asset",
    "must not be given with by=effective",
    "needs a period with both ends",
    "must be the last day of a closed period",
    "must sum to zero in each currency",
    "must not be an account of the ledger itself, which only transfers change",
    "must not be a common password",
    "must not be the name of this service",
    "must not be the user's own name",
    "must be the present password",
    "must be an absolute URL such as",
    "must begin with https://",
    "must be a host that has an address",
    "must not be an address of a private network",
    "must not name a host with an address of a private network",
    "must have the port 80, 443 or one from",
    "must not have a user or a password",
    "must not have a fragment",
    "must not be beyond the end of the log",
    "must be the position of an event that leaves the ledger",
    "must be given, or user_ids, for a client that is neither admin nor auditor",
)


def _log_in() -> dict[str, str]:
    credentials = {"username": GIVEN["username"], "password": GIVEN["password"]}
    answer = httpx.post(f"{GIVEN['url']}/v1/auth/login", json=credentials)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens


class _Bearer:
    def set(self, case: Case, data: str, context: Any) -> None:  # noqa: ARG002
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth(refresh_interval=3600).skip_for(path_regex=WITH_REFRESH_TOKEN)
class AccessToken(_Bearer):
    """One access token for all requests, until a request revokes it."""

    def get(self, case: Case, context: Any) -> str:  # noqa: ARG002
        return _log_in()["access_token"]


@schemathesis.auth(refresh_interval=None).apply_to(path_regex=WITH_REFRESH_TOKEN)
class RefreshToken(_Bearer):
    """A new refresh token for each request, because it can be used once."""

    def get(self, case: Case, context: Any) -> str:  # noqa: ARG002
        return _log_in()["refresh_token"]


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Case, kwargs: Any) -> None:  # noqa: ARG001
    """Replace half of the ids by existing ones, and never change or delete the calling users."""
    found = case.meta is None or case.meta.phase.name.value != "stateful"
    for values, names in ((case.path_parameters, ("id",)), (case.body, ID_MEMBERS)):
        if isinstance(values, dict) and found:
            values.update({name: _existing(values[name]) for name in names if name in values})
            _let_exist(values.get("postings"))
    path = case.path_parameters or {}
    if "id" in path and path["id"] is None:  # from a response: the ledger's own accounts have no owner
        path["id"] = NOBODY
    if case.path == "/v1/events":
        case.headers["Accept"] = ENDING_FORMS[crc32(repr(case.query).encode()) % len(ENDING_FORMS)]
    if case.method in {"PUT", "DELETE"} and path.get("id") in GIVEN["spared_ids"]:
        path["id"] = NOBODY
    if isinstance(case.body, dict) and case.meta is not None and case.meta.generation.mode.is_positive:
        _let_be_named(case.body)


def _let_be_named(body: dict[str, Any]) -> None:
    """Give half of the users names in ASCII, because few random texts are valid names."""
    for member, name in (("username", "{:x}"), ("email", "{:x}@example.com")):
        given = body.get(member)
        if isinstance(given, str) and not given.isascii() and (number := crc32(given.encode())) & 1:
            body[member] = name.format(number)


def _let_exist(postings: Any) -> None:
    for posting in postings if isinstance(postings, list) else ():
        if isinstance(posting, dict) and "account_id" in posting:
            posting["account_id"] = _existing(posting["account_id"])


def _existing(value: Any) -> Any:
    try:
        number = UUID(value).int
    except (ValueError, AttributeError, TypeError):
        return value
    return KNOWN[number % len(KNOWN)] if number & 1 << 40 else value


@schemathesis.check
def refuses_no_data_that_fits(
    context: schemathesis.CheckContext,  # noqa: ARG001
    response: schemathesis.Response,
    case: Case,
) -> None:
    """Fail if a request that fits the document is refused as invalid."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in {400, 422}:
        return
    if None in (case.path_parameters or {}).values():  # a link from an account without an owner
        return
    for reason in response.json()["errors"]:
        invalid = reason["code"] in {"validation_error", "malformed_request"}
        assert not invalid or any(text in reason["message"] for text in DEPENDS), reason
