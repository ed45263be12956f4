"""Statements of banks: each entry becomes a transfer between the bank's account and another one."""
