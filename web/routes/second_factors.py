"""Routes for second factors. No machine may call them."""

from ledger import errors
from ledger.commands.second_factors import already_enrolled, not_enrolled
from web import second_factors as models
from web.handlers import second_factors
from web.http.errors import RATE_LIMITED
from web.routes.route import ADMIN, ANYONE, Operation, Route

ROUTES = (
    Route(
        "POST",
        "/users/me/totp/enrol",
        second_factors.offer_second_factor,
        ANYONE,
        Operation(
            "Enrol a second factor",
            response_model=models.OfferedSecondFactor,
            request_model=models.Enrolment,
            refusals=(already_enrolled, RATE_LIMITED),
            note="Logins need it after it is confirmed. Another call before that replaces the secret.",
        ),
    ),
    Route(
        "POST",
        "/users/me/totp/confirm",
        second_factors.confirm_second_factor,
        ANYONE,
        Operation(
            "Confirm a second factor with a code",
            response_model=models.ConfirmedSecondFactor,
            request_model=models.Confirmation,
            refusals=(RATE_LIMITED,),
            note="From now on, logins need a code. Sessions go on.",
        ),
    ),
    Route(
        "POST",
        "/users/me/totp/remove",
        second_factors.remove_own_second_factor,
        ANYONE,
        Operation(
            "Remove one's own second factor",
            request_model=models.Removal,
            refusals=(not_enrolled, RATE_LIMITED),
            note="All sessions of the user end.",
        ),
    ),
    Route(
        "GET",
        "/users/{id}/totp",
        second_factors.get_second_factor,
        ANYONE,
        Operation(
            "Show whether a user has a second factor",
            response_model=models.SecondFactorStatus,
            refusals=(errors.user_not_found,),
        ),
    ),
    Route(
        "DELETE",
        "/users/{id}/totp",
        second_factors.remove_second_factor,
        ADMIN,
        Operation(
            "Remove the second factor of a user",
            refusals=(errors.user_not_found, not_enrolled),
            note="All sessions of the user end.",
        ),
        is_sensitive=True,
    ),
)
