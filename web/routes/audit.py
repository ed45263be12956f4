"""Routes for the commands of a user, session or token."""

from ledger import errors
from web import responses
from web.handlers import (
    actors,
)
from web.http.pagination import PAGE
from web.routes.route import AUDITOR, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/audit/actors/{id}",
        actors.list_actor_commands,
        AUDITOR,
        Operation(
            "List the commands of a user, session or token, newest first",
            response_model=list[responses.Command],
            parameters=PAGE,
            refusals=(errors.actor_not_found,),
        ),
        scope="audit:read",
    ),
)
