# ruff: noqa: F403
"""Refusals and faults.

A *refusal* is a state of the world that forbids a command: it has a stable code that clients rely on, and changes
nothing. A *fault* is a failure of the service; its class ends in `Error`. `web.http.catalogue` alone decides the HTTP
status of both.
"""

from ledger.errors.accounts import *
from ledger.errors.assets import *
from ledger.errors.faults import *
from ledger.errors.identity import *
from ledger.errors.periods import *
from ledger.errors.refusal import *
from ledger.errors.requests import *
from ledger.errors.service import *
from ledger.errors.transactions import *
