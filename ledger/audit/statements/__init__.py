"""Statements of accounts: a period with its balances, its entries and its sums, in several formats."""
