"""Tasks that process the log after the fact and keep their own position in it."""
