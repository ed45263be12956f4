"""Handlers: each reads a request, asks a query or submits a command, and writes the answer. They decide nothing."""
