"""Replaces the codes by which a request names accounts with their ids, and the ids in its refusals with those codes.

A code that no account has becomes an id that no account has, so it is refused as an unknown id is. Refusals name an
account as the request did: whether another user's account has a code, they do not tell.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from aiohttp import hdrs, web

from ledger import errors
from ledger.errors import Refusal, Refused
from ledger.projections import account_labels
from ledger.values.account_codes import AccountRef, Code, parse_account, unknown_account_id
from web.body import Body
from web.http.params import PATH_ID, Parameter
from web.http.replica import reader
from web.http.request import RUNTIME
from web.plain_transfer import PlainTransfer
from web.response_fields import ACCOUNT_REF

BodyT = TypeVar("BodyT")  # a body, or a plain transfer, which has ids

MAX_CODES = 20_000  # of a request whose refusals can name them: two for each item of a batch
_WITH_CODES = frozenset({Code, list})  # the types of members that name accounts
_CODES = web.RequestKey("CODES", dict[str, Code])  # by the ids that replace them

PATH_ACCOUNT: Parameter[AccountRef] = Parameter(
    PATH_ID.name, "The id of the account, or its code", parse_account, schema=ACCOUNT_REF, place="path"
)


def account_parameter(name: str, description: str) -> Parameter[AccountRef]:
    """Return a parameter for the id or the code of an account."""
    return Parameter(name, description, parse_account, schema=ACCOUNT_REF)


async def read_path_account(request: web.Request) -> UUID:
    """Return the id of the account in the path. Raises `Refused` if that is neither a UUID nor a code."""
    return await find_id(request, PATH_ACCOUNT.parse(request.match_info[PATH_ACCOUNT.name]))


async def find_id(request: web.Request, ref: AccountRef) -> UUID:
    """Return the id of an account."""
    return (await _find_ids(request, {ref}))[ref] if isinstance(ref, Code) else ref


async def find_existing_ids(request: web.Request, refs: Sequence[AccountRef], pointer: str) -> tuple[UUID, ...]:
    """Return the ids of accounts, each once. Raises `Refused` for codes that no account has."""
    ids = await _find_ids(request, {ref for ref in refs if isinstance(ref, Code)})
    unknown = {
        number: ids[ref]
        for number, ref in enumerate(refs)
        if isinstance(ref, Code) and ids[ref] == unknown_account_id(ref)
    }
    if unknown:
        raise Refused(*(errors.account_not_found(one).within(f"{pointer}/{number}") for number, one in unknown.items()))
    return tuple(dict.fromkeys(ids[ref] if isinstance(ref, Code) else ref for ref in refs))


async def with_account_ids(request: web.Request, body: BodyT) -> BodyT:
    """Return a body with ids in place of codes. Idempotency depends on the body as it was sent, and not on this one."""
    codes = {*_find_codes(body)}
    return _replace_codes(body, await _find_ids(request, codes)) if codes else body


async def all_with_account_ids(request: web.Request, bodies: Sequence[BodyT]) -> Sequence[BodyT]:
    """Return bodies with ids in place of codes, after one look-up for all of them."""
    codes = {code for body in bodies if type(body) is not PlainTransfer for code in _find_codes(body)}
    if not codes:
        return bodies
    ids = await _find_ids(request, codes)
    return [_replace_codes(body, ids) for body in bodies]


def has_codes(body: Body) -> bool:
    """Return whether a body names an account by its code."""
    return next(_find_codes(body), None) is not None


def name_as_sent(request: web.Request, refusals: Sequence[Refusal]) -> Sequence[Refusal]:
    """Return refusals that name accounts by their codes where the request does."""
    codes = request.get(_CODES)
    return [_name_as_sent(refusal, codes) for refusal in refusals] if codes else refusals


def _name_as_sent(refusal: Refusal, codes: Mapping[str, Code]) -> Refusal:
    detail = refusal.detail or {}
    message = refusal.message
    for text in detail.values():
        if text in codes:
            message = message.replace(text, codes[text])
    named = {member: str(codes.get(text, text)) for member, text in detail.items()}
    return msgspec.structs.replace(refusal, message=message, detail=named or None)


async def _find_ids(request: web.Request, codes: Collection[Code]) -> dict[AccountRef, UUID]:
    known = await _look_up(request, {code.key for code in codes})
    ids: dict[AccountRef, UUID] = {code: known.get(code.key) or unknown_account_id(code) for code in codes}
    _remember(request, {str(ids[code]): code for code in codes})
    return ids


async def _look_up(request: web.Request, keys: Collection[str]) -> Mapping[str, UUID | None]:
    if request.method in {hdrs.METH_GET, hdrs.METH_HEAD}:  # which may read from a replica
        return await account_labels.find_ids(reader(request), keys)
    get = request.app[RUNTIME].account_ids.get
    return dict(zip(keys, await asyncio.gather(*map(get, keys)), strict=True))


def _remember(request: web.Request, codes: Mapping[str, Code]) -> None:
    """Keep the newest codes: a stream of transfers has no end."""
    known = request.get(_CODES)
    if known is None:
        request[_CODES] = known = {}
    for text, code in codes.items():
        known.pop(text, None)
        known[text] = code
    for text in [*known][: max(0, len(known) - MAX_CODES)]:
        del known[text]


def _find_codes(value: object) -> Iterator[Code]:
    """Yield the codes in a body, in its members and in those of its lists of bodies."""
    if isinstance(value, Code):
        yield value
    elif isinstance(value, list):
        for member in value:
            yield from _find_codes(member)
    elif isinstance(value, Body):
        for member in value.__dict__.values():
            if type(member) in _WITH_CODES:
                yield from _find_codes(member)


def _replace_codes(body: BodyT, ids: Mapping[AccountRef, UUID]) -> BodyT:
    if not isinstance(body, Body):
        return body
    return body.model_copy(update={name: _replace(value, ids) for name, value in body if type(value) in _WITH_CODES})


def _replace(value: Any, ids: Mapping[AccountRef, UUID]) -> Any:
    if isinstance(value, list):
        return [_replace(member, ids) for member in value]
    if isinstance(value, Body):
        return _replace_codes(value, ids)
    return ids[value] if isinstance(value, Code) else value
