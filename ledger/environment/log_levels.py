"""Log levels: a default level, and other levels for some modules."""

import re
from typing import NamedTuple

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
OFF = 100
DEFAULT = "info"

_NAMES = {**LEVELS, "trace": LEVELS["debug"], "warn": LEVELS["warning"], "off": OFF}
_MODULE = re.compile(r"[A-Za-z_][\w.:-]*")


class Levels(NamedTuple):
    """The default level, and the levels of modules that a directive names, most specific first."""

    default: int
    modules: tuple[tuple[str, int], ...] = ()

    def of(self, module: str) -> int:
        """Return the level of a module; a directive for `ledger` applies to `ledger.write.committer` too."""
        for name, level in self.modules:
            if module == name or module.startswith(f"{name}."):
                return level
        return self.default


def parse_levels(text: str) -> Levels:
    """Parse directives such as `info,aiohttp.access=debug`. Raises `ValueError`.

    A directive is `LEVEL` or `MODULE=LEVEL`. Of two for the same module, the later one applies.
    """
    default, modules = LEVELS[DEFAULT], dict[str, int]()
    for number, directive in enumerate(text.split(","), 1):
        module, equals, name = (part.strip() for part in directive.rpartition("="))
        level = _NAMES.get(name.lower())
        if level is None or (equals and not _MODULE.fullmatch(module)):
            raise ValueError(f"directive {number} must be LEVEL or MODULE=LEVEL, with a level of {', '.join(_NAMES)}")
        if equals:
            modules[module] = level
        else:
            default = level
    return Levels(default, tuple(sorted(modules.items(), key=lambda item: len(item[0]), reverse=True)))
