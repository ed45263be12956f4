"""The filters of lists of transactions by their details, and by the codes of their accounts."""

from typing import Any

from aiohttp import web

from ledger.values.text import MAX_DESCRIPTION_LENGTH
from ledger.values.timestamps import parse_end, parse_start
from ledger.values.words import split_phrases
from web.http.label_filters import ACCOUNT_CODE
from web.http.metadata_filter import METADATA, read_metadata_filter
from web.http.params import Parameter, id_parameter, time_parameter


def _parse_description(text: str) -> tuple[str, ...]:
    if not 1 <= len(text) <= MAX_DESCRIPTION_LENGTH:
        raise ValueError(f"must have 1 to {MAX_DESCRIPTION_LENGTH} characters")
    return split_phrases(text)


DESCRIPTION = Parameter(
    "description",
    "Only transactions whose description has all of these words, in any order and case",
    _parse_description,
    schema={"type": "string", "minLength": 1, "maxLength": MAX_DESCRIPTION_LENGTH},
)
REVERSES = id_parameter("reverses", "Only reversals of this transaction")
EFFECTIVE_FROM = time_parameter(
    "effective_from", "Only what takes effect at this time or later; a date means its start (UTC)", parse_start
)
EFFECTIVE_TO = time_parameter(
    "effective_to", "Only what takes effect at this time or earlier; a date means its end (UTC)", parse_end
)
DETAIL_FILTERS: tuple[Parameter[Any], ...] = (
    *(DESCRIPTION, METADATA, REVERSES, EFFECTIVE_FROM, EFFECTIVE_TO, ACCOUNT_CODE),
)


def read_detail_filters(request: web.Request) -> dict[str, Any]:
    """Return the members of `Filters` that these filters of a request set. Raises `Refused`."""
    return {
        "phrases": DESCRIPTION.read(request),
        "metadata": read_metadata_filter(request),
        "reverses": REVERSES.read(request),
        "effective_from": EFFECTIVE_FROM.read(request),
        "effective_to": EFFECTIVE_TO.read(request),
        "code_keys": ACCOUNT_CODE.read(request),
    }
