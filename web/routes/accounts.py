"""Routes for accounts, their statements and receipts."""

from ledger import errors
from ledger.seals.receipts import Receipt
from web import requests, responses
from web.balance_series import BalanceSeries
from web.event_models import STORED_EVENTS
from web.handlers import (
    accounts,
    balance_series,
    effective_entries,
    events,
    log,
    receipts,
    statements,
)
from web.handlers.reconciled_entries import RECONCILED
from web.http.pagination import PAGE
from web.http.params import AFTER, AT_VERSION, EFFECTIVE_AT, PERIOD, POINT_IN_TIME
from web.routes.route import ADMIN, CREATED, NO_SEAL, READER, TAGGED, Operation, Refusing, Route
from web.statements import Statement

ACCOUNT_MISSING: tuple[Refusing, ...] = (errors.account_not_found,)
ACCOUNT_CHANGE: tuple[Refusing, ...] = (
    *(errors.account_not_found, errors.user_not_found, errors.id_mismatch, errors.currency_mismatch),
    *(errors.account_closed, errors.account_frozen, errors.insufficient_funds, errors.account_limit_exceeded),
    errors.account_code_taken,
)

ROUTES = (
    Route(
        "GET",
        "/accounts",
        accounts.list_accounts,
        READER,
        Operation(
            "List accounts, newest first; customers see their own",
            response_model=list[responses.Account],
            parameters=(*PAGE, *accounts.FILTERS, accounts.WORLD, *POINT_IN_TIME, EFFECTIVE_AT),
        ),
        scope="accounts:read",
    ),
    Route(
        "POST",
        "/accounts",
        accounts.open_account,
        ADMIN,
        Operation(
            "Open an account; its opening balance comes from the ledger's own account",
            response_model=responses.Account,
            status=201,
            request_model=requests.NewAccount,
            refusals=(
                *(errors.user_not_found, errors.account_already_exists, errors.account_code_taken),
                errors.account_limit_exceeded,
            ),
            response_headers=CREATED,
        ),
        scope="accounts:write",
    ),
    Route(
        "GET",
        "/accounts/{id}",
        accounts.get_account,
        READER,
        Operation(
            "Get an account, now or at a point in time",
            response_model=responses.Account,
            parameters=(*POINT_IN_TIME, AT_VERSION, EFFECTIVE_AT),
            refusals=ACCOUNT_MISSING,
            response_headers=TAGGED,
        ),
        scope="accounts:read",
    ),
    Route(
        "PUT",
        "/accounts/{id}",
        accounts.update_account,
        ADMIN,
        Operation(
            "Update an account's owner or policy, or adjust its balance by a transfer from or to `world`",
            response_model=responses.Account,
            request_model=requests.Account,
            refusals=ACCOUNT_CHANGE,
            response_headers=TAGGED,
            is_conditional=True,
        ),
        scope="accounts:write",
    ),
    Route(
        "PATCH",
        "/accounts/{id}",
        accounts.patch_account,
        ADMIN,
        Operation(
            "Change single members of an account",
            response_model=responses.Account,
            request_model=requests.AccountPatch,
            refusals=ACCOUNT_CHANGE,
            response_headers=TAGGED,
            is_conditional=True,
        ),
        scope="accounts:write",
    ),
    Route(
        "DELETE",
        "/accounts/{id}",
        accounts.close_account,
        ADMIN,
        Operation(
            "Close an account that has no money and no pending holds",
            refusals=(errors.account_not_found, errors.account_not_empty, errors.account_closed),
            is_conditional=True,
        ),
        scope="accounts:write",
    ),
    Route(
        "POST",
        "/accounts/{id}/reopen",
        accounts.reopen_account,
        ADMIN,
        Operation(
            "Open a closed account again, with its owner and policy",
            response_model=responses.Account,
            request_model=requests.Nothing,
            body_is_optional=True,
            refusals=(errors.account_not_found, errors.user_not_found),
            response_headers=TAGGED,
            is_conditional=True,
        ),
        scope="accounts:write",
    ),
    Route(
        "GET",
        "/accounts/{id}/proof",
        receipts.get_account_receipt,
        READER,
        Operation(
            "Get the receipt of an account's last event, or of the event with a given version",
            response_model=Receipt,
            parameters=(receipts.AT_VERSION,),
            refusals=(errors.account_not_found, *NO_SEAL),
        ),
        scope="accounts:read",
    ),
    Route(
        "GET",
        "/accounts/{id}/entries",
        log.list_account_entries,
        READER,
        Operation(
            "List the entries of an account, newest first, by recording or by effective time",
            response_model=list[responses.Entry],
            parameters=(
                *(*PAGE, log.ORDER, log.FROM_VERSION, log.TO_VERSION, *PERIOD, AFTER, log.BEFORE),
                *(*effective_entries.PARAMETERS, RECONCILED),
            ),
            refusals=ACCOUNT_MISSING,
        ),
        scope="accounts:read",
    ),
    Route(
        "GET",
        "/accounts/{id}/statement",
        statements.get_statement,
        READER,
        Operation(
            "Get the statement of an account for a period, as JSON, CSV, PDF or CAMT.053",
            response_model=Statement,
            parameters=statements.PARAMETERS,
            refusals=ACCOUNT_MISSING,
            media_types=(*statements.MEDIA.values(),),
        ),
        scope="accounts:read",
    ),
    Route(
        "GET",
        "/accounts/{id}/balance-series",
        balance_series.get_balance_series,
        READER,
        Operation(
            "Get the balance of an account over time, as a step line of few points",
            response_model=BalanceSeries,
            parameters=(balance_series.FROM, balance_series.TO, balance_series.POINTS, *POINT_IN_TIME),
            refusals=ACCOUNT_MISSING,
            note="Each point is exact. Of a long period, the extremes stay.",
        ),
        scope="accounts:read",
    ),
    Route(
        "GET",
        "/accounts/{id}/events",
        events.list_account_events,
        READER,
        Operation(
            "List the stored events of an account, in order",
            response_model=STORED_EVENTS,
            parameters=(*PAGE, AFTER),
            refusals=ACCOUNT_MISSING,
        ),
        scope="accounts:read",
    ),
)
