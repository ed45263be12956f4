"""Routes for commands: those of a user, session or token, and each by its id."""

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
    Route(
        "GET",
        "/audit/commands/{id}",
        actors.get_command,
        AUDITOR,
        Operation(
            "Get the command that caused an event: who sent it, with which session and request, and its outcome",
            response_model=responses.Command,
            refusals=(errors.command_not_found,),
        ),
        scope="audit:read",
    ),
)
