"""Routes for projections, their rebuilds, and verifications of the whole ledger."""

from ledger import errors
from web import operations as models
from web.handlers import projections, verification
from web.routes.route import ADMIN, AUDITOR, Operation, Refusing, Route

UNKNOWN: tuple[Refusing, ...] = (errors.projection_not_found,)
NAMED = (projections.NAME,)

ROUTES = (
    Route(
        "GET",
        "/projections",
        projections.list_projections,
        AUDITOR,
        Operation("List projections and followers with their states", response_model=list[models.Projection]),
        scope="operations:read",
    ),
    Route(
        "GET",
        "/projections/{name}",
        projections.get_projection,
        AUDITOR,
        Operation(
            "Get the state of a projection or follower, and of its last rebuild",
            response_model=models.Projection,
            parameters=NAMED,
            refusals=UNKNOWN,
        ),
        scope="operations:read",
    ),
    Route(
        "POST",
        "/projections/{name}/rebuild",
        projections.rebuild_projection,
        ADMIN,
        Operation(
            "Rebuild the tables of a projection from the log, compare them, and swap them if asked to",
            response_model=models.Rebuild,
            status=202,
            request_model=models.NewRebuild,
            body_is_optional=True,
            parameters=NAMED,
            refusals=(
                *(errors.projection_not_found, errors.operation_running),
                *(errors.operation_impossible, errors.operations_unavailable),
            ),
            starts_process=True,
            note="It goes on after the response. One rebuild runs at a time.",
        ),
        scope="operations:write",
    ),
    Route(
        "POST",
        "/projections/{name}/rebuild/swap",
        projections.swap_rebuild,
        ADMIN,
        Operation(
            "Swap the tables that a rebuild has compared, once they have caught up with the log",
            response_model=models.Rebuild,
            status=202,
            parameters=NAMED,
            refusals=(
                *(errors.projection_not_found, errors.rebuild_not_compared, errors.operation_running),
                *(errors.operation_impossible, errors.operations_unavailable),
            ),
            starts_process=True,
        ),
        scope="operations:write",
    ),
    Route(
        "POST",
        "/projections/{name}/rebuild/cancel",
        projections.cancel_rebuild,
        ADMIN,
        Operation(
            "Cancel a rebuild, or discard the tables that it has compared; the live ones stay",
            response_model=models.Rebuild,
            status=202,
            parameters=NAMED,
            refusals=(
                *(errors.projection_not_found, errors.operation_not_running, errors.operation_running),
                *(errors.operation_impossible, errors.operations_unavailable),
            ),
            starts_process=True,
        ),
        scope="operations:write",
    ),
    Route(
        "GET",
        "/audit/verify",
        verification.get_verification,
        AUDITOR,
        Operation("Get the progress and the findings of the last verification", response_model=models.LastVerification),
        scope="operations:read",
    ),
    Route(
        "POST",
        "/audit/verify",
        verification.start_verification,
        AUDITOR,
        Operation(
            "Verify the log, and everything that follows from it",
            response_model=models.Verification,
            status=202,
            request_model=models.NewVerification,
            body_is_optional=True,
            refusals=(errors.operation_running, errors.operations_unavailable),
            starts_process=True,
            note="It goes on after the response. One verification runs at a time.",
        ),
        scope="operations:write",
    ),
    Route(
        "POST",
        "/audit/verify/cancel",
        verification.cancel_verification,
        AUDITOR,
        Operation(
            "Cancel the verification that runs",
            response_model=models.Verification,
            status=202,
            refusals=(errors.operation_not_running, errors.operations_unavailable),
            starts_process=True,
        ),
        scope="operations:write",
    ),
)
