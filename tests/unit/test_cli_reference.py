"""docs/reference/cli.md documents every command, argument and option of the code."""

from ledger.cli import reference
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/reference/cli.md").read_text()


def test_the_reference_is_up_to_date_with_the_code() -> None:
    assert reference.markdown() == PAGE, "run `make reference`"


def test_every_command_has_a_section_with_all_its_arguments() -> None:
    sections = dict(text.split("\n", 1) for text in PAGE.split("\n## ")[1:])
    found = dict(reference.commands())
    assert sections.keys() == found.keys()
    assert len(found) > 20
    for name, command in found.items():
        shown = {
            option for option in command.params if str(option.opts[0]).upper().lstrip("-") in sections[name].upper()
        }
        assert {option for option in command.params if option.name != "help"} <= shown, name


def test_every_command_and_argument_has_a_help_text() -> None:
    explained = {
        (name, parameter.name): bool(parameter.help)
        for name, command in reference.commands()
        for parameter in command.params
    }
    assert [] == [pair for pair, has_help in explained.items() if not has_help]
    assert [] == [name for name, command in reference.commands() if not command.help]
