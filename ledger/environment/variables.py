"""Where settings are written: in the environment, and in one file, `.env` unless another is named.

The environment takes precedence. A name that begins like the ledger's own but is none of them stops the start, and so
does a line of the file that cannot be read: a setting that is ignored in silence does more harm than a service that
does not start. In a value every character stands for itself; `$` is a `$`.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import Binding, parse_stream

ENV_FILE = "LEDGER_ENV_FILE"
ENV_TEST = "ENV_TEST"
FOREIGN = "LEDGER_FOREIGN_VARIABLES"
SOURCES = frozenset({ENV_FILE, ENV_TEST, FOREIGN})  # variables that say how the others are read

OWN_PREFIXES = ("LEDGER_", "JWT_", "SERVICE_", "POSTGRES_", "REDIS_")
SHARED_PREFIXES = ("DATABASE_", "LOG_")  # other programs use them too: only a near miss is a misspelling
NEAR_MISS = 0.885  # of DATABASE_URL is DATABASE_ULR, but not DATABASE_USER

CLIENTS = frozenset({"LEDGER_URL", "LEDGER_USERNAME", "LEDGER_PASSWORD"})  # of `ledger import`
TESTS = frozenset({"LEDGER_FUZZ", "LEDGER_FUZZ_SECONDS", "LEDGER_FUZZ_SEED"})
POSTGRES_IMAGE = frozenset(  # an `.env` that a compose file passes to the official image has these as well
    {
        "POSTGRES_INITDB_ARGS",
        "POSTGRES_INITDB_ARGS_FILE",
        "POSTGRES_INITDB_WALDIR",
        "POSTGRES_HOST_AUTH_METHOD",
        "POSTGRES_USER_FILE",
        "POSTGRES_PASSWORD_FILE",
        "POSTGRES_DB_FILE",
    }
)
FREQUENT = {  # names that operators try, whose right name is spelt too differently to be found by likeness
    "LEDGER_HOST": "SERVICE_HOST",
    "LEDGER_PORT": "SERVICE_PORT",
    "LEDGER_LOG_LEVEL": "LOG_LEVEL",
    "POSTGRES_URL": "DATABASE_URL",
    "POSTGRES_SSLMODE": "DATABASE_URL",
    "REDIS_PASSWORD": "REDIS_URL",
    "REDIS_USERNAME": "REDIS_URL",
    "REDIS_DB": "REDIS_URL",
}

_LINK = re.compile(r"(?:tcp|udp|sctp)://\S+")
_LINKED_PORT = re.compile(r"[A-Z0-9_]+_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO|START|END))?")
_LINK_TAIL = re.compile(r"_(?:PORT|NAME|ENV_.+|SERVICE_HOST|SERVICE_PORT(?:_.+)?)")
_OWN_LINE = re.compile(rf"^\s*(?:export\s+)?(?:{'|'.join(OWN_PREFIXES)})\w+\s*=", re.MULTILINE)


class SettingsError(Exception):
    """A setting cannot be used. One line, which names the variable and never its value."""


class Variable(NamedTuple):
    """A variable and where it is set: `the environment`, or a file and the line."""

    name: str
    value: str
    place: str


def read(environment: Mapping[str, str], settings: Collection[str]) -> dict[str, str]:
    """Return the settings that have a value, by their names in lower case. Raises `SettingsError`.

    `settings` are the names of all settings in capitals.
    """
    own = list(_of_environment(environment))
    written = list(_of_chosen_file(environment))
    _check_names([*own, *written], environment, settings)
    return _values([*written, *own], settings)


def passed_on(environment: Mapping[str, str], settings: Collection[str]) -> dict[str, str]:
    """Return the settings that a parent process passed on, which has checked them: no file is read."""
    return _values(_of_environment(environment), settings)


def without_settings(environment: Mapping[str, str], settings: Collection[str]) -> dict[str, str]:
    """Return the environment without anything that `read` would take a setting from."""
    dropped = SOURCES.union(settings)
    return {name: value for name, value in environment.items() if name.upper() not in dropped}


def _values(variables: Collection[Variable] | Iterator[Variable], settings: Collection[str]) -> dict[str, str]:
    known = frozenset(settings)
    return {name.lower(): value for name, value, _ in variables if name in known and value}


def _of_environment(environment: Mapping[str, str]) -> Iterator[Variable]:
    """Yield the variables of the environment, but none that a container engine made up for a link."""
    for name, value in sorted(environment.items(), reverse=True):  # of two spellings, the capitals come last and win
        if not (name.upper().endswith("_PORT") and _LINK.fullmatch(value)):
            yield Variable(name.upper(), value, "the environment")


def _of_chosen_file(environment: Mapping[str, str]) -> Iterator[Variable]:
    """Yield the variables of the file to read. One that a variable asks for must exist; `.env` need not."""
    named = environment.get(ENV_FILE)
    usual = Path(".env")
    if named:
        yield from _of_file(Path(named), asked_by=ENV_FILE)
    elif environment.get(ENV_TEST) == "1":
        yield from _of_file(Path(".env_test"), asked_by=ENV_TEST)
    elif usual.exists() and not usual.is_dir():  # a folder is somebody's virtual environment
        yield from _of_file(usual)


def _of_file(path: Path, *, asked_by: str | None = None) -> Iterator[Variable]:
    for binding in parse_stream(StringIO(_text(path, asked_by))):
        place = f"{path}:{_line(binding)}"
        if binding.error or (binding.value is not None and _swallowed_lines(binding)):
            raise SettingsError(f"{place}: cannot be read: is a quotation mark or an equals sign missing?")
        if binding.key is None:
            continue
        if binding.value is None:
            if binding.key.upper().startswith(OWN_PREFIXES):
                raise SettingsError(f"{place}: {binding.key}: has no equals sign and no value")
            continue
        if binding.key.upper() == ENV_FILE:
            raise SettingsError(f"{place}: {ENV_FILE}: has an effect in the environment only")
        yield Variable(binding.key.upper(), binding.value, place)


def _text(path: Path, asked_by: str | None) -> str:
    place = f"{asked_by}: {path}" if asked_by else str(path)
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{place}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{place}: cannot be read: is not UTF-8") from None


def _line(binding: Binding) -> int:
    """Return the line on which a binding begins; the parser counts the empty lines before it as its own."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _swallowed_lines(binding: Binding) -> bool:
    """Return whether a value has several lines that it should not have: its closing quotation mark is missing."""
    name, value = binding.key or "", binding.value or ""
    return "\n" in value and (name.upper().startswith(OWN_PREFIXES) or _OWN_LINE.search(value) is not None)


def _check_names(variables: Collection[Variable], environment: Mapping[str, str], settings: Collection[str]) -> None:
    listed = next((variable.value for variable in variables if variable.name == FOREIGN), "")
    right = SOURCES.union(settings) - {ENV_TEST}
    known = right | CLIENTS | TESTS | POSTGRES_IMAGE | set(listed.upper().split())
    links = _link_names(environment)
    unknown = [variable for variable in variables if variable.name not in known]
    problems = [
        f"{name}: unknown setting in {place}{_advice(name, right | CLIENTS)}"
        for name, _, place in sorted(unknown)
        if _is_misspelt(name, right) and not _is_linked(name, links)
    ]
    if problems:
        raise SettingsError("; ".join(problems))


def _is_misspelt(name: str, right: Collection[str]) -> bool:
    if name.startswith(OWN_PREFIXES):
        return True
    return name.startswith(SHARED_PREFIXES) and bool(get_close_matches(name, right, 1, NEAR_MISS))


def _advice(name: str, right: Collection[str]) -> str:
    nearest = FREQUENT.get(name) or next(iter(get_close_matches(name, sorted(right), 1)), None)
    return f"; did you mean {nearest}?" if nearest else ""


def _link_names(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the names, in capitals, of the services that Docker or Kubernetes describes in the environment.

    Both set `NAME_PORT` to a URL. Kubernetes sets `NAME_SERVICE_HOST` and `NAME_SERVICE_PORT` as well.
    """
    ports = (name for name, value in environment.items() if name.endswith("_PORT") and _LINK.fullmatch(value))
    hosts = (name.removesuffix("_SERVICE_HOST") for name in environment if name.endswith("_SERVICE_HOST"))
    return frozenset(
        [
            *(name.removesuffix("_PORT") for name in ports),
            *(name for name in hosts if f"{name}_SERVICE_PORT" in environment),
        ]
    )


def _is_linked(name: str, links: Collection[str]) -> bool:
    if _LINKED_PORT.fullmatch(name):
        return True
    return any(name.startswith(link) and _LINK_TAIL.fullmatch(name, len(link)) for link in links)
