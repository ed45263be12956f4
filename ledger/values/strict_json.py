"""JSON as RFC 8259 and RFC 7493 (I-JSON) define it: UTF-8, no member twice, no NaN or Infinity.

Most readers keep the last of two members with one name, some the first. A gateway in front may then have checked
another amount than the one that is moved, so such a text is no JSON here.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

MAX_NAME_LENGTH = 64  # of a member's name that a message repeats


class MalformedJsonError(ValueError):
    """The text is not JSON. The message says why, and never repeats a value."""


def decode(raw: bytes) -> Any:
    """Return what the text holds. Raises `MalformedJsonError`."""
    try:
        return _DECODER.decode(raw.decode())
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"is not JSON at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise MalformedJsonError(f"is not UTF-8 at byte {error.start + 1}") from None
    except RecursionError:
        raise MalformedJsonError("is nested too deeply") from None
    except MalformedJsonError:
        raise
    except ValueError:  # an integer of more digits than Python reads
        raise MalformedJsonError("has a number with too many digits") from None


def _object(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        (twice, _), *_ = Counter(name for name, _ in members).most_common(1)
        raise MalformedJsonError(f"has the member {json.dumps(twice[:MAX_NAME_LENGTH])} twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJsonError(f"has {name}, which is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedJsonError("has a number that is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite)
