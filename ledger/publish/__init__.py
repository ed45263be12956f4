"""Sends events of the log to other systems, after they are durable and in order."""
