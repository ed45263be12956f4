"""The reference of commands, as the Markdown of `docs/reference/cli.md`; `python -m ledger.cli.reference` prints it."""

import sys
from collections.abc import Iterator
from typing import Any, get_args

from ledger.cli import root

_INTRODUCTION = """\
# Commands

<!-- Made by `make reference`; a test fails when it is stale. -->

`make run` installs the command as `.venv/bin/ledger`. It reads its [settings](settings.md) from the environment or
`.env`. Every command has `--help`. The exit status is 0 on success, 1 on a finding or failure, and 2 on wrong usage.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command with its full name, such as `ledger audit verify`, in alphabetical order."""
    yield from sorted(_below("ledger", root()))


def markdown() -> str:
    """Return the whole page."""
    found = list(commands())
    rows = "".join(f"| [`{name}`](#{_anchor(name)}) | {_summary(command)} |\n" for name, command in found)
    table = f"| command | what it does |\n| --- | --- |\n{rows}"
    return "\n".join([_INTRODUCTION, table, *(_section(name, command) for name, command in found)])


def main() -> None:
    """Print the page."""
    sys.stdout.write(markdown())


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child, below in children.items():
        yield from _below(f"{name} {child}", below)


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _summary(command: Any) -> str:
    return str(command.help or "").strip().partition("\n\n")[0].replace("\n", " ")


def _section(name: str, command: Any) -> str:
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in str(command.help or "").strip().split("\n\n"))
    usage = " ".join([name, *(_usage(parameter) for parameter in command.params if parameter.name != "help")])
    rows = "".join(_row(parameter) for parameter in command.params if parameter.name != "help")
    table = f"\n| argument or option | meaning | default |\n| --- | --- | --- |\n{rows}" if rows else ""
    return f"## {name}\n\n`{usage}`\n\n{text}\n{table}"


def _usage(parameter: Any) -> str:
    """Return an argument as `FILE`, and an option as `--limit VALUE`, in brackets if it is optional."""
    text = _name(parameter)
    if parameter.nargs < 0 or getattr(parameter, "multiple", False):
        text += "…"
    return text if parameter.required else f"[{text}]"


def _name(parameter: Any) -> str:
    if not _is_option(parameter):
        return str(parameter.name).upper()
    return str(parameter.opts[0]) if _is_flag(parameter) else f"{parameter.opts[0]} {_values(parameter)}"


def _is_option(parameter: Any) -> bool:
    return str(parameter.opts[0]).startswith("-")


def _is_flag(parameter: Any) -> bool:
    return isinstance(parameter.default, bool)


def _values(parameter: Any) -> str:
    """Return the values that an option can have if they are listed, else the last word of its name in capitals."""
    annotation = parameter.type_descriptor.annotation
    listed = [choice for choice in get_args(annotation) if isinstance(choice, str)]
    choices = listed or [member.value for member in getattr(annotation, "__members__", {}).values()]
    return "|".join(choices) or parameter.metavar or str(parameter.opts[0]).rpartition("-")[2].upper()


def _row(parameter: Any) -> str:
    name = _name(parameter).replace("|", "\\|")
    return f"| `{name}` | {_meaning(parameter)} | {_default(parameter)} |\n"


def _meaning(parameter: Any) -> str:
    text = " ".join(str(parameter.help or "").split())
    return f"{text} Also `{parameter.envvar}`." if parameter.envvar else text


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if _is_flag(parameter):
        return "on" if parameter.default else "off"
    return "none" if parameter.default in (None, (), []) else f"`{parameter.default}`"


if __name__ == "__main__":
    main()
