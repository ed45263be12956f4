"""Routes for reconciliations of accounts with statements of banks."""

from ledger import errors
from ledger.commands.reconciliations import reconciliation_not_found, too_many_entries
from web import reconciliations as models
from web.handlers import reconciliations
from web.http.pagination import PAGE
from web.routes.route import ADMIN, AUDITOR, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/accounts/{id}/reconciliation",
        reconciliations.list_reconciliations,
        AUDITOR,
        Operation(
            "List the reconciliations of an account with statements of its bank, newest first",
            response_model=list[models.Reconciliation],
            parameters=PAGE,
            refusals=(errors.account_not_found,),
        ),
        scope="accounts:read",
    ),
    Route(
        "POST",
        "/accounts/{id}/reconciliation",
        reconciliations.reconcile_account,
        ADMIN,
        Operation(
            "Compare an account with a statement of its bank, and match what is certain",
            response_model=models.ReconciliationReport,
            request_model=models.NewReconciliation,
            refusals=(errors.account_not_found, errors.currency_mismatch, too_many_entries),
        ),
        scope="accounts:write",
    ),
    Route(
        "POST",
        "/accounts/{id}/reconciliation/undo",
        reconciliations.undo_reconciliation,
        ADMIN,
        Operation(
            "Undo reconciliations of an account, so that their entries can be matched again",
            response_model=models.UndoneReconciliations,
            request_model=models.UndoneReconciliation,
            refusals=(errors.account_not_found, reconciliation_not_found),
        ),
        scope="accounts:write",
    ),
)
