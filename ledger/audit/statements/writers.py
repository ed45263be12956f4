"""Write statements: any format as pieces of bytes, in the order in which they are read."""

from collections.abc import AsyncIterator, Callable, Mapping

from ledger.audit.statements import pdf
from ledger.audit.statements.camt import CamtWriter, check_camt
from ledger.audit.statements.model import Format, Lines, Statement, StatementError, Writer
from ledger.audit.statements.reading import Part, read_lines
from ledger.audit.statements.text import CsvWriter, JsonWriter
from ledger.store.connections import Reader
from ledger.store.sql import Party

MAX_PDF_LINES = 5_000
_WRITERS: Mapping[Format, type[Writer]] = {Format.JSON: JsonWriter, Format.CSV: CsvWriter, Format.CAMT: CamtWriter}


def check_format(statement: Statement, format_: Format) -> None:
    """Raise `StatementError` if a format cannot show a statement."""
    if format_ is Format.CAMT:
        check_camt(statement.currency, statement.digits)
    if format_ is Format.PDF and statement.line_count > MAX_PDF_LINES:
        raise StatementError(
            f"the statement has {statement.line_count:,} lines, and a PDF at most {MAX_PDF_LINES:,}: "
            "choose a shorter period, or csv or json"
        )


async def write_statement(
    reader: Reader,
    statement: Statement,
    part: Part,
    party: Party | None,
    format_: Format,
    renew: Callable[[], None] = lambda: None,
) -> AsyncIterator[bytes]:
    """Yield a statement in a format. `party` sees the names of its own accounts only; None sees all.

    `renew` is called before each chunk is read. Raises `StatementError` if the format cannot show the statement.
    """
    check_format(statement, format_)
    chunks = read_lines(reader, statement, part, party, renew)
    renew()
    if format_ is Format.PDF:
        pieces = [piece async for piece in _write_text(statement, chunks, JsonWriter())]
        yield await pdf.typeset(b"".join(pieces))
        return
    async for piece in _write_text(statement, chunks, _WRITERS[format_]()):
        yield piece


async def _write_text(statement: Statement, chunks: AsyncIterator[Lines], writer: Writer) -> AsyncIterator[bytes]:
    yield writer.begin(statement).encode()
    is_first = True
    async for lines in chunks:
        yield writer.write(statement, lines, is_first=is_first).encode()
        is_first = is_first and not lines
    yield writer.end(statement).encode()
