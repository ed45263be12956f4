"""Routes for the ledger as a whole."""

from web import ledger_status as models
from web.flows import LedgerFlows
from web.handlers import flows, ledger_status
from web.handlers.balance_series import FROM, TO
from web.http.params import CURRENCY, POINT_IN_TIME
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
    Route(
        "GET",
        "/ledger/flows",
        flows.get_flows,
        AUDITOR,
        Operation(
            "Get what moved between groups of accounts, or between accounts, in a period",
            response_model=LedgerFlows,
            parameters=(
                FROM,
                TO,
                flows.BY,
                flows.DEPTH,
                flows.PREFIX,
                CURRENCY,
                flows.MOST,
                *POINT_IN_TIME,
            ),
        ),
        scope="ledger:read",
    ),
)
