"""The whole API on one screen: method, path, handler, and who may call it. `/v2` is the same API as `/v1`."""

from typing import NamedTuple

from web.auth import PUBLIC, Access, Handler, roles
from web.handlers import accounts, auth, service, transactions, users

VERSIONS = ("v1", "v2")

ANYONE = roles("admin", "auditor", "customer", "guest")
ADMIN = roles("admin")
READER = roles("admin", "auditor", "customer")  # customers see their own
PAYER = roles("admin", "customer", in_transaction=True)  # customers pay from their own


class Route(NamedTuple):
    """One row of the table. `path` comes after the version."""

    method: str
    path: str
    handler: Handler
    access: Access


ROUTES = (
    Route("GET", "/health", service.health, PUBLIC),
    Route("GET", "/version", service.version, PUBLIC),
    Route("POST", "/auth/login", auth.login, PUBLIC),
    Route("GET", "/users", users.list_users, ADMIN),
    Route("POST", "/users", users.create_user, ADMIN),
    Route("GET", "/users/{id}", users.get_user, ANYONE),
    Route("PUT", "/users/{id}", users.update_user, ADMIN),
    Route("DELETE", "/users/{id}", users.delete_user, ADMIN),
    Route("GET", "/accounts", accounts.list_accounts, READER),
    Route("POST", "/accounts", accounts.open_account, ADMIN),
    Route("GET", "/accounts/{id}", accounts.get_account, READER),
    Route("PUT", "/accounts/{id}", accounts.update_account, ADMIN),
    Route("DELETE", "/accounts/{id}", accounts.close_account, ADMIN),
    Route("POST", "/transactions/transfer", transactions.transfer, PAYER),
    Route("GET", "/transactions/{id}", transactions.get_transaction, READER),
)
ROOT = Route("GET", "/", service.root, ANYONE)  # the only path without a version
