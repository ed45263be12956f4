"""JSON as RFC 8259 and RFC 7493 (I-JSON) define it: UTF-8, without duplicate members, NaN or Infinity.

Of duplicate members, most parsers keep the last, and some the first. A gateway might then check another amount than the
one that is moved, so such a text is refused.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

MAX_NAME_LENGTH = 64  # of a member's name in a message


class MalformedJsonError(ValueError):
    """The text is not JSON. The message says why, and never repeats a value; `column` is 1 if it is not known."""

    def __init__(self, message: str, column: int = 1) -> None:
        super().__init__(message)
        self.column = column


def decode(raw: bytes) -> Any:
    """Decode a JSON text. Raises `MalformedJsonError`."""
    try:
        return _DECODER.decode(raw.decode())
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"is not JSON at line {error.lineno}, column {error.colno}", error.colno) from None
    except UnicodeDecodeError as error:
        raise MalformedJsonError(f"is not UTF-8 at byte {error.start + 1}") from None
    except RecursionError:
        raise MalformedJsonError("is nested too deeply") from None
    except MalformedJsonError:
        raise
    except ValueError:  # an integer with more digits than Python parses
        raise MalformedJsonError("has a number with too many digits") from None


def _build_object(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(members)
    if len(decoded) < len(members):
        (twice, _), *_ = Counter(name for name, _ in members).most_common(1)
        raise MalformedJsonError(f"has the member {json.dumps(twice[:MAX_NAME_LENGTH])} twice in one object")
    return decoded


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"has {name}, which is not a JSON number")


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedJsonError("has a number that is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_build_object, parse_constant=_refuse_constant, parse_float=_parse_float)
