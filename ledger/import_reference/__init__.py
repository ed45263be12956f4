"""Takes over what the reference service holds: users, accounts, balances, transactions. Runs can be resumed."""
