"""What the document says of each route: a line for each handler, with what it takes, gives and refuses.

What follows from the route itself (its path, who may call it, and the errors that all routes like it share) is not said
here: `web.openapi` adds it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from ledger import errors
from ledger.errors import Refusal
from ledger.money import MAX_CENTS
from ledger.seals.receipts import Receipt
from ledger.store.reader import EVENT_TOPICS, LAST
from ledger.values.text import PRINTABLE_PATTERN
from ledger.values.timestamps import DATE_OR_TIME_PATTERN
from web import requests, responses
from web.auth import Handler
from web.handlers import (
    accounts,
    actors,
    auth,
    batch_stream,
    docs,
    error_pages,
    log,
    monitoring,
    receipts,
    service,
    transactions,
    users,
)
from web.http.catalogue import CATALOGUE
from web.http.cursors import PATTERN
from web.http.errors import DATABASE_DOWN, NO_SUCH_RESOURCE, OVERLOADED, RATE_LIMITED
from web.http.pages import MAX_ITEMS, MAX_LIMIT

Refusing: TypeAlias = Refusal | Callable[..., Refusal]


class Parameter(NamedTuple):
    """A parameter of the query, or of the path or a header."""

    name: str
    description: str
    schema: Mapping[str, Any]
    place: str = "query"


class Operation(NamedTuple):
    """What a handler takes (a JSON body), gives (with this status), and refuses beside what all its like refuse.

    With `lines` it also takes JSON Lines. `gives` is the type of the answer's body, or None if it has none; `media` are
    the types it may come as. `response` says what the answer is, if that does not follow from `gives`. `headers` are
    those that an answer may have beside what all its like have. One that is conditional heeds `If-Match`.
    """

    summary: str
    gives: Any = None
    status: int = 200
    takes: type[requests.Body] | None = None
    lines: bool = False
    body_is_optional: bool = False
    parameters: tuple[Parameter, ...] = ()
    refuses: tuple[Refusing, ...] = ()
    media: tuple[str, ...] = ("application/json",)
    is_conditional: bool = False
    response: str = ""

    @property
    def is_tagged(self) -> bool:
        """Whether its answer has an entity tag."""
        return "ETag" in self.headers

    headers: tuple[str, ...] = ()


def _number(minimum: int = 0, maximum: int = LAST) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _words(maximum: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": maximum, "pattern": PRINTABLE_PATTERN}


ID = {"type": "string", "format": "uuid"}
DATE_OR_TIME = {
    "type": "string",
    "pattern": DATE_OR_TIME_PATTERN,
    "examples": ["2026-05-01", "2026-05-01T12:00:00Z"],
}

LIMIT = Parameter(
    "limit",
    f"How many items at most; without `limit` and `cursor` {MAX_ITEMS:,}, with a `cursor` alone {MAX_LIMIT:,}",
    _number(1, MAX_LIMIT),
)
CURSOR = Parameter("cursor", "The cursor in the `Link` to the next page", {"type": "string", "pattern": PATTERN})
BEFORE = Parameter("before", "Only entries before this version", _number())
AFTER = Parameter("after", "Only what comes after this position or version", _number())
AT_TIME = Parameter("at_time", "The state at the end of this time, or of this date (UTC)", DATE_OR_TIME)
AT_POSITION = Parameter("at_position", "The state after the event at this position of the log", _number())
AT_VERSION = Parameter("at_version", "The state after the event with this version", _number())
TAGGED = ("ETag",)
CREATED = (*TAGGED, "Location")
MIN_POSITION = Parameter("min_position", "Wait until this `Ledger-Position` is visible", _number())
CURRENCY = Parameter("currency", "Only in this currency", responses.CURRENCY)
PERIOD = (
    Parameter("from_time", "The start of a period, included; a date from its first moment on (UTC)", DATE_OR_TIME),
    Parameter("to_time", "The end of a period, included; a date to its last moment (UTC)", DATE_OR_TIME),
)
PAGE = (LIMIT, CURSOR)
MOMENT = (AT_TIME, AT_POSITION)

_UNKNOWN_ACCOUNT = (errors.account_not_found,)
_SEALS = (errors.not_sealed_yet, errors.sealing_is_off)
_NO_REVOCATION = (errors.revocation_is_off,)
_TRANSFER = (
    errors.transaction_already_exists,
    errors.insufficient_funds,
    errors.source_account_not_found,
    errors.destination_account_not_found,
    errors.accounts_are_same,
    errors.account_closed,
    errors.account_frozen,
    errors.currency_mismatch,
    errors.reference_already_exists,
)
_ACCOUNT_CHANGE = (
    *(errors.account_not_found, errors.user_not_found, errors.id_mismatch, errors.currency_mismatch),
    *(errors.account_closed, errors.account_frozen, errors.insufficient_funds),
)
_HOLD = (errors.transaction_not_found, errors.hold_not_pending)
_HELD_ACCOUNTS = (errors.account_closed, errors.account_frozen)

OPERATIONS: dict[Handler, Operation] = {
    service.get_greeting: Operation("Return a greeting to an authenticated caller", responses.Greeting),
    service.get_token_keys: Operation("Return the public keys that verify tokens", responses.KeySet),
    receipts.get_seal_keys: Operation("Return the public key that verifies seals", responses.KeySet),
    docs.get_api_document: Operation("Return this document", dict[str, Any], response="An OpenAPI document"),
    docs.get_docs_page: Operation("Show this document", str, response="A web page", media=("text/html",)),
    docs.get_docs_asset: Operation(
        "Return a file of that web page",
        str,
        response="The file",
        parameters=(Parameter("name", "The file", {"enum": sorted(docs.ASSETS)}, place="path"),),
        refuses=(NO_SUCH_RESOURCE,),
        media=tuple(sorted(set(docs.ASSETS.values()))),
    ),
    error_pages.list_errors: Operation("List all errors", list[responses.ErrorType], media=error_pages.MEDIA),
    error_pages.get_error: Operation(
        "Explain an error and what a client can do about it",
        responses.ErrorType,
        parameters=(Parameter("code", "The error's code", {"enum": sorted(CATALOGUE)}, place="path"),),
        refuses=(NO_SUCH_RESOURCE,),
        media=error_pages.MEDIA,
    ),
    service.get_health: Operation("Check that the service responds", responses.Health),
    monitoring.get_liveness: Operation("Check that a worker is alive", responses.Liveness),
    monitoring.get_readiness: Operation(
        "Check that a worker is ready for requests", responses.Readiness, refuses=(errors.not_ready,)
    ),
    monitoring.get_metrics: Operation(
        "Return the metrics of all workers", str, response="Metrics in Prometheus' format", media=("text/plain",)
    ),
    service.get_version: Operation("Return the name and version of the service", responses.Release),
    auth.log_in: Operation(
        "Log in",
        responses.Tokens,
        takes=requests.Login,
        refuses=(errors.missing_credentials, errors.wrong_credentials, RATE_LIMITED, DATABASE_DOWN, OVERLOADED),
        headers=("RateLimit-Policy", "RateLimit"),
    ),
    auth.refresh_tokens: Operation("Exchange a refresh token for a new pair", responses.Tokens),
    auth.log_out: Operation("End the session", refuses=_NO_REVOCATION),
    auth.revoke_user_tokens: Operation(
        "Revoke all tokens of a user", takes=requests.UserTokens, refuses=(errors.forbidden, errors.user_not_found)
    ),
    auth.revoke_all_tokens: Operation("Revoke all tokens of all users"),
    auth.purge_revoked_tokens: Operation("Purge expired revoked tokens", responses.Cleanup, refuses=_NO_REVOCATION),
    auth.list_sessions: Operation(
        "List the sessions of a user, newest first",
        list[responses.Session],
        parameters=(Parameter("user_id", "The user, by default the caller; others for admins only", ID), *PAGE),
        refuses=(errors.forbidden,),
    ),
    auth.end_session: Operation("End a session", refuses=(errors.session_not_found,)),
    actors.list_actor_commands: Operation(
        "List the commands of a user, session or token, newest first",
        list[responses.Command],
        parameters=PAGE,
        refuses=(errors.actor_not_found,),
    ),
    users.list_users: Operation(
        "List users, newest first",
        list[responses.User],
        parameters=(
            *PAGE,
            Parameter("username", "Only the user with this name", _words(64)),
            Parameter("active", "Only active, or only inactive users", {"enum": ["true", "false"]}),
            *PERIOD,
        ),
    ),
    users.create_user: Operation(
        "Create a user",
        responses.User,
        status=201,
        takes=requests.NewUser,
        refuses=(errors.user_already_exists,),
        headers=CREATED,
    ),
    users.get_user: Operation("Get a user", responses.User, refuses=(errors.user_not_found,), headers=TAGGED),
    users.update_user: Operation(
        "Update a user",
        responses.User,
        takes=requests.User,
        refuses=(errors.user_not_found, errors.user_already_exists, errors.id_mismatch),
        headers=TAGGED,
        is_conditional=True,
    ),
    users.patch_user: Operation(
        "Change single members of a user",
        responses.User,
        takes=requests.UserPatch,
        refuses=(errors.user_not_found, errors.user_already_exists, errors.id_mismatch),
        headers=TAGGED,
        is_conditional=True,
    ),
    users.delete_user: Operation(
        "Delete a user and close their accounts",
        refuses=(errors.user_not_found, errors.account_not_empty),
        is_conditional=True,
    ),
    accounts.list_accounts: Operation(
        "List accounts, newest first; customers see their own",
        list[responses.Account],
        parameters=(
            *PAGE,
            Parameter("user_id", "Only accounts of this user", ID),
            CURRENCY,
            Parameter("status", "Only with this status", {"enum": ["open", "closed"]}),
            Parameter(
                "world",
                "Whether the ledger's own accounts are listed too",
                {"enum": ["true", "false"], "default": "false"},
            ),
            *PERIOD,
            *MOMENT,
        ),
    ),
    accounts.open_account: Operation(
        "Open an account; its opening balance comes from the ledger's own account",
        responses.Account,
        status=201,
        takes=requests.NewAccount,
        refuses=(errors.user_not_found, errors.account_already_exists),
        headers=CREATED,
    ),
    accounts.get_account: Operation(
        "Get an account, now or at a point in time",
        responses.Account,
        parameters=(*MOMENT, AT_VERSION),
        refuses=_UNKNOWN_ACCOUNT,
        headers=TAGGED,
    ),
    accounts.update_account: Operation(
        "Update an account's owner or policy, or adjust its balance by a transfer from or to `world`",
        responses.Account,
        takes=requests.Account,
        refuses=_ACCOUNT_CHANGE,
        headers=TAGGED,
        is_conditional=True,
    ),
    accounts.patch_account: Operation(
        "Change single members of an account",
        responses.Account,
        takes=requests.AccountPatch,
        refuses=_ACCOUNT_CHANGE,
        headers=TAGGED,
        is_conditional=True,
    ),
    accounts.close_account: Operation(
        "Close an account that has no money and no pending holds",
        refuses=(errors.account_not_found, errors.account_not_empty, errors.account_closed),
        is_conditional=True,
    ),
    receipts.get_account_receipt: Operation(
        "Get the receipt of an account's last event, or of the event with a given version",
        Receipt,
        parameters=(Parameter("at_version", "The event's version", _number(1)),),
        refuses=(errors.account_not_found, *_SEALS),
    ),
    log.list_account_entries: Operation(
        "List the entries of an account, newest first",
        list[responses.Entry],
        parameters=(
            *PAGE,
            Parameter(
                "order", "`asc`: oldest first; `desc`: newest first", {"enum": ["asc", "desc"], "default": "desc"}
            ),
            Parameter("from_version", "The first version", _number()),
            Parameter("to_version", "The last version", _number()),
            *PERIOD,
            AFTER,
            BEFORE,
        ),
        refuses=_UNKNOWN_ACCOUNT,
    ),
    log.list_account_events: Operation(
        "List the stored events of an account, in order",
        list[responses.StoredEvent],
        parameters=(*PAGE, AFTER),
        refuses=_UNKNOWN_ACCOUNT,
    ),
    log.list_events: Operation(
        "List stored events in order, or stream them as server-sent events",
        list[responses.StoredEvent],
        parameters=(
            *PAGE,
            AFTER,
            Parameter("topic", "Only events of this topic", {"enum": sorted(EVENT_TOPICS)}),
            Parameter("stream", "Only events of this stream", ID),
        ),
        media=("application/json", "text/event-stream"),
    ),
    log.get_trial_balance: Operation(
        "Get the debits, credits and sum of each currency", responses.TrialBalance, parameters=MOMENT
    ),
    transactions.list_transactions: Operation(
        "List transactions, newest first; customers see their own. A page may be short although another follows",
        list[responses.Transaction],
        parameters=(
            *PAGE,
            Parameter("user_id", "Only of accounts that this user owns now", ID),
            Parameter("account_id", "Only of this account", ID),
            CURRENCY,
            Parameter("status", "Only with this status", {"enum": sorted(transactions.STATUSES)}),
            Parameter("kind", "Only of this kind", responses.KIND),
            Parameter("reference", "Only with this reference", _words(200)),
            Parameter(
                "min_amount_cents", "The smallest amount; for a journal entry, of a posting", _number(0, MAX_CENTS)
            ),
            Parameter(
                "max_amount_cents", "The largest amount; for a journal entry, of a posting", _number(0, MAX_CENTS)
            ),
            *PERIOD,
        ),
    ),
    transactions.create_transfer_batch: Operation(
        "Create many transfers, together or one by one; JSON Lines are answered as they are processed",
        responses.BatchResult,
        takes=requests.Batch,
        lines=True,
        refuses=(errors.transaction_id_reused, *_TRANSFER),
        media=("application/json", batch_stream.CONTENT_TYPE),
    ),
    transactions.create_transfer: Operation(
        "Transfer money from one account to another",
        responses.Transfer,
        takes=requests.ConditionalTransfer,
        refuses=(*_TRANSFER, errors.condition_not_met),
        is_conditional=True,
    ),
    transactions.post_journal_entry: Operation(
        "Move money between several accounts at once",
        responses.JournalEntry,
        takes=requests.JournalEntry,
        refuses=tuple(refusal for refusal in _TRANSFER if refusal != errors.currency_mismatch),
    ),
    transactions.place_hold: Operation(
        "Hold money of an account for another", responses.Hold, takes=requests.Hold, refuses=_TRANSFER
    ),
    transactions.capture_hold: Operation(
        "Capture all or part of a hold, and release the rest",
        responses.Hold,
        takes=requests.Capture,
        body_is_optional=True,
        refuses=(*_HOLD, *_HELD_ACCOUNTS),
    ),
    transactions.void_hold: Operation(
        "Release a hold", responses.Hold, takes=requests.Nothing, body_is_optional=True, refuses=_HOLD
    ),
    transactions.reverse_transaction: Operation(
        "Reverse a transaction",
        responses.Reversal,
        takes=requests.Reversal,
        body_is_optional=True,
        refuses=(
            *(errors.transaction_not_found, errors.transaction_already_exists, errors.insufficient_funds),
            *(errors.transaction_already_reversed, errors.transaction_not_reversible, *_HELD_ACCOUNTS),
        ),
    ),
    transactions.get_transaction: Operation(
        "Get a transaction", responses.Transaction, refuses=(errors.transaction_not_found,), headers=TAGGED
    ),
    receipts.get_transaction_receipt: Operation(
        "Get the receipt of a transaction", Receipt, refuses=(errors.transaction_not_found, *_SEALS)
    ),
}
