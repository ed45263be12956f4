"""Tamper evidence: signed blocks over the log reveal every event that was changed, added or removed."""
