"""The whole API: every route with its handler, the roles that may call it, and what the document says of it.

`/v2` is the same API as `/v1`. The rows are grouped by resource in the modules of this package.
"""

from web.routes import (
    accounts,
    assets,
    audit,
    auth,
    clients,
    console,
    ledger,
    log,
    monitors,
    operations,
    periods,
    reconciliations,
    reports,
    second_factors,
    service,
    transactions,
    users,
    webhooks,
)
from web.routes.route import Route

VERSIONS = ("v1", "v2")

ROUTES: tuple[Route, ...] = (
    *service.ROUTES,
    *auth.ROUTES,
    *clients.ROUTES,
    *audit.ROUTES,
    *operations.ROUTES,
    *users.ROUTES,
    *second_factors.ROUTES,
    *accounts.ROUTES,
    *reconciliations.ROUTES,
    *monitors.ROUTES,
    *assets.ROUTES,
    *log.ROUTES,
    *ledger.ROUTES,
    *periods.ROUTES,
    *reports.ROUTES,
    *transactions.ROUTES,
    *webhooks.ROUTES,
)
UNVERSIONED: tuple[Route, ...] = service.UNVERSIONED
CONSOLE: tuple[Route, ...] = console.ROUTES
