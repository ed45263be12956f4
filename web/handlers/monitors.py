"""Balance monitors: admins create, read and delete them."""

from aiohttp import web

from ledger import errors
from ledger.commands.monitors import CreateMonitor, DeleteMonitor, monitor_not_found
from ledger.errors import Refused
from ledger.events.monitors import Rule
from ledger.money import UNKNOWN_ASSET
from ledger.projections import assets, monitors
from ledger.store.connections import Reader
from ledger.values.ids import new_id
from web.http.account_refs import with_account_ids
from web.http.json import answer_empty, parse, read_json
from web.http.pagination import Page, answer_list, read_span, walk_by_position
from web.http.params import read_path_id
from web.http.preconditions import answer_resource, read_expected_versions
from web.http.replica import reader
from web.http.request import RUNTIME
from web.http.response import Reply, Stream
from web.http.submit import submit, submit_creation
from web.monitors import NewMonitor


async def list_monitors(request: web.Request) -> Reply | Stream:
    """GET /monitors."""

    async def query(source: Reader, before: int, limit: int) -> Page:
        return await monitors.page(source, before=before, limit=limit)

    return await answer_list(request, read_span(request, int), walk_by_position(query))


async def get_monitor(request: web.Request) -> Reply:
    """GET /monitors/{id}."""
    monitor_id = read_path_id(request)
    monitor = await monitors.find(reader(request), monitor_id)
    if monitor is None:
        raise Refused(monitor_not_found(monitor_id))
    return answer_resource(request, *monitor)


async def create_monitor(request: web.Request) -> Reply:
    """POST /monitors."""
    sent = parse(NewMonitor, await read_json(request))
    body = await with_account_ids(request, sent)
    if body.currency is not None and not await assets.is_known(request.app[RUNTIME].pool, body.currency):
        raise Refused(errors.invalid("/currency", UNKNOWN_ASSET))
    rule = Rule(
        account_id=body.account_id,
        condition=body.condition,
        operator=body.operator,
        amount_cents=body.amount_cents,
        code_prefix=body.code_prefix,
        currency=body.currency,
    )
    command = CreateMonitor(monitor_id=body.id or new_id(), rule=rule)
    return await submit_creation(request, command, sent.canonical)


async def delete_monitor(request: web.Request) -> Reply:
    """DELETE /monitors/{id}."""
    command = DeleteMonitor(monitor_id=read_path_id(request), expected=read_expected_versions(request))
    return answer_empty(await submit(request, command))
