"""Rebuild projections while the service runs."""
