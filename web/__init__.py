"""The ledger over HTTP: the contract's paths, bodies and errors, and nothing that decides about money."""
