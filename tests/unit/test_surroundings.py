"""The suite runs alike wherever it is started: its processes inherit nothing unexpected."""

import json
import os
import subprocess
import sys

from tests.support.processes import ROOT

# A background job of a shell ignores the first, `nohup` the second, and some runners the third.
STARTS_A_PROCESS = """
import os, signal, subprocess, sys
for name in ("SIGINT", "SIGHUP", "SIGCHLD"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
os.umask(0o077)
from tests.support.surroundings import settle
settle()
for name in ("SIGINT", "SIGHUP"):
    os.kill(os.getpid(), getattr(signal, name))  # which it goes on to ignore
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
"""
SAYS_WHAT_IT_INHERITED = """
import json, os, signal, sys
ignored = [number.name for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
ignored = sorted({"SIGINT", "SIGHUP", "SIGCHLD"} & {*ignored})
print(json.dumps({"ignored": ignored, "mask": os.umask(0), "variables": [*os.environ]}))
sys.exit(3)
"""
FOREIGN = {
    "PGHOST": "elsewhere",
    "DATABASE_URL": "postgresql://elsewhere/",
    "ledger_queue_limit": "1",
    "LOG_LEVEL": "no",
}


def test_children_inherit_no_ignored_signal_umask_or_foreign_variable() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTS_A_PROCESS, SAYS_WHAT_IT_INHERITED],
        env={**os.environ, **FOREIGN, "KEPT": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=False,
    )
    inherited = json.loads(done.stdout)
    variables = set(inherited.pop("variables"))
    assert (3, {"ignored": [], "mask": 0o022}) == (done.returncode, inherited)
    assert {"KEPT"} == variables & {*FOREIGN, "KEPT"}
