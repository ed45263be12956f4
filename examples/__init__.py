"""Projections of a ledger that are no part of it."""
