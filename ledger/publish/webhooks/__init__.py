"""Webhooks: events are sent to the addresses of clients, signed, in order and at least once."""
