"""Parameters of requests: each is declared once, as an object that reads it strictly and describes it.

A handler reads a parameter with its `read`, and the row of its route lists the same object for the OpenAPI document.
A parameter that is given twice, or has a value that is not accepted, is refused by its name.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, NoReturn, TypeVar
from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.audit.as_of import AccountPointInTime, AtPosition, AtTime, AtVersion, PointInTime
from ledger.errors import Place, Refused
from ledger.money import check_code
from ledger.store.reader import MAX_POSITION
from ledger.values.ids import parse_id
from ledger.values.text import PRINTABLE_PATTERN, check_printable
from ledger.values.timestamps import DATE_OR_TIME_PATTERN, parse_end, parse_start
from web.response_fields import CURRENCY as CURRENCY_SCHEMA

ValueT = TypeVar("ValueT")


class Parameter(Generic[ValueT]):
    """A parameter of the query, the path or a header: its name, its description in the document, and its parser.

    The parser raises `ValueError` with the message of the refusal.
    """

    def __init__(
        self,
        name: str,
        description: str,
        parse: Callable[[str], ValueT],
        *,
        schema: Mapping[str, Any] = MappingProxyType({"type": "string"}),
        place: Place = "query",
    ) -> None:
        self.name = name
        self.description = description
        self.schema = schema
        self.place = place
        self._parse = parse

    def read(self, request: web.Request) -> ValueT | None:
        """Return the value of this query parameter, or None if it is absent. Raises `Refused`."""
        texts = request.query.getall(self.name, [])
        if len(texts) > 1:
            self.refuse("must be given once")
        return self.parse(texts[0]) if texts else None

    def parse(self, text: str) -> ValueT:
        """Return the value that a text stands for. Raises `Refused`."""
        try:
            return self._parse(text)
        except ValueError as error:
            self.refuse(str(error))

    def named(self, name: str) -> "Parameter[ValueT]":
        """Return this parameter under another name."""
        return Parameter(name, self.description, self._parse, schema=self.schema, place=self.place)

    def refuse(self, message: str) -> NoReturn:
        """Raise `Refused` for this parameter."""
        raise Refused(errors.invalid_parameter(self.name, message, self.place))


def text_parameter(name: str, description: str, *, max_length: int) -> Parameter[str]:
    """Return a parameter for a name or a reference: printable characters, at least one."""

    def parse(text: str) -> str:
        if not 1 <= len(text) <= max_length:
            raise ValueError(f"must have 1 to {max_length} characters")
        return check_printable(text)

    schema = {"type": "string", "minLength": 1, "maxLength": max_length, "pattern": PRINTABLE_PATTERN}
    return Parameter(name, description, parse, schema=schema)


def integer_parameter(
    name: str, description: str, *, minimum: int = 0, maximum: int = MAX_POSITION, place: Place = "query"
) -> Parameter[int]:
    """Return a parameter for an integer within bounds, both included."""

    def parse(text: str) -> int:
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(maximum))
        if not (is_number and minimum <= int(text) <= maximum):
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return int(text)

    schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return Parameter(name, description, parse, schema=schema, place=place)


def id_parameter(name: str, description: str, *, place: Place = "query") -> Parameter[UUID]:
    """Return a parameter for an id in any form that the API accepts."""
    return Parameter(name, description, parse_id, schema={"type": "string", "format": "uuid"}, place=place)


def choice_parameter(
    name: str, description: str, choices: Collection[str], *, schema: Mapping[str, Any] | None = None
) -> Parameter[str]:
    """Return a parameter for one of the choices; `schema` describes them if a component of the document does."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(sorted(choices))}")
        return text

    return Parameter(name, description, parse, schema=schema or {"enum": list(choices)})


def flag_parameter(name: str, description: str, *, default: bool | None = None) -> Parameter[bool]:
    """Return a parameter for `true` or `false`."""
    words = {"true": True, "false": False}

    def parse(text: str) -> bool:
        if text not in words:
            raise ValueError("must be one of false, true")
        return words[text]

    described = {} if default is None else {"default": str(default).lower()}
    return Parameter(name, description, parse, schema={"enum": list(words), **described})


def time_parameter(name: str, description: str, parse: Callable[[str], datetime]) -> Parameter[datetime]:
    """Return a parameter for a time; `parse` says which instant a plain date stands for."""
    examples = ["2026-05-01", "2026-05-01T12:00:00Z"]
    schema = {"type": "string", "pattern": DATE_OR_TIME_PATTERN, "examples": examples}
    return Parameter(name, description, parse, schema=schema)


PATH_ID = id_parameter("id", "The id of the resource", place="path")
PATH_CODE = Parameter("code", "The code of the asset", check_code, schema=CURRENCY_SCHEMA, place="path")
CURRENCY = Parameter("currency", "Only in this currency or asset", check_code, schema=CURRENCY_SCHEMA)
AFTER = integer_parameter("after", "Only items after this position or version")

FROM_TIME = time_parameter("from_time", "The start of a period, inclusive; a date means its start (UTC)", parse_start)
TO_TIME = time_parameter("to_time", "The end of a period, inclusive; a date means its end (UTC)", parse_end)
PERIOD = (FROM_TIME, TO_TIME)

AT_TIME = time_parameter("at_time", "The state at this time, or at the end of this date (UTC)", parse_end)
AT_POSITION = integer_parameter("at_position", "The state after the event at this position of the log")
AT_VERSION = integer_parameter("at_version", "The state after the event with this version")
POINT_IN_TIME = (AT_TIME, AT_POSITION)
EFFECTIVE_AT = time_parameter(
    "effective_at",
    "What counts by this time, or by the end of this date (UTC), as known at the point in time",
    parse_end,
)


def read_path_id(request: web.Request) -> UUID:
    """Return the id in the path. Raises `Refused` if it is not a UUID."""
    return PATH_ID.parse(request.match_info[PATH_ID.name])


def check_same_id(path: UUID, body: UUID | str | None) -> None:
    """Raise `Refused` if the body names another resource than the path."""
    if body is not None and body != path:
        raise Refused(errors.id_mismatch())


def read_period(request: web.Request) -> tuple[datetime | None, datetime | None]:
    """Return the start and the end of the requested period in UTC, both inclusive; None for an open end."""
    return FROM_TIME.read(request), TO_TIME.read(request)


def read_point_in_time(request: web.Request) -> PointInTime | None:
    """Return the point in time at which to show the whole ledger; None for now."""
    moment = read_account_point_in_time(request)
    return None if isinstance(moment, AtVersion) else moment


def read_account_point_in_time(request: web.Request) -> AccountPointInTime | None:
    """Return the point in time at which to show an account; None for now."""
    version, position, time = AT_VERSION.read(request), AT_POSITION.read(request), AT_TIME.read(request)
    given: dict[Parameter[Any], AccountPointInTime] = {
        **({} if version is None else {AT_VERSION: AtVersion(version)}),
        **({} if position is None else {AT_POSITION: AtPosition(position)}),
        **({} if time is None else {AT_TIME: AtTime(time)}),
    }
    if len(given) > 1:
        raise Refused(*(errors.invalid_parameter(one.name, "must be given alone") for one in given))
    return next(iter(given.values()), None)
