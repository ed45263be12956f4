"""Read settings from the environment and from one file: `.env`, unless a variable names another.

The environment takes precedence. The service does not start if a variable has a prefix of the ledger but is not a
setting, or if a line of the file cannot be parsed: a setting that is silently ignored does more harm. In a value every
character is literal, including `$`.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import Binding, parse_stream

from ledger.environment.secret_files import SUFFIX, read_secret_files
from ledger.environment.settings_error import SettingsError

__all__ = ["SettingsError"]

ENV_FILE = "LEDGER_ENV_FILE"
ENV_TEST = "ENV_TEST"
FOREIGN = "LEDGER_FOREIGN_VARIABLES"
SOURCES = frozenset({ENV_FILE, ENV_TEST, FOREIGN})  # variables that say how the others are read

OWN_PREFIXES = ("LEDGER_", "JWT_", "SERVICE_", "POSTGRES_", "REDIS_")
SHARED_PREFIXES = ("DATABASE_", "LOG_")  # shared with other programs: only a near miss is a misspelling
NEAR_MISS = 0.885  # DATABASE_ULR is a near miss of DATABASE_URL, DATABASE_USER is not

CLIENTS = frozenset({"LEDGER_URL", "LEDGER_USERNAME", "LEDGER_PASSWORD", "LEDGER_OTP"})  # of `ledger import`
TESTS = frozenset({"LEDGER_FUZZ", "LEDGER_FUZZ_SECONDS", "LEDGER_FUZZ_SEED"})
POSTGRES_IMAGE = frozenset(  # in an `.env` that a compose file passes to the official image
    {
        "POSTGRES_INITDB_ARGS",
        "POSTGRES_INITDB_ARGS_FILE",
        "POSTGRES_INITDB_WALDIR",
        "POSTGRES_HOST_AUTH_METHOD",
        "POSTGRES_USER_FILE",
        "POSTGRES_DB_FILE",
    }
)
COMMON_MISTAKES = {  # names that operators try, too unlike the valid name to be matched with it
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


class Variable(NamedTuple):
    """A variable, and where it is set: `the environment`, or a file and line."""

    name: str
    value: str
    place: str


def read(environment: Mapping[str, str], settings: Collection[str], secrets: Collection[str]) -> dict[str, str]:
    """Return the settings that have a value, by name in lower case. Raises `SettingsError`.

    `settings` has the names of all settings, in upper case, and `secrets` of those that a file may have.
    """
    exported = list(_read_environment(environment))
    written = list(_read_chosen_file(environment))
    names = {*settings, *name_files(secrets)}
    _check_names([*exported, *written], environment, names)
    return read_secret_files(_select_settings([*written, *exported], names), secrets)


def name_files(secrets: Collection[str]) -> set[str]:
    """Return the variables that name the files of secrets."""
    return {f"{secret}{SUFFIX}" for secret in secrets}


def read_passed_on(environment: Mapping[str, str], settings: Collection[str]) -> dict[str, str]:
    """Return the settings that the parent process passed on. It has checked them and read the file."""
    return _select_settings(_read_environment(environment), settings)


def without_settings(environment: Mapping[str, str], settings: Collection[str]) -> dict[str, str]:
    """Return the environment without the variables that `read` uses."""
    dropped = SOURCES.union(settings)
    return {name: value for name, value in environment.items() if name.upper() not in dropped}


def _select_settings(variables: Collection[Variable] | Iterator[Variable], settings: Collection[str]) -> dict[str, str]:
    known = frozenset(settings)
    return {name.lower(): value for name, value, _ in variables if name in known and value}


def _read_environment(environment: Mapping[str, str]) -> Iterator[Variable]:
    """Yield the variables of the environment, without those that a container engine adds for a link."""
    for name, value in sorted(
        environment.items(), reverse=True
    ):  # of two spellings, the one in upper case comes last and wins
        if not (name.upper().endswith("_PORT") and _LINK.fullmatch(value)):
            yield Variable(name.upper(), value, "the environment")


def _read_chosen_file(environment: Mapping[str, str]) -> Iterator[Variable]:
    """Yield the variables of the settings file. A file that a variable names must exist; `.env` need not."""
    named = environment.get(ENV_FILE)
    default = Path(".env")
    if named:
        yield from _read_file(Path(named), named_by=ENV_FILE)
    elif environment.get(ENV_TEST) == "1":
        yield from _read_file(Path(".env_test"), named_by=ENV_TEST)
    elif default.exists() and not default.is_dir():  # a folder named `.env` is a virtual environment
        yield from _read_file(default)


def _read_file(path: Path, *, named_by: str | None = None) -> Iterator[Variable]:
    for binding in parse_stream(StringIO(_read_text(path, named_by))):
        place = f"{path}:{_find_line(binding)}"
        if binding.error or (binding.value is not None and _swallows_lines(binding)):
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


def _read_text(path: Path, named_by: str | None) -> str:
    place = f"{named_by}: {path}" if named_by else str(path)
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{place}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{place}: cannot be read: is not UTF-8") from None


def _find_line(binding: Binding) -> int:
    """Return the line on which a binding begins; the parser includes the empty lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _swallows_lines(binding: Binding) -> bool:
    """Return whether a value includes later lines by mistake, because its closing quotation mark is missing."""
    name, value = binding.key or "", binding.value or ""
    return "\n" in value and (name.upper().startswith(OWN_PREFIXES) or _OWN_LINE.search(value) is not None)


def _check_names(variables: Collection[Variable], environment: Mapping[str, str], settings: Collection[str]) -> None:
    listed = next((variable.value for variable in variables if variable.name == FOREIGN), "")
    valid = SOURCES.union(settings) - {ENV_TEST}
    known = valid | CLIENTS | TESTS | POSTGRES_IMAGE | set(listed.upper().split())
    links = _link_names(environment)
    unknown = [variable for variable in variables if variable.name not in known]
    problems = [
        f"{name}: unknown setting in {place}{_suggest(name, valid | CLIENTS)}"
        for name, _, place in sorted(unknown)
        if _is_misspelt(name, valid) and not _is_linked(name, links)
    ]
    if problems:
        raise SettingsError("; ".join(problems))


def _is_misspelt(name: str, valid: Collection[str]) -> bool:
    if name.startswith(OWN_PREFIXES):
        return True
    return name.startswith(SHARED_PREFIXES) and bool(get_close_matches(name, valid, 1, NEAR_MISS))


def _suggest(name: str, valid: Collection[str]) -> str:
    nearest = COMMON_MISTAKES.get(name) or next(iter(get_close_matches(name, sorted(valid), 1)), None)
    return f"; did you mean {nearest}?" if nearest else ""


def _link_names(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the names, in upper case, of the services that Docker or Kubernetes describes in the environment.

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
