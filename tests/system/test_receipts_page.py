"""docs/reference/receipts.md is enough to check a receipt: its verifiers run as they stand there, on its vectors."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.identity.keys import published_keys
from ledger.seals import merkle, receipts
from ledger.seals.blocks import event_leaf
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/reference/receipts.md").read_text()
NODE = shutil.which("node")
LANGUAGES = {
    "python": ("check.py", sys.executable),
    **({"js": ("check.mjs", NODE or "node")} if NODE or "CI" in os.environ else {}),
}
by_language = pytest.mark.parametrize("language", LANGUAGES)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


*RECEIPTS, KEYS = map(json.loads, blocks("json"))
by_version = pytest.mark.parametrize("expected", RECEIPTS, ids=["version 1", "version 2"])


def run(language: str, folder: Path, receipt: Any, keys: Any = KEYS) -> tuple[int, str]:
    """Run a verifier of the page on files alone, without the packages of this project."""
    name, program = LANGUAGES[language]
    (code,) = blocks(language)
    for file, text in ((name, code), ("receipt.json", json.dumps(receipt)), ("keys.json", json.dumps(keys))):
        (folder / file).write_text(text)
    isolated = ["-I", "-S"] if language == "python" else []
    command = [program, *isolated, name, "receipt.json", "keys.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout.strip()


def changed(receipt: Any) -> Iterator[Any]:
    """Yield a receipt with each value of its last proof changed."""
    for group in (("event",), ("block",), ("block", "commands"), ()):
        proof = receipt["proofs"][-1]
        for part in group:
            proof = proof.get(part, {})
        for name, value in proof.items():
            copy = json.loads(json.dumps(receipt))
            target = copy["proofs"][-1]
            for part in group:
                target = target[part]
            match value:
                case int():
                    target[name] = value + 1
                case list():
                    target[name] = value[1:]
                case str():
                    target[name] = value.replace(value[1], "B" if value[1] == "A" else "A", 1)
                case _:
                    continue
            yield copy


@by_version
def test_the_vectors_are_those_of_the_service(expected: Any) -> None:
    keys = {key.kid: key for key in published_keys(KEYS)}
    receipt = receipts.check(json.dumps(expected).encode(), keys)
    header = receipt.proofs[0].block
    leaves = [event_leaf(proof.event.row(), proof.command_digest) for proof in receipt.proofs]
    for value in (*leaves, header.root, header.hash()):
        assert f"`{value.hex()}`" in PAGE
    assert expected == msgspec.to_builtins(receipt)
    assert merkle.leads_to(header.root, leaves[0], 1, header.count, receipt.proofs[0].path)


def test_the_second_block_follows_the_first() -> None:
    first, second = (msgspec.convert(receipt, receipts.Receipt).proofs[0].block for receipt in RECEIPTS)
    assert (first.hash(), first.last_position + 1) == (second.previous, second.first_position)


@by_language
@by_version
def test_a_verifier_of_the_page_proves_its_receipt_and_no_changed_one(
    language: str, expected: Any, tmp_path: Path
) -> None:
    assert (0, "proven") == run(language, tmp_path, expected)
    some = [*changed(expected)]
    assert len(some) > 15
    for receipt in some:
        status, said = run(language, tmp_path, receipt)
        assert (True, True) == (status != 0, said != "proven"), receipt


@by_language
def test_a_verifier_of_the_page_proves_receipts_with_blocks_of_both_versions(language: str, tmp_path: Path) -> None:
    proofs = [proof for receipt in RECEIPTS for proof in receipt["proofs"]]
    assert (0, "proven") == run(language, tmp_path, {"format": "ledger-receipt-2", "proofs": proofs})
    for number in (0, 1, 3):
        assert 0 != run(language, tmp_path, {"format": f"ledger-receipt-{number}", "proofs": proofs})[0]


@by_language
@by_version
def test_a_verifier_of_the_page_wants_a_digest_for_a_block_with_commands_alone(
    language: str, expected: Any, tmp_path: Path
) -> None:
    *others, last = expected["proofs"]
    for digest in ({}, {"command_digest": ""}, {"command_digest": "A" * 43 + "="}, {"command_digest": "AAAA"}):
        proof = {name: value for name, value in last.items() if name != "command_digest"} | digest
        if proof != last:
            for number in (1, 2):
                receipt = {"format": f"ledger-receipt-{number}", "proofs": [*others, proof]}
                assert 0 != run(language, tmp_path, receipt)[0], receipt


@by_language
@by_version
def test_a_verifier_of_the_page_trusts_the_given_keys_alone(language: str, expected: Any, tmp_path: Path) -> None:
    stranger = {**KEYS["keys"][0], "x": "B" + KEYS["keys"][0]["x"][1:]}
    for keys in ([], [stranger], [{**stranger, "kid": "another"}]):
        assert 0 != run(language, tmp_path, expected, {"keys": keys})[0]
    for receipt in ({**expected, "proofs": []}, {**expected, "format": "ledger-receipt-0"}):
        assert 0 != run(language, tmp_path, receipt)[0]
