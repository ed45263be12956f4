"""The forms in which clients ask for events: JSON as the log has them, CloudEvents, and live feeds of either."""

from ledger.events.cloud import BATCH_MEDIA_TYPE, MEDIA_TYPE
from web.http.negotiation import choose_named, is_named

JSON = "application/json"
FEED = "text/event-stream"
FORMS = (JSON, FEED, BATCH_MEDIA_TYPE, MEDIA_TYPE)


def choose_form(accept: str) -> str:
    """Return the form that this `Accept` prefers of those that it names; a client that names none gets JSON.

    Of equally preferred forms it gets a feed, JSON, a batch of CloudEvents or a single one, in this order.
    """
    return choose_named(accept, (FEED, *(form for form in FORMS if form != FEED))) or JSON


def wants_cloud_events(accept: str) -> bool:
    """Return whether this `Accept` names a form of CloudEvents: then the data of a feed are CloudEvents, too."""
    return is_named(accept, MEDIA_TYPE) or is_named(accept, BATCH_MEDIA_TYPE)
