"""The whole API on one screen: method, path, handler, and who may call it. `/v2` is the same API as `/v1`."""

from dataclasses import replace
from typing import NamedTuple

from web.auth import PUBLIC, REFRESH_TOKEN, SCRAPER, Access, Handler, roles
from web.handlers import (
    accounts,
    actors,
    auth,
    docs,
    error_pages,
    log,
    monitoring,
    receipts,
    service,
    transactions,
    users,
)

VERSIONS = ("v1", "v2")

ANYONE = roles("admin", "auditor", "customer", "guest")
ADMIN = roles("admin")
AUDITOR = roles("admin", "auditor")
READER = roles("admin", "auditor", "customer")  # customers see their own
PAYER = roles("admin", "customer", in_transaction=True)  # customers pay from their own


class Route(NamedTuple):
    """One row of the table. `path` comes after the version."""

    method: str
    path: str
    handler: Handler
    access: Access

    @property
    def methods(self) -> tuple[str, ...]:
        """What is served: where GET is, HEAD is too (RFC 9110, section 9.3.2), by the same handler."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


ROUTES = (
    Route("GET", "/health", service.get_health, PUBLIC),
    Route("GET", "/livez", monitoring.get_liveness, PUBLIC),
    Route("GET", "/readyz", monitoring.get_readiness, PUBLIC),
    Route("GET", "/version", service.get_version, PUBLIC),
    Route("POST", "/auth/login", auth.log_in, PUBLIC),
    Route("POST", "/auth/refresh", auth.refresh_tokens, REFRESH_TOKEN),
    Route("POST", "/auth/logout", auth.log_out, REFRESH_TOKEN),
    Route("POST", "/auth/revoke-user", auth.revoke_user_tokens, ANYONE),
    Route("POST", "/auth/revoke-all", auth.revoke_all_tokens, ADMIN),
    Route("POST", "/auth/cleanup", auth.purge_revoked_tokens, ADMIN),
    Route("GET", "/auth/sessions", auth.list_sessions, ANYONE),
    Route("DELETE", "/auth/sessions/{id}", auth.end_session, ANYONE),
    Route("GET", "/audit/actors/{id}", actors.list_actor_commands, AUDITOR),
    Route("GET", "/users", users.list_users, AUDITOR),
    Route("POST", "/users", users.create_user, ADMIN),
    Route("GET", "/users/{id}", users.get_user, ANYONE),
    Route("PUT", "/users/{id}", users.update_user, ADMIN),
    Route("PATCH", "/users/{id}", users.patch_user, ADMIN),
    Route("DELETE", "/users/{id}", users.delete_user, ADMIN),
    Route("GET", "/accounts", accounts.list_accounts, READER),
    Route("POST", "/accounts", accounts.open_account, ADMIN),
    Route("GET", "/accounts/{id}", accounts.get_account, READER),
    Route("PUT", "/accounts/{id}", accounts.update_account, ADMIN),
    Route("PATCH", "/accounts/{id}", accounts.patch_account, ADMIN),
    Route("DELETE", "/accounts/{id}", accounts.close_account, ADMIN),
    Route("GET", "/accounts/{id}/proof", receipts.get_account_receipt, READER),
    Route("GET", "/accounts/{id}/entries", log.list_account_entries, READER),
    Route("GET", "/accounts/{id}/events", log.list_account_events, READER),
    Route("GET", "/events", log.list_events, AUDITOR),
    Route("GET", "/ledger/trial-balance", log.get_trial_balance, AUDITOR),
    Route("GET", "/transactions", transactions.list_transactions, READER),
    Route("POST", "/transactions", transactions.post_journal_entry, PAYER),
    Route("POST", "/transactions/batch", transactions.create_transfer_batch, PAYER),
    Route("POST", "/transactions/transfer", transactions.create_transfer, PAYER),
    Route("POST", "/transactions/hold", transactions.place_hold, PAYER),
    Route("POST", "/transactions/{id}/capture", transactions.capture_hold, ADMIN),
    Route("POST", "/transactions/{id}/void", transactions.void_hold, ADMIN),
    Route("POST", "/transactions/{id}/reverse", transactions.reverse_transaction, ADMIN),
    Route("GET", "/transactions/{id}", transactions.get_transaction, READER),
    Route("GET", "/transactions/{id}/proof", receipts.get_transaction_receipt, READER),
)
UNVERSIONED = (
    Route("GET", "/", service.get_greeting, replace(ANYONE, browsers_to="/docs")),
    Route("GET", "/metrics", monitoring.get_metrics, SCRAPER),
    Route("GET", "/.well-known/jwks.json", service.get_token_keys, PUBLIC),  # RFC 8615
    Route("GET", "/.well-known/ledger-seal.json", receipts.get_seal_keys, PUBLIC),
    Route("GET", "/openapi.json", docs.get_api_document, PUBLIC),
    Route("GET", "/docs", docs.get_docs_page, PUBLIC),
    Route("GET", "/docs/{name}", docs.get_docs_asset, PUBLIC),
    Route("GET", "/errors", error_pages.list_errors, PUBLIC),
    Route("GET", "/errors/{code}", error_pages.get_error, PUBLIC),
)
