"""What clients may count on while machines fail, from the timeouts in the guide."""

import yaml

from tests.support.ha import document

_DCS = yaml.safe_load(document.block("patroni"))["bootstrap"]["dcs"]
TTL_SECONDS = int(_DCS["ttl"])
FAILOVER_SECONDS = TTL_SECONDS + 3
SWITCHOVER_SECONDS = 3
REPLICA_SECONDS = 8  # wal_sender_timeout, a few rounds of Patroni, and a busy machine
