"""Take the pictures of the documentation: `python -m tests.support.screenshots [name…]`, or `make screenshots`.

Each view of the console is shown on a wide and a narrow screen, light and dark, with the books of a demo ledger.
"""

import asyncio
import io
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

import aiohttp
import asyncpg
from PIL import Image
from yarl import URL

from tests.support.browser import browser
from tests.support.console import Console
from tests.support.console_views import VIEWS, path_of, settled
from tests.support.controls import ADMIN_PASSWORD, Api
from tests.support.demo import Demo, write_demo
from tests.support.past import PastClock
from tests.support.processes import ROOT, Ledger
from tests.support.sealed import wait_for_seal

FOLDER = ROOT / "docs/images/console"
SIZES = {1360: 860, 390: 844}  # pixels
SCHEMES = ("light", "dark")
COLOURS = 128  # of a picture: flat surfaces and text need no more
CHART_SECONDS = 20  # in which the charts of operations get some points
ANIMATION_SECONDS = 0.6
DEADLINE_SECONDS = 1800
ROUNDS = 5
EARLY = """SET session_replication_role = replica;
           UPDATE stored_events SET recorded_at = recorded_at - interval '100 days';
           RESET session_replication_role"""
# Notes when the first view shows its books and answers to keys, in milliseconds since the browser began to load it.
NOTE_READY = """
new MutationObserver(() => {
  if (!window.readyAt && document.querySelector("main .view:not(.unready) .tiles")) window.readyAt = performance.now();
}).observe(document, { subtree: true, childList: true });
"""
NAMED = "![...document.querySelectorAll('main a.name')].some((each) => each.innerText.startsWith('…'))"
DRAWN = "![...document.querySelectorAll('main .spark')].some((each) => !each.firstChild)"
MORE = {"overview-then": "?at={past}"}  # pictures beside those of each view


@dataclass(frozen=True)
class Client:
    """A client of the service, as `Api` and `Console` use one."""

    session: aiohttp.ClientSession
    url: URL

    def make_url(self, path: str) -> URL:
        """Return the address of a path."""
        return self.url.join(URL(path))

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Begin a request."""
        return self.session.request(method, self.make_url(path), **options)


async def main(names: list[str]) -> None:
    """Start a service, write its books, and take each picture, or only those whose names begin like one of these."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ledger-pictures-", ignore_cleanup_errors=True) as name:
        folder = open_to_servers(Path(name))
        async with serving(folder, LEDGER_SEAL_SECONDS="3600") as admin:  # later than the books are written
            demo = await write_demo(admin, await past_clock(folder))
        async with (
            serving(folder, LEDGER_SEAL_SECONDS="1") as admin,
            browser(folder / "browser", deadline_seconds=DEADLINE_SECONDS) as page,
        ):
            await wait_for_seal(admin, demo.transaction_id)
            await shoot_all(Console(page, admin), demo, names)


def open_to_servers(folder: Path) -> Path:
    """Let the servers into a folder: they may run as another user."""
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def serving(folder: Path, **settings: str) -> AsyncIterator[Api]:
    """Run a service on the folder's ledger with these settings, and yield its admin."""
    running = Ledger(
        folder / "service",
        *("serve", "--workers", "1"),
        LEDGER_DATA_DIR=str(folder / "data"),
        LEDGER_ADMIN_PASSWORD=ADMIN_PASSWORD,
        SERVICE_PORT="0",
        **settings,
    )
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(session, URL(await running.url()))
            yield await Api(cast("Any", client)).logged_in("admin", ADMIN_PASSWORD)
    finally:
        await running.stop()


async def past_clock(folder: Path) -> PastClock:
    """Return the clock of the service's database. What is recorded already, the first admin, gets an early time."""
    url = f"postgresql://ledger@/ledger?host={folder / 'data' / 'run'}&port=5432"
    connection = await asyncpg.connect(url, server_settings={"search_path": "ledger"})
    await connection.execute(EARLY)
    return await PastClock.of(connection)


async def shoot_all(console: Console, demo: Demo, names: list[str]) -> None:
    """Take the pictures."""
    await console.open()
    await report_readiness(console)
    await console.page.without_scrollbars()
    ids = {"accounts": demo.account_id, "transactions": demo.transaction_id, "people": demo.user_id}
    paths = {view.title: path_of(view, ids) for view in VIEWS}
    paths |= {name: path.format(past=demo.past_position) for name, path in MORE.items()}
    for name, path in paths.items():
        for width in SIZES if is_wanted(name, names) else ():
            await console.page.look(scheme=SCHEMES[0], width=width, height=SIZES[width])
            await console.load(path)
            await asyncio.sleep(CHART_SECONDS if name == "operations" else 0)
            await shoot(console, name, width)
    await console.load()
    await console.click(".menu-body button:last-child")
    for width in SIZES if is_wanted("sign-in", names) else ():
        await shoot(console, "sign-in", width)


async def report_readiness(console: Console) -> None:
    """Print after how long the first view can be used, with a session and without a cache."""
    await console.page.before_load(NOTE_READY)
    await console.page.without_cache()
    took = []
    for _ in range(ROUNDS):
        await console.page.navigate("about:blank")
        await console.load()
        await console.until("window.readyAt")
        took.append(await console.run("window.readyAt"))
    each = ", ".join(f"{milliseconds:.0f}" for milliseconds in took)
    sys.stdout.write(f"the first view can be used after {median(took):.0f} ms (median of {each})\n")


def is_wanted(name: str, names: list[str]) -> bool:
    return not names or any(name.startswith(each) for each in names)


async def shoot(console: Console, name: str, width: int) -> None:
    """Take the pictures of what is shown now, at a width."""
    for scheme in SCHEMES:
        await console.page.look(scheme=scheme, width=width, height=SIZES[width])
        await settled(console)
        await console.until(f"{NAMED} && {DRAWN}")
        await asyncio.sleep(ANIMATION_SECONDS)
        target = FOLDER / f"{name}-{scheme}-{width}.png"
        target.write_bytes(shrink(await console.page.screenshot()))
        sys.stdout.write(f"{target.relative_to(ROOT)} {target.stat().st_size}\n")


def shrink(png: bytes) -> bytes:
    """Return a picture with few colours, in a third of the bytes."""
    few = (
        Image.open(io.BytesIO(png))
        .convert("RGB")
        .quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    out = io.BytesIO()
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
