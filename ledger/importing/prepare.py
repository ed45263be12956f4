"""Check a whole file, and keep its requests: nothing is sent before the last line is known to be right.

Requests are kept in a temporary file, so memory stays bounded, and what was checked is what is sent.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple, Self

from ledger.importing import identity
from ledger.importing.compare import money_of
from ledger.importing.draft import KINDS, SOURCES, Draft, Drafts, Kind, Reading, Source
from ledger.importing.faults import MAX_FAULTS, Fault, FaultyFileError, FileFaultError, Place
from ledger.importing.identity import Identities, Run, Seen
from ledger.importing.members import Checked, check, encode
from ledger.importing.readers import open_reader
from ledger.money import Assets

_SPOOL_BYTES = 8 << 20  # in memory; more goes to disk
_BLOCK = 1000  # requests that are written to the file at once


class Request(NamedTuple):
    """A line of the file, and the request for it, which ends in a line feed."""

    line: int
    kind: Kind
    body: bytes
    source: Source


class Prepared:
    """The requests of a file that is right, and the currency that the file gives each account that pays."""

    def __init__(self) -> None:
        self.count = 0
        self.currencies: dict[tuple[str, str], int] = {}  # the first line of an account with a currency
        self._block: list[bytes] = []
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - `__exit__` closes it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, request: Request) -> None:
        """Keep another request."""
        self.count += 1
        line, kind, body, source = request
        self._block.append(b"%d %d %d %b\n" % (line, KINDS.index(kind), SOURCES.index(source), body))
        if len(self._block) >= _BLOCK:
            self._write()

    def requests(self) -> Iterator[Request]:
        """Yield all requests from the first. Only one iteration at a time is possible."""
        self._write()
        self._file.seek(0)
        for text in self._file:
            line, kind, source, body = text.split(b" ", 3)
            yield Request(int(line), KINDS[int(kind)], body, SOURCES[int(source)])

    def _write(self) -> None:
        self._file.write(b"".join(self._block))
        self._block.clear()


class Preparation:
    """The check of one file."""

    def __init__(self, run: str | None, identities: Identities, assets: Assets) -> None:
        self.prepared = Prepared()
        self.faults: list[Fault] = []
        self._run = None if run is None else Run(run)
        self._demanded_run = False
        self._identities = identities
        self._assets = assets

    def take_all(self, drafts: Drafts, on_line: Callable[[], None]) -> None:
        """Check all lines. Raises `FaultyFileError` as soon as there are too many faults."""
        try:
            for draft in drafts:
                on_line()
                self._take(draft)
                if len(self.faults) >= MAX_FAULTS:
                    raise FaultyFileError(self.faults[:MAX_FAULTS], complete=False)
        except FileFaultError as error:
            self.faults.append(error.fault)
            raise FaultyFileError(self.faults, complete=False) from None
        if self.faults:
            raise FaultyFileError(self.faults, complete=True)

    def _take(self, draft: Draft | Fault) -> None:
        if isinstance(draft, Fault):
            self.faults.append(draft)
            return
        checked = check(draft, self._assets)
        if isinstance(checked, list):
            self.faults += checked
        else:
            self._identify(draft, checked)

    def _identify(self, draft: Draft, checked: Checked) -> None:
        content = encode(checked.body)
        own = _own_identity(draft, checked)
        if own is not None:
            said = identity.digest(checked.kind.encode(), encode(money_of(checked.body)) if draft.key else content)
            seen = self._identities.take(own, draft.line, said)
            if seen.content != said:
                self.faults.append(_explain_conflict(draft, checked, seen))
            key = own
        elif self._run is None:
            self._demand_run(draft)
            return
        else:
            first = self._run.identify(checked.kind, content)
            key = identity.repeat(first, self._identities.take(first, draft.line).times)
        self._keep(draft, checked, checked.id or identity.make_id(key), content)

    def _demand_run(self, draft: Draft) -> None:
        if not self._demanded_run:  # once a file is enough
            why = "the line has neither an id nor a reference: give --run NAME, such as --run 2026-06-rent"
            self.faults.append(Fault(Place(draft.line, 1), why))
        self._demanded_run = True

    def _keep(self, draft: Draft, checked: Checked, request_id: str, content: bytes) -> None:
        if checked.currency is not None and not draft.is_export and checked.kind != "journal":
            self.prepared.currencies.setdefault((checked.body["source_account_id"], checked.currency), draft.line)
        body = b'{"id":"%b",%b' % (request_id.encode(), content[1:])
        self.prepared.add(Request(draft.line, checked.kind, body, draft.source))


def prepare(path: Path, reading: Reading, run: str | None, on_line: Callable[[], None] = lambda: None) -> Prepared:
    """Return the requests of a file. Raises `FaultyFileError`, or `OptionError` if an option is missing or wrong."""
    with Identities() as identities, ExitStack() as stack:
        preparation = Preparation(run, identities, reading.assets)
        stack.enter_context(preparation.prepared)
        try:
            drafts = open_reader(path, reading)
        except FileFaultError as error:
            raise FaultyFileError([error.fault], complete=False) from None
        preparation.take_all(drafts, on_line)
        stack.pop_all()
    return preparation.prepared


def _own_identity(draft: Draft, checked: Checked) -> bytes | None:
    if checked.id is not None:
        return identity.by_id(checked.id)
    if (reference := checked.body.get("reference")) is not None:
        return identity.by_reference(checked.kind, reference)
    return None if draft.key is None else identity.by_bank(draft.key)


def _explain_conflict(draft: Draft, checked: Checked, seen: Seen) -> Fault:
    name = "id" if checked.id is not None else "reference"
    return Fault(draft.locate(name), f"{name}: line {seen.line} has the same, and says something else")
