"""Statements of accounts, in the format that the client asks for."""

from collections.abc import AsyncIterator
from uuid import UUID

from aiohttp import hdrs, web

from ledger import errors
from ledger.audit.statements.model import Format, Statement, StatementError
from ledger.audit.statements.pdf import TypesettingTimeoutError
from ledger.audit.statements.reading import Part, Selection, read_statement
from ledger.audit.statements.writers import check_format, write_statement
from ledger.concurrency.deadline import start_deadline
from ledger.errors import OverloadedError, Refused
from web.auth import check_again
from web.handlers.accounts import find_spans, readable_owner
from web.handlers.effective_entries import BY
from web.http.account_refs import read_path_account
from web.http.concurrency import ConcurrencyLimit
from web.http.negotiation import MIN_BYTES, accept_of, choose_coding, choose_media, compress
from web.http.params import FROM_TIME, TO_TIME, choice_parameter
from web.http.replica import reader
from web.http.request import ACTOR, REQUEST_ID, RUNTIME
from web.http.response import Reply, Stream

MEDIA = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PDF: "application/pdf",
    Format.CAMT: "application/xml",
}
MAX_SMALL = 500  # lines of a statement that is not streamed
MAX_STREAMS = 8  # of a worker
MAX_STREAMS_EACH = 2  # of one caller
MAX_PDFS = 1  # processes of a worker that make a PDF
MAX_WAITING = 16
WAIT_SECONDS = 20.0

FROM = FROM_TIME.named("from")
TO = TO_TIME.named("to")
FORMAT = choice_parameter("format", "The format; by default the one that `Accept` prefers", [*map(str, Format)])
PARAMETERS = (FROM, TO, BY, FORMAT)


class Statements:
    """A worker's limits for statements: on those that are streamed, and on those that become a PDF."""

    def __init__(self) -> None:
        self.streams = ConcurrencyLimit(
            MAX_STREAMS, each=MAX_STREAMS_EACH, queue=MAX_WAITING, wait_seconds=WAIT_SECONDS
        )
        self.pdfs = ConcurrencyLimit(MAX_PDFS, queue=MAX_WAITING, wait_seconds=WAIT_SECONDS)


STATEMENTS = web.AppKey("STATEMENTS", Statements)


async def get_statement(request: web.Request) -> Reply | Stream:
    """GET /accounts/{id}/statement: a period with its balances, its entries and its sums.

    A long statement is streamed in chunks, so a worker has only a few lines of it in memory. A client whose stream is
    broken off has an incomplete statement.
    """
    account_id, format_ = await read_path_account(request), _read_format(request)
    statement, part = await _read_head(request, account_id)
    try:
        check_format(statement, format_)
    except StatementError as error:
        raise Refused(errors.invalid_parameter(FORMAT.name, str(error))) from None
    caller, limits = request[ACTOR].user_id, request.app[STATEMENTS]
    if format_ is Format.PDF:
        async with limits.pdfs.admit(caller):
            return await _answer_whole(request, statement, part, format_)
    if statement.line_count <= MAX_SMALL:
        return await _answer_whole(request, statement, part, format_)
    async with limits.streams.admit(caller):
        return await _stream(request, statement, part, format_)


def _read_format(request: web.Request) -> Format:
    given = FORMAT.read(request)
    if given is not None:
        return Format(given)
    chosen = choose_media(accept_of(request), [*MEDIA.values()])
    return next(format_ for format_, media in MEDIA.items() if media == chosen)


async def _read_head(request: web.Request, account_id: UUID) -> tuple[Statement, Part]:
    """Return the head of the statement that the request asks for. Raises `Refused`."""
    selection = Selection(FROM.read(request), TO.read(request), BY.read(request) == "effective")
    spans = await find_spans(request, account_id)
    try:
        found = await read_statement(reader(request), account_id, selection, spans, lambda: _renew(request))
    except StatementError as error:
        raise Refused(errors.invalid_parameter(FROM.name, str(error))) from None
    if found is None:
        raise Refused(errors.account_not_found(account_id))
    return found


def _renew(request: web.Request) -> None:
    """Let the next query take as long as a small request."""
    start_deadline(request.app[RUNTIME].settings.ledger_database_patience_seconds)


async def _answer_whole(request: web.Request, statement: Statement, part: Part, format_: Format) -> Reply:
    try:
        body = b"".join([piece async for piece in _write(request, statement, part, format_)])
    except TypesettingTimeoutError as error:
        raise OverloadedError(str(error)) from error
    headers = _headers(statement, format_)
    coding = choose_coding(request) if len(body) >= MIN_BYTES and format_ is not Format.PDF else None
    if coding is not None:
        body = await compress(coding, body)
        headers[hdrs.CONTENT_ENCODING] = coding
    return Reply(body=body, content_type=MEDIA[format_], charset=_charset(format_), headers=headers)


async def _stream(request: web.Request, statement: Statement, part: Part, format_: Format) -> Stream:
    charset = _charset(format_)
    media = MEDIA[format_] if charset is None else f"{MEDIA[format_]}; charset={charset}"
    stream = Stream(request[REQUEST_ID], media, _headers(statement, format_))
    async with stream.open(request):
        if request.method != hdrs.METH_HEAD:
            async for piece in _write(request, statement, part, format_):
                await check_again(request)
                await stream.send(piece)
    return stream


def _write(request: web.Request, statement: Statement, part: Part, format_: Format) -> AsyncIterator[bytes]:
    party = readable_owner(request)
    return write_statement(reader(request), statement, part, party, format_, lambda: _renew(request))


def _charset(format_: Format) -> str | None:
    return "utf-8" if format_ in {Format.CSV, Format.CAMT} else None


def _headers(statement: Statement, format_: Format) -> dict[str, str]:
    """Return the headers of a statement; all formats but JSON have the name of a file to keep."""
    vary = {"Vary": "Accept, Accept-Encoding"}
    if format_ is Format.JSON:
        return vary
    ending = "xml" if format_ is Format.CAMT else format_
    name = f"statement-{statement.account_id}-{statement.last:%Y-%m-%d}.{ending}"
    return {**vary, "Content-Disposition": f'attachment; filename="{name}"'}
