"""Handlers: each reads a request, runs a query or submits a command, and writes the response. They decide nothing."""
