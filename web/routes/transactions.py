"""Routes for transfers, journal entries, holds and reversals."""

from ledger import errors
from ledger.seals.receipts import Receipt
from web import amendments as models
from web import requests, responses
from web.auth import roles
from web.handlers import (
    amendments,
    batch_stream,
    receipts,
    transactions,
)
from web.http.pagination import PAGE
from web.http.params import CURRENCY, PERIOD, POINT_IN_TIME
from web.routes.route import ADMIN, BATCH_PAYER, NO_SEAL, PAYER, READER, TAGGED, Operation, Refusing, Route

HELD_ACCOUNTS: tuple[Refusing, ...] = (errors.account_closed, errors.account_frozen, errors.account_limit_exceeded)
VOIDER = roles("admin", "customer", owned=True)  # others than admins cancel what they have scheduled
HOLD_REFUSALS: tuple[Refusing, ...] = (errors.transaction_not_found, errors.hold_not_pending)
TRANSFER_REFUSALS: tuple[Refusing, ...] = (
    errors.transaction_already_exists,
    errors.insufficient_funds,
    errors.source_account_not_found,
    errors.destination_account_not_found,
    errors.accounts_are_same,
    errors.account_closed,
    errors.account_frozen,
    errors.account_limit_exceeded,
    errors.currency_mismatch,
    errors.reference_already_exists,
    errors.period_closed,
)

ROUTES = (
    Route(
        "GET",
        "/transactions",
        transactions.list_transactions,
        READER,
        Operation(
            "List transactions, newest first; customers see their own. A page may be short although another follows",
            response_model=list[responses.Transaction],
            parameters=(
                *PAGE,
                transactions.USER_ID,
                transactions.ACCOUNT_ID,
                CURRENCY,
                transactions.STATUS,
                transactions.KIND,
                transactions.REFERENCE,
                transactions.MIN_AMOUNT,
                transactions.MAX_AMOUNT,
                *PERIOD,
                transactions.AUTHORIZED_FROM,
                transactions.AUTHORIZED_TO,
                *POINT_IN_TIME,
            ),
        ),
        scope="transactions:read",
    ),
    Route(
        "POST",
        "/transactions",
        transactions.post_journal_entry,
        PAYER,
        Operation(
            "Move money between several accounts at once",
            response_model=responses.JournalEntry,
            request_model=requests.JournalEntry,
            refusals=tuple(refusal for refusal in TRANSFER_REFUSALS if refusal != errors.currency_mismatch),
        ),
        scope="transactions:write",
    ),
    Route(
        "POST",
        "/transactions/batch",
        transactions.create_transfer_batch,
        BATCH_PAYER,
        Operation(
            "Create many transfers, together or one by one; JSON Lines are answered as they are processed",
            response_model=responses.BatchResult,
            request_model=requests.Batch,
            accepts_json_lines=True,
            refusals=(errors.transaction_id_reused, *TRANSFER_REFUSALS),
            media_types=("application/json", batch_stream.CONTENT_TYPE),
        ),
        scope="transactions:write",
    ),
    Route(
        "POST",
        "/transactions/transfer",
        transactions.create_transfer,
        PAYER,
        Operation(
            "Transfer money from one account to another",
            response_model=responses.Transfer,
            request_model=requests.ConditionalTransfer,
            refusals=(*TRANSFER_REFUSALS, errors.condition_not_met),
            is_conditional=True,
        ),
        scope="transactions:write",
    ),
    Route(
        "POST",
        "/transactions/hold",
        transactions.place_hold,
        PAYER,
        Operation(
            "Hold money of an account for another",
            response_model=responses.Hold,
            request_model=requests.Hold,
            refusals=TRANSFER_REFUSALS,
        ),
        scope="transactions:write",
    ),
    Route(
        "POST",
        "/transactions/{id}/capture",
        transactions.capture_hold,
        ADMIN,
        Operation(
            "Capture all or part of a hold, and release the rest or keep it for another capture",
            response_model=responses.Hold,
            request_model=requests.Capture,
            body_is_optional=True,
            refusals=(*HOLD_REFUSALS, *HELD_ACCOUNTS, errors.reference_already_exists, errors.period_closed),
        ),
        scope="transactions:write",
    ),
    Route(
        "POST",
        "/transactions/{id}/void",
        transactions.void_hold,
        VOIDER,
        Operation(
            "Release a hold, or cancel a scheduled transaction",
            response_model=responses.Voided,
            request_model=requests.Nothing,
            body_is_optional=True,
            refusals=(*HOLD_REFUSALS, errors.transaction_not_scheduled),
            note="Customers, and clients with limits, cancel only what they have scheduled themselves.",
        ),
        scope="transactions:write",
    ),
    Route(
        "POST",
        "/transactions/{id}/reverse",
        transactions.reverse_transaction,
        ADMIN,
        Operation(
            "Reverse a transaction, or a part of it",
            response_model=responses.Reversal,
            request_model=requests.Reversal,
            body_is_optional=True,
            refusals=(
                *(errors.transaction_not_found, errors.transaction_already_exists, errors.insufficient_funds),
                *(errors.transaction_already_reversed, errors.transaction_not_reversible, *HELD_ACCOUNTS),
                *(errors.destination_account_not_found, errors.accounts_are_same, errors.currency_mismatch),
                errors.reference_already_exists,
            ),
        ),
        scope="transactions:write",
    ),
    Route(
        "GET",
        "/transactions/{id}",
        transactions.get_transaction,
        READER,
        Operation(
            "Get a transaction, now or at a point in time",
            response_model=responses.Transaction,
            parameters=POINT_IN_TIME,
            refusals=(errors.transaction_not_found,),
            response_headers=TAGGED,
        ),
        scope="transactions:read",
    ),
    Route(
        "PATCH",
        "/transactions/{id}",
        amendments.patch_transaction,
        ADMIN,
        Operation(
            "Amend a transaction's description and metadata",
            response_model=responses.Transaction,
            request_model=models.TransactionPatch,
            refusals=(errors.transaction_not_found,),
            response_headers=TAGGED,
            is_conditional=True,
        ),
        scope="transactions:write",
    ),
    Route(
        "GET",
        "/transactions/{id}/amendments",
        amendments.list_amendments,
        READER,
        Operation(
            "List what a transaction said: first as it was made, then after each amendment",
            response_model=list[models.AmendedTexts],
            refusals=(errors.transaction_not_found,),
        ),
        scope="transactions:read",
    ),
    Route(
        "GET",
        "/transactions/{id}/proof",
        receipts.get_transaction_receipt,
        READER,
        Operation(
            "Get the receipt of a transaction",
            response_model=Receipt,
            refusals=(errors.transaction_not_found, *NO_SEAL),
        ),
        scope="transactions:read",
    ),
)
