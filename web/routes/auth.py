"""Routes for sessions and their tokens."""

from ledger import errors
from ledger.commands.second_factors import OTP_REQUIRED, WRONG_OTP
from web import requests, responses
from web.auth import PUBLIC, REFRESH_TOKEN
from web.handlers import (
    auth,
)
from web.http.errors import DATABASE_DOWN, OVERLOADED, RATE_LIMITED, outcome_unknown
from web.http.pagination import PAGE
from web.http.ratelimit import LIMIT_HEADERS
from web.routes.route import ADMIN, ANYONE, Operation, Refusing, Route

REVOCATION_OFF: tuple[Refusing, ...] = (errors.revocation_is_off,)

ROUTES = (
    Route(
        "POST",
        "/auth/login",
        auth.log_in,
        PUBLIC,
        Operation(
            "Log in",
            response_model=responses.Tokens,
            issues_tokens=True,
            request_model=requests.Login,
            refusals=(
                errors.missing_credentials,
                errors.wrong_credentials,
                OTP_REQUIRED,
                WRONG_OTP,
                RATE_LIMITED,
                DATABASE_DOWN,
                OVERLOADED,
                outcome_unknown,
            ),
            response_headers=LIMIT_HEADERS,
            note="A user with a second factor also sends `otp`.",
        ),
    ),
    Route(
        "POST",
        "/auth/refresh",
        auth.refresh_tokens,
        REFRESH_TOKEN,
        Operation(
            "Exchange a refresh token for a new pair",
            response_model=responses.Tokens,
            issues_tokens=True,
            note=(
                "The presented pair is dead at once. A retry with the same refresh token and the same "
                "`Idempotency-Key` gets the same new pair again, within `LEDGER_REFRESH_GRACE_SECONDS` (by default "
                "10). Any other use of a refresh token that was exchanged before ends the session."
            ),
        ),
    ),
    Route("POST", "/auth/logout", auth.log_out, REFRESH_TOKEN, Operation("End the session", refusals=REVOCATION_OFF)),
    Route(
        "POST",
        "/auth/revoke-user",
        auth.revoke_user_tokens,
        ANYONE,
        Operation(
            "Revoke all tokens of a user",
            request_model=requests.UserTokens,
            refusals=(errors.user_not_found, *REVOCATION_OFF),
        ),
        is_sensitive=True,
    ),
    Route(
        "POST",
        "/auth/revoke-all",
        auth.revoke_all_tokens,
        ADMIN,
        Operation("Revoke all tokens of all users", refusals=REVOCATION_OFF),
        is_sensitive=True,
    ),
    Route(
        "POST",
        "/auth/cleanup",
        auth.purge_revoked_tokens,
        ADMIN,
        Operation("Purge expired revoked tokens", response_model=responses.Cleanup, refusals=REVOCATION_OFF),
    ),
    Route(
        "GET",
        "/auth/sessions",
        auth.list_sessions,
        ANYONE,
        Operation(
            "List the sessions of a user, newest first",
            response_model=list[responses.Session],
            parameters=(auth.USER_ID, *PAGE),
        ),
    ),
    Route(
        "DELETE",
        "/auth/sessions/{id}",
        auth.end_session,
        ANYONE,
        Operation("End a session", refusals=(errors.session_not_found, *REVOCATION_OFF)),
        is_sensitive=True,
    ),
)
