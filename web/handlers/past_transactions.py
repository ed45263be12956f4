"""Transactions at a point in time."""

from uuid import UUID

from aiohttp import web

from ledger import errors
from ledger.audit import as_of, transactions_at
from ledger.audit.as_of import PointInTime
from ledger.errors import Refused
from ledger.projections.transaction_search import Filters
from ledger.store.connections import Reader
from ledger.store.reader import MAX_POSITION
from web.handlers.accounts import readable_owner
from web.http.pagination import Chunk, answer_list, read_span
from web.http.preconditions import answer_resource
from web.http.replica import reader
from web.http.response import Reply, Stream

PRESENT = "must not be given together with at_position or at_time"
PAST_FILTERS = frozenset(
    {
        *("account_id", "currency", "status", "kind", "reference", "min_amount_cents", "max_amount_cents"),
        *("from_time", "to_time"),
    }
)
_OTHERS = frozenset({"at_time", "at_position", "limit", "cursor", "min_position"})


async def list_past_transactions(request: web.Request, filters: Filters, moment: PointInTime) -> Reply | Stream:
    """Answer with the transactions at a point in time. Raises `Refused` for filters by what is so now."""
    if given := [name for name in request.query if name not in PAST_FILTERS | _OTHERS]:
        raise Refused(*(errors.invalid_parameter(name, PRESENT) for name in given))
    span = read_span(request, int)
    position = await as_of.position_of(reader(request), moment)

    async def walk(source: Reader, before: int | None, limit: int) -> Chunk[int]:
        start = MAX_POSITION if before is None else before
        return Chunk(*await transactions_at.page(source, filters, position, before=start, limit=limit))

    return await answer_list(request, span, walk)


async def get_past_transaction(request: web.Request, transaction_id: UUID, moment: PointInTime) -> Reply:
    """Answer with a transaction at a point in time. Raises `Refused`."""
    source = reader(request)
    position = await as_of.position_of(source, moment)
    found = await transactions_at.find(source, transaction_id, position, party_id=readable_owner(request))
    if found is None:
        raise Refused(errors.transaction_not_found(transaction_id))
    return answer_resource(request, *found)
