"""Import users, accounts, balances and transactions of the reference service. An interrupted run can be resumed."""
