"""Asynchronous building blocks: background tasks, combined look-ups and locks by key."""
