"""The part of the catalogue about rebuilds of projections and verifications."""

from web.http.error_type import ErrorType

OPERATIONS = {
    "projection_not_found": ErrorType(
        404,
        "resource_not_found",
        "Projection not found",
        "The ledger has no projection with this name.",
        "`GET /v1/projections` lists them. A follower cannot be rebuilt.",
    ),
    "operation_running": ErrorType(
        409,
        "conflict",
        "Operation running",
        "One rebuild and one verification run at a time, and this one has not ended. It may be on a command line.",
        "Read its progress, and wait until it has ended, or cancel it.",
    ),
    "operation_not_running": ErrorType(
        409,
        "conflict",
        "Operation not running",
        "There is no rebuild or verification of this kind that could be cancelled.",
        "Read its state: it may have ended.",
    ),
    "rebuild_not_compared": ErrorType(
        409,
        "conflict",
        "Rebuild not compared",
        "Only a rebuild that was started without `swap`, and has compared its tables, can be swapped.",
        'Start one with `{"swap": false}`, and wait until its state is `compared`.',
    ),
    "operation_impossible": ErrorType(
        409,
        "conflict",
        "Operation impossible",
        "This service cannot do that; `reason` says why.",
        "Follow the reason, or use the command line of the service.",
    ),
    "operations_unavailable": ErrorType(
        503,
        "unavailable",
        "Operations unavailable",
        "The process of the operation did not begin, or Valkey, in which its progress is kept, does not answer.",
        "Try again later, or use the command line of the service.",
    ),
}
