"""Assets: admins register them, and everybody with accounts reads them."""

from aiohttp import web

from ledger import errors
from ledger.commands.assets import RegisterAsset
from ledger.errors import Refused
from ledger.money import UNKNOWN_ASSET
from ledger.projections import assets
from ledger.store.connections import Reader
from web.assets import NewAsset
from web.http.json import answer_outcome, parse, read_json
from web.http.pagination import Page, answer_list, read_span, walk_by_position
from web.http.params import CURRENCY, PATH_CODE
from web.http.preconditions import answer_resource
from web.http.replica import reader
from web.http.response import Reply, Stream
from web.http.submit import submit

VERSION = "1"  # of every asset: none changes


async def list_assets(request: web.Request) -> Reply | Stream:
    """GET /assets."""

    async def query(source: Reader, before: int, limit: int) -> Page:
        return await assets.page(source, before=before, limit=limit)

    return await answer_list(request, read_span(request, int), walk_by_position(query))


async def get_asset(request: web.Request) -> Reply:
    """GET /assets/{code}."""
    code = PATH_CODE.parse(request.match_info[PATH_CODE.name])
    asset = await assets.find(reader(request), code)
    if asset is None:
        raise Refused(errors.asset_not_found(code))
    return answer_resource(request, asset, VERSION)


async def register_asset(request: web.Request) -> Reply:
    """POST /assets."""
    body = parse(NewAsset, await read_json(request))
    command = RegisterAsset(code=body.code, asset_name=body.name, digits=body.digits)
    outcome = await submit(request, command, body.canonical)
    reply = answer_outcome(outcome, "created_at", status=201)
    reply.headers["Location"] = f"{request.path}/{body.code}"
    reply.tag = f'"{VERSION}"'
    return reply


async def read_currency(request: web.Request) -> str | None:
    """Return the currency or the asset that a list is filtered by, if any. Raises `Refused` if it is unknown."""
    code = CURRENCY.read(request)
    if code is not None and not await assets.is_known(reader(request), code):
        CURRENCY.refuse(UNKNOWN_ASSET)
    return code
