"""Routes for assets, beside the currencies of ISO 4217."""

from ledger import errors
from web import assets as models
from web.auth import roles
from web.handlers import assets
from web.http.pagination import PAGE
from web.http.params import PATH_CODE
from web.routes.route import ADMIN, CREATED, TAGGED, Operation, Route

ACCOUNT_HOLDER = roles("admin", "auditor", "customer")

ROUTES = (
    Route(
        "GET",
        "/assets",
        assets.list_assets,
        ACCOUNT_HOLDER,
        Operation(
            "List registered assets, newest first, then the currencies of ISO 4217",
            response_model=list[models.Asset],
            parameters=PAGE,
        ),
        scope="accounts:read",
    ),
    Route(
        "POST",
        "/assets",
        assets.register_asset,
        ADMIN,
        Operation(
            "Register an asset, in which accounts can be opened from then on",
            response_model=models.Asset,
            status=201,
            request_model=models.NewAsset,
            refusals=(errors.asset_already_exists,),
            response_headers=CREATED,
        ),
        scope="accounts:write",
    ),
    Route(
        "GET",
        "/assets/{code}",
        assets.get_asset,
        ACCOUNT_HOLDER,
        Operation(
            "Get a registered asset, or a currency of ISO 4217",
            response_model=models.Asset,
            parameters=(PATH_CODE,),
            refusals=(errors.asset_not_found,),
            response_headers=TAGGED,
        ),
        scope="accounts:read",
    ),
)
