"""Query parameters, read strictly: what is given twice or does not fit is refused with the parameter's name."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import NoReturn
from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.audit.as_of import AccountMoment, AtPosition, AtTime, AtVersion, Moment
from ledger.errors import Place, Refused
from ledger.store.reader import LAST
from ledger.values.ids import parse_id
from ledger.values.text import printable
from ledger.values.timestamps import parse_end, parse_start


def number_in(request: web.Request, name: str, *, minimum: int = 0, maximum: int = LAST) -> int | None:
    """A whole number, if it is given."""
    text = text_in(request, name)
    return None if text is None else parse_number(text, name, minimum, maximum)


def parse_number(text: str, name: str, minimum: int = 0, maximum: int = LAST, *, place: Place = "query") -> int:
    """Return the whole number in the text of a parameter."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(maximum)) and minimum <= int(text) <= maximum):
        refuse(name, f"must be a whole number from {minimum} to {maximum}", place)
    return int(text)


def period_in(request: web.Request) -> tuple[datetime | None, datetime | None]:
    """Return the start and the end of a period, both included, if they are given; in UTC."""
    return _time_in(request, "from_time", parse_start), _time_in(request, "to_time", parse_end)


def _time_in(request: web.Request, name: str, parse: Callable[[str], datetime]) -> datetime | None:
    text = text_in(request, name)
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        refuse(name, str(error))


def id_in(request: web.Request, name: str) -> UUID | None:
    """An id, if it is given."""
    text = text_in(request, name)
    try:
        return None if text is None else parse_id(text)
    except ValueError as error:
        refuse(name, str(error))


def choice_in(request: web.Request, name: str, choices: Collection[str]) -> str | None:
    """One of these words, if it is given."""
    text = text_in(request, name)
    if text is not None and text not in choices:
        refuse(name, f"must be one of {', '.join(sorted(choices))}")
    return text


def moment_in(request: web.Request) -> Moment | None:
    """The moment of the whole ledger that is asked for; None for now."""
    moment = account_moment_in(request)
    return None if isinstance(moment, AtVersion) else moment


def account_moment_in(request: web.Request) -> AccountMoment | None:
    """The moment of an account that is asked for; None for now."""
    version, position = number_in(request, "at_version"), number_in(request, "at_position")
    time = _time_in(request, "at_time", parse_end)
    given: dict[str, AccountMoment] = {
        **({} if version is None else {"at_version": AtVersion(version)}),
        **({} if position is None else {"at_position": AtPosition(position)}),
        **({} if time is None else {"at_time": AtTime(time)}),
    }
    if len(given) > 1:
        raise Refused(*(errors.invalid_parameter(name, "must be given alone") for name in given))
    return next(iter(given.values()), None)


def text_in(request: web.Request, name: str) -> str | None:
    """The text of a parameter, if it is given."""
    texts = request.query.getall(name, [])
    if len(texts) > 1:
        refuse(name, "must be given once")
    return texts[0] if texts else None


def words_in(request: web.Request, name: str, maximum: int) -> str | None:
    """A text of so many characters at most that could be a name or a reference, if it is given."""
    text = text_in(request, name)
    if text is None:
        return None
    if not 1 <= len(text) <= maximum:
        refuse(name, f"must have 1 to {maximum} characters")
    try:
        return printable(text)
    except ValueError as error:
        refuse(name, str(error))


def refuse(name: str, message: str, place: Place = "query") -> NoReturn:
    """Raise `Refused`: this parameter does not fit."""
    raise Refused(errors.invalid_parameter(name, message, place))
