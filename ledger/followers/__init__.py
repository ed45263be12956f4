"""Readers of the log that keep a position of their own."""
