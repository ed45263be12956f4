"""Routes for the ledger as a whole."""

from web import ledger_status as models
from web.handlers import ledger_status
from web.routes.route import AUDITOR, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/ledger/status",
        ledger_status.get_ledger_status,
        AUDITOR,
        Operation(
            "Get the state of the whole ledger: its end, sums, activity, seals, followers and holds",
            response_model=models.LedgerStatus,
            note="A worker reads it at most once a second.",
        ),
        scope="ledger:read",
    ),
)
