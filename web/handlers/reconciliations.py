"""Reconciliations: admins compare accounts with statements of banks, and auditors read what was matched."""

from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.audit import as_of, reconciliation
from ledger.audit.reconciliation import BankBalance, NewStatement
from ledger.commands.matching import NewLine
from ledger.commands.reconciliations import (
    ReconcileStatement,
    Undone,
    UndoReconciliations,
    reconciliation_not_found,
)
from ledger.errors import Refused
from ledger.events.reconciliations import reconciliation_stream
from ledger.projections import reconciliations
from ledger.store.connections import Reader
from ledger.values.ids import new_id
from web.handlers.accounts import find_account
from web.handlers.batch import BATCH_LIMIT, MAX_BATCHES_OF_ADMIN
from web.http.account_refs import read_path_account
from web.http.dry_run import find_dry_run
from web.http.json import answer_outcome, parse, read_json
from web.http.pagination import Page, answer_list, read_span, walk_by_position
from web.http.params import read_point_in_time
from web.http.request import ACTOR, RUNTIME
from web.http.response import Reply, Stream
from web.http.submit import submit_in_turn
from web.reconciliations import NewReconciliation, StatementBalance, UndoneReconciliation

NOTHING = "must have a line, unless the statement has a closing balance"
ONE = "give either id or source"


async def list_reconciliations(request: web.Request) -> Reply | Stream:
    """GET /accounts/{id}/reconciliation: the reconciliations of an account, newest first."""
    span, account_id = read_span(request, int), await read_path_account(request)
    await find_account(request, account_id)

    async def query(source: Reader, before: int, limit: int) -> Page:
        return await reconciliations.page(source, account_id, before=before, limit=limit)

    return await answer_list(request, span, walk_by_position(query))


async def reconcile_account(request: web.Request) -> Reply:
    """POST /accounts/{id}/reconciliation: compare a statement, and record what is certain."""
    account_id = await read_path_account(request)
    runtime = request.app[RUNTIME]
    async with request.app[BATCH_LIMIT].admit(request[ACTOR].user_id, each=MAX_BATCHES_OF_ADMIN):
        body = parse(NewReconciliation, await read_json(request, runtime.settings.ledger_bulk_limit_bytes))
        account = await find_account(request, account_id)
        if body.currency not in (None, account.body["currency"]):
            raise Refused(errors.currency_mismatch())
        if not body.lines and body.closing is None:
            raise Refused(errors.invalid("/lines", NOTHING))
        await _look_back(request, account_id)
        statement, reconciliation_id = _to_statement(body), new_id()

        async def make() -> ReconcileStatement:
            position = await as_of.position_of(runtime.pool, read_point_in_time(request))
            return await reconciliation.compare(runtime.pool, account_id, statement, reconciliation_id, position)

        outcome = await submit_in_turn(request, reconciliation_stream(account_id), make, body.canonical)
    return answer_outcome(outcome, "created_at", status=200)


async def undo_reconciliation(request: web.Request) -> Reply:
    """POST /accounts/{id}/reconciliation/undo."""
    account_id = await read_path_account(request)
    body = parse(UndoneReconciliation, await read_json(request))
    await find_account(request, account_id)
    if (body.id is None) == (body.source is None):
        raise Refused(errors.invalid("", ONE))
    await _look_back(request, account_id)

    async def make() -> UndoReconciliations:
        pool = request.app[RUNTIME].pool
        version = await reconciliations.read_version(pool, account_id)
        found = await reconciliations.find_undoable(pool, account_id, reconciliation_id=body.id, source=body.source)
        if not found:
            raise Refused(reconciliation_not_found())
        undone = tuple(Undone(one, versions) for one, versions in found.items())
        return UndoReconciliations(account_id=account_id, known_version=version, undone=undone)

    outcome = await submit_in_turn(request, reconciliation_stream(account_id), make, body.canonical)
    return answer_outcome(outcome, "undone_at", status=200)


async def _look_back(request: web.Request, account_id: UUID) -> None:
    """Let a dry run on a past state show the account's reconciliations of then."""
    dry_run = find_dry_run(request)
    if dry_run is not None and dry_run.time is not None:
        await dry_run.load([reconciliation_stream(account_id)])


def _to_statement(body: NewReconciliation) -> NewStatement:
    lines = [
        NewLine(line.day, line.amount_cents, line.reference, line.end_to_end_id, line.description or "")
        for line in body.lines
    ]
    return NewStatement(lines, _to_balance(body.opening), _to_balance(body.closing), body.source, body.window_days)


def _to_balance(balance: StatementBalance | None) -> BankBalance | None:
    return None if balance is None else BankBalance(balance.day, balance.balance_cents)
