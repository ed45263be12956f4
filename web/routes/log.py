"""Routes for the event log and the trial balance."""

from web import responses
from web.handlers import log
from web.http.pagination import PAGE
from web.http.params import AFTER, EFFECTIVE_AT, POINT_IN_TIME
from web.routes.route import AUDITOR, Operation, Route
from web.stored_events import STORED_EVENTS

ROUTES = (
    Route(
        "GET",
        "/events",
        log.list_events,
        AUDITOR,
        Operation(
            "List stored events in order, or stream them as server-sent events",
            response_model=STORED_EVENTS,
            parameters=(*PAGE, AFTER, log.TOPIC, log.STREAM),
            media_types=("application/json", "text/event-stream"),
        ),
        scope="events:read",
    ),
    Route(
        "GET",
        "/ledger/trial-balance",
        log.get_trial_balance,
        AUDITOR,
        Operation(
            "Get the debits, credits and sum of each currency",
            response_model=responses.TrialBalance,
            parameters=(*POINT_IN_TIME, EFFECTIVE_AT),
        ),
        scope="ledger:read",
    ),
)
