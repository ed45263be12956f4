"""An event-sourced, double-entry ledger: the core, its event store and its projections. HTTP lives in `web`."""

__version__ = "0.1.0"
