"""What a machine must have to run the cluster of the guide."""

import os
import shutil
from pathlib import Path

from tests.support.ha.machines import ETCD, HAPROXY, PATRONI, PATRONICTL
from tests.support.ha.network import IP

POSTGRESQL = Path("/usr/lib/postgresql/15/bin/postgres")


def missing() -> list[str]:
    """List what is not there, with how to get it."""
    checks = {
        "root, for network namespaces": os.geteuid() == 0,
        "ip: apt-get install iproute2": IP is not None,
        "setpriv: apt-get install util-linux": shutil.which("setpriv") is not None,
        "Patroni: apt-get install patroni": PATRONI is not None and PATRONICTL is not None,
        "etcd: apt-get install etcd-server": ETCD is not None,
        "HAProxy: apt-get install haproxy": HAPROXY is not None,
        "PostgreSQL 15: apt-get install postgresql-15": POSTGRESQL.exists(),
    }
    return [what for what, is_there in checks.items() if not is_there]
