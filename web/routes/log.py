"""Routes for the event log and the trial balance."""

from ledger import errors
from ledger.events.cloud import BATCH_MEDIA_TYPE, MEDIA_TYPE
from web import responses
from web.event_models import STORED_EVENTS, CloudEvent
from web.handlers import events, log
from web.http.event_forms import FORMS
from web.http.pagination import PAGE
from web.http.params import AFTER, EFFECTIVE_AT, POINT_IN_TIME
from web.routes.route import AUDITOR, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/events",
        events.list_events,
        AUDITOR,
        Operation(
            "List stored events in order, or stream them as server-sent events",
            response_model=STORED_EVENTS,
            parameters=(*PAGE, AFTER, events.TOPIC, events.STREAM),
            refusals=(errors.no_event_after,),
            media_types=FORMS,
            other_models={BATCH_MEDIA_TYPE: list[CloudEvent], MEDIA_TYPE: CloudEvent},
            note="`Accept` chooses the form. Events that may not leave the ledger are in no CloudEvents.",
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
