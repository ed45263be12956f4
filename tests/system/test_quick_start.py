"""The README's quick start works in every shell, however often it is pasted."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Ledger, run_program

README = (ROOT / "README.md").read_text()
SCRIPT = re.compile(r"<!-- quick start -->\n```sh\n(.*?)```\n<!-- /quick start -->", re.DOTALL)
SHELLS = {  # interactive, as a terminal starts them, but without the user's configuration
    "bash": ("bash", "--norc", "--noprofile", "--noediting", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "dash": ("dash", "-i"),
}


def found(pattern: re.Pattern[str]) -> str:
    (text,) = pattern.findall(README)
    return str(text)


def at(url: str, script: str) -> str:
    return script.replace("http://127.0.0.1:8080", url)


async def test_the_quick_start_can_be_pasted_again_and_again_into_any_shell(tmp_path: Path, service: Ledger) -> None:
    """It is pasted twice into each installed shell, and only the first run creates anything."""
    url = await service.url()
    pasted = at(url, found(SCRIPT)) * 2
    shells = [command for name, command in SHELLS.items() if shutil.which(name)]
    assert SHELLS["bash"] in shells
    answers = []
    for shell in shells:
        _, output, errors = await run_program(*shell, folder=tmp_path, given=pasted)
        assert [] == re.findall(r"(?i)not found|error|there is no|curl:|substitution", errors), errors
        answers += output.splitlines()

    transfers = [json.loads(answer) for answer in (*answers[0::5], *answers[1::5])]
    assert [2 * len(shells)] * 5 == [len(answers[start::5]) for start in range(5)]
    assert 1 == len({transfer["id"] for transfer in transfers})
    assert {("7500", "2500")} == set(zip(answers[2::5], answers[3::5], strict=True))
    assert ["transfer_insufficient_funds"] * 2 * len(shells) == [
        json.loads(answer)["errors"][0]["code"] for answer in answers[4::5]
    ]


async def test_a_failure_shows_the_message_of_the_service(tmp_path: Path, service: Ledger) -> None:
    (tmp_path / "elsewhere" / ".ledger").mkdir(parents=True)
    (tmp_path / "elsewhere" / ".ledger" / "admin-password").write_text("the wrong password\n")
    script = at(await service.url(), found(SCRIPT))

    _, _, errors = await run_program(*SHELLS["bash"], folder=tmp_path / "elsewhere", given=script)

    assert "there is no access_token in the answer: " in errors
    assert "wrong credentials" in errors
    assert "Traceback" not in errors


async def test_without_a_service_the_quick_start_says_so(tmp_path: Path) -> None:
    (tmp_path / ".ledger").mkdir()
    (tmp_path / ".ledger" / "admin-password").write_text("x\n")
    _, _, errors = await run_program(*SHELLS["bash"], folder=tmp_path, given=at("http://127.0.0.1:1", found(SCRIPT)))
    assert "curl: (7)" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("trap", "why"),
    [
        (r"(^|\s)#", "zsh runs comments that are typed in"),
        (r"!", "bash replaces it by an earlier command"),
        (r"\$\{", "dash knows few expansions, and none of positions and patterns"),
        (r"\b(path|status|argv|options|functions|aliases|signals)=", "zsh keeps these for itself"),
        (r"\[\[|<<<|<\(|\bfunction\b|\bsource\b|\blocal\b|\$'", "POSIX shells need not know it"),
        (r"\t", "a terminal completes it"),
        (r"[?*=~](?=[\w/]*\s[^=']*$)(?<![\w)]=)", "zsh expands it, and stops if nothing matches"),
        (r"(^|[^'\"\w-])\$[A-Z]\w*(?![\w\"'])", "bash splits what is not quoted"),
    ],
)
def test_no_line_of_the_quick_start_is_a_trap_in_some_shell(trap: str, why: str) -> None:
    """This holds for shells that are not installed, too."""
    code = re.sub(r"python3 -c '.*?'", "python3 -c ''", found(SCRIPT), flags=re.DOTALL)
    assert [] == [line for line in code.splitlines() if re.search(trap, line)], why
