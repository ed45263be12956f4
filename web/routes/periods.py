"""Routes for closed periods."""

from ledger import errors
from ledger.seals.receipts import Receipt
from web import periods as models
from web.handlers import periods, receipts
from web.http.pagination import PAGE
from web.routes.route import ADMIN, AUDITOR, NO_SEAL, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/periods",
        periods.list_periods,
        AUDITOR,
        Operation("List closed periods, newest first", response_model=list[models.ClosedPeriod], parameters=PAGE),
        scope="ledger:read",
    ),
    Route(
        "GET",
        "/periods/proof",
        periods.get_period_receipt,
        AUDITOR,
        Operation(
            "Get the receipt of the last closing or reopening, or of the one with a given version",
            response_model=Receipt,
            parameters=(receipts.AT_VERSION,),
            refusals=(errors.closing_not_found, *NO_SEAL),
        ),
        scope="ledger:read",
    ),
    Route(
        "POST",
        "/periods/close",
        periods.close_period,
        ADMIN,
        Operation(
            "Close all days through one: nothing can take effect on them any more",
            response_model=models.Closing,
            request_model=models.NewClosing,
            refusals=(errors.period_closed,),
        ),
        scope="ledger:write",
    ),
    Route(
        "POST",
        "/periods/reopen",
        periods.reopen_period,
        ADMIN,
        Operation(
            "Reopen a closed period, and all later ones",
            response_model=models.ReopenedPeriod,
            request_model=models.Reopening,
            body_is_optional=True,
        ),
        scope="ledger:write",
    ),
)
