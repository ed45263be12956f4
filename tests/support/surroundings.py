"""Make every run of the suite begin alike, wherever it is started: in a terminal, in the background, or by a CI runner.

A process hands its signal dispositions, environment and file mode mask down to its children, so the tests' servers and
clients would depend on the shell that starts the suite.
"""

import os
import signal

from tests.support.processes import without_settings

# A background job of a shell ignores the first and the third of these, `nohup` the second; some runners ignore others.
SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)
PREFIXES = ("PG", "PIP_")
LOOPBACK = "localhost,127.0.0.1,::1"  # a proxy is for packages; the tests' own servers are here
UMASK = 0o022


def settle() -> None:
    """Give this process, and with it all of its children, the surroundings that the tests count on."""
    _handle_ignored_signals()
    os.umask(UMASK)
    kept = {name for name in without_settings(os.environ) if not name.startswith(PREFIXES)}
    for name in os.environ.keys() - kept:
        del os.environ[name]
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), LOOPBACK)))


def _handle_ignored_signals() -> None:
    """Go on ignoring what is ignored, with a handler: a child inherits SIG_IGN, but of a handler only the default."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
