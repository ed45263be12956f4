"""Routes for sums of balances by code, and for the reports of accountants."""

from web import reports as models
from web.handlers import reports
from web.routes.route import AUDITOR, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/ledger/balances",
        reports.get_balances,
        AUDITOR,
        Operation(
            "Get the sums of balances by the beginning of codes",
            response_model=models.GroupBalances,
            parameters=reports.BALANCES,
        ),
        scope="ledger:read",
    ),
    Route(
        "GET",
        "/ledger/reports/trial-balance",
        reports.get_trial_balance_report,
        AUDITOR,
        Operation(
            "Get the trial balance by account",
            response_model=models.TrialBalanceReport,
            parameters=reports.STATE,
        ),
        scope="ledger:read",
    ),
    Route(
        "GET",
        "/ledger/reports/balance-sheet",
        reports.get_balance_sheet,
        AUDITOR,
        Operation(
            "Get the balance sheet",
            response_model=models.BalanceSheet,
            parameters=reports.STATE,
        ),
        scope="ledger:read",
    ),
    Route(
        "GET",
        "/ledger/reports/income-statement",
        reports.get_income_statement,
        AUDITOR,
        Operation(
            "Get the income statement of a period",
            response_model=models.IncomeStatement,
            parameters=reports.ACTIVITY,
        ),
        scope="ledger:read",
    ),
)
