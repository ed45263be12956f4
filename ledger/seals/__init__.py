"""Tamper evidence: the log, sealed in signed blocks, so that no event can be changed, added or taken away unseen."""
