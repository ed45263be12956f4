"""Names of the store's tables, for findings and locks. Only `ledger.store` has SQL on these tables."""

STORED_EVENTS = "stored_events"
STREAM_HEADS = "stream_heads"
COMMAND_LOG = "command_log"
OUTBOX = "outbox"


def log_table(schema: str) -> str:
    """Return the qualified name of the log's table in a schema."""
    return f'"{schema}".{STORED_EVENTS}'
