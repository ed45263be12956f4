"""Measures the ledger against PostgreSQL itself, on one server in one run, because only ratios travel."""
