"""The part of the catalogue about logins with a second factor, and about logins that are too old."""

from web.http.error_type import ErrorType

LOGIN_ERRORS = {
    "authentication_otp_required": ErrorType(
        401,
        "authentication_error",
        "One-time code required",
        "The password is right, and the user has a second factor.",
        "Log in again with `otp`: the code that the user's application shows, or a recovery code.",
    ),
    "authentication_wrong_otp": ErrorType(
        401,
        "authentication_error",
        "Wrong one-time code",
        "The code is wrong, too old, or was used before. Each code works once.",
        "Wait for the next code, check the clock of the device, or send a recovery code.",
    ),
    "login_too_old": ErrorType(
        403,
        "authentication_error",
        "Login too old",
        "This change needs a session whose password was presented a short time ago.",
        "Log in again, and repeat the request with the new token. A refresh does not help.",
    ),
    "second_factor_already_exists": ErrorType(
        409,
        "conflict",
        "Second factor already exists",
        "The user has a second factor already, and a user has one at most.",
        "Remove it before enrolling another one.",
    ),
}
