"""Make every run of the suite start alike: in a terminal, in the background, or on a CI runner.

Children inherit signal dispositions, environment and umask, so the tests' servers and clients would depend on the
shell that starts the suite.
"""

import os
import signal

from tests.support.processes import without_settings

# A shell's background job ignores the first and third of these, `nohup` the second, and some runners others.
SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)
PREFIXES = ("PG", "PIP_")
LOOPBACK = "localhost,127.0.0.1,::1"  # requests to the tests' own servers must not go through a proxy
UMASK = 0o022


def settle() -> None:
    """Set the signals, umask and environment that this process passes on to its children."""
    _handle_ignored_signals()
    os.umask(UMASK)
    kept = {name for name in without_settings(os.environ) if not name.startswith(PREFIXES)}
    for name in os.environ.keys() - kept:
        del os.environ[name]
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), LOOPBACK)))


def _handle_ignored_signals() -> None:
    """Replace SIG_IGN by a handler that does nothing: children inherit SIG_IGN, but not handlers."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
