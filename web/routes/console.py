"""Routes of the console: its page, its files and its session. They are not part of the documented API."""

from web.auth import PUBLIC
from web.handlers import console, console_session
from web.http.cookies import SESSION_PATH
from web.routes.route import Operation, Route

PAGE = Operation("Show the console", response_model=str, media_types=("text/html",))

ROUTES = (
    Route("GET", "/console", console.get_console, PUBLIC, PAGE),
    Route("GET", SESSION_PATH, console_session.get_session, PUBLIC, Operation("Show who has signed in")),
    Route("POST", SESSION_PATH, console_session.sign_in, PUBLIC, Operation("Sign in", issues_tokens=True)),
    Route(
        "POST",
        f"{SESSION_PATH}/refresh",
        console_session.extend_session,
        PUBLIC,
        Operation("Extend the session", issues_tokens=True),
    ),
    Route("DELETE", SESSION_PATH, console_session.sign_out, PUBLIC, Operation("Sign out", issues_tokens=True)),
    Route("GET", "/console/{path:.*}", console.get_console, PUBLIC, PAGE),
)
