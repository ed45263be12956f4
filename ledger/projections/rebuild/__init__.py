"""Rebuilding projections while the service runs."""
