"""Asynchronous building blocks: background tasks, batched loading and turns."""
