"""The filters of lists of accounts by their labels."""

from typing import Any, get_args

from aiohttp import web

from ledger.events.account_labels import MAX_NAME_LENGTH, AccountType
from ledger.projections.account_labels import LabelFilters, query_words
from ledger.values.account_codes import MAX_CODE_LENGTH, PREFIX_PATTERN, check_code, key_range
from web.http.metadata_filter import METADATA, read_metadata_filter
from web.http.params import Parameter, choice_parameter
from web.response_fields import ACCOUNT_TYPE


def _parse_prefix(text: str) -> tuple[str, str, str]:
    check_code(text.removesuffix(":"))
    return key_range(text)


_PREFIX = {"type": "string", "maxLength": MAX_CODE_LENGTH + 1, "pattern": PREFIX_PATTERN}
CODE = Parameter(
    "code",
    "Only accounts with this code, or with one below it; with a colon at the end, only those below it",
    _parse_prefix,
    schema=_PREFIX,
)
ACCOUNT_CODE = Parameter(
    "account_code",
    "Only transactions of an account with this code, or with one below it; with a colon at the end, only below it",
    _parse_prefix,
    schema=_PREFIX,
)
NAME = Parameter(
    "name",
    "Only accounts whose names have words that begin with these, in any order and case",
    lambda text: query_words(_check_length(text)),
    schema={"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH},
)
TYPE = choice_parameter("type", "Only accounts of this type", get_args(AccountType), schema=ACCOUNT_TYPE)
LABEL_FILTERS: tuple[Parameter[Any], ...] = (CODE, NAME, TYPE, METADATA)


def read_label_filters(request: web.Request) -> LabelFilters:
    """Return the filters of a request by labels. Raises `Refused`."""
    return LabelFilters(CODE.read(request), NAME.read(request), TYPE.read(request), read_metadata_filter(request))


def _check_length(text: str) -> str:
    if not 1 <= len(text) <= MAX_NAME_LENGTH:
        raise ValueError(f"must have 1 to {MAX_NAME_LENGTH} characters")
    return text
