"""Routes for balance monitors."""

from ledger import errors
from ledger.commands.monitors import monitor_already_exists, monitor_not_found
from web import monitors as models
from web.handlers import monitors
from web.http.pagination import PAGE
from web.routes.route import ADMIN, CREATED, TAGGED, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/monitors",
        monitors.list_monitors,
        ADMIN,
        Operation("List balance monitors, newest first", response_model=list[models.Monitor], parameters=PAGE),
        scope="accounts:read",
    ),
    Route(
        "POST",
        "/monitors",
        monitors.create_monitor,
        ADMIN,
        Operation(
            "Watch an account: each crossing of the condition is an event",
            response_model=models.Monitor,
            status=201,
            request_model=models.NewMonitor,
            refusals=(monitor_already_exists, errors.account_not_found),
            response_headers=CREATED,
        ),
        scope="accounts:write",
    ),
    Route(
        "GET",
        "/monitors/{id}",
        monitors.get_monitor,
        ADMIN,
        Operation(
            "Get a balance monitor",
            response_model=models.Monitor,
            refusals=(monitor_not_found,),
            response_headers=TAGGED,
        ),
        scope="accounts:read",
    ),
    Route(
        "DELETE",
        "/monitors/{id}",
        monitors.delete_monitor,
        ADMIN,
        Operation("Delete a balance monitor", refusals=(monitor_not_found,), is_conditional=True),
        scope="accounts:write",
    ),
)
