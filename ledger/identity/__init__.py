"""Passwords, tokens, keys and the revocation cache."""
