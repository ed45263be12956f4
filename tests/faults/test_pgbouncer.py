"""Behind PgBouncer: pools of sessions work as they are, pools of transactions are refused at the start."""

from pathlib import Path

import pytest

from tests.faults.conftest import Begin, SettingsOf
from tests.support.faults.bounds import ANSWERED_SECONDS
from tests.support.faults.extent import times
from tests.support.faults.pgbouncer import PROGRAM, launch_bouncer
from tests.support.serving import serving, startup_error

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs pgbouncer: apt-get install pgbouncer")


async def test_session_mode(begin: Begin, settings_of: SettingsOf, tmp_path: Path) -> None:
    """The pooler is killed and started again as well."""
    async with (
        launch_bouncer(tmp_path, "session") as bouncer,
        begin("PgBouncer in session mode is killed and started", settings_of(bouncer.url)) as trial,
    ):
        for _ in range(times(4)):
            async with trial.during():
                await bouncer.kill()
                await bouncer.start()

    assert trial.recovery() <= ANSWERED_SECONDS + trial.allowance


async def test_transaction_mode(settings_of: SettingsOf, tmp_path: Path) -> None:
    async with launch_bouncer(tmp_path, "transaction") as bouncer:
        with serving(tmp_path / "service", settings_of(bouncer.url)) as service:
            line = await startup_error(service)

    assert "session" in line
    assert "transaction" in line
