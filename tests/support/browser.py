"""A headless browser, driven over the DevTools protocol: Chromium, or Lightpanda from its wheel if that is enough."""

import asyncio
import base64
import itertools
import json
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp

from tests.support.chromium import NoChromiumError, find_chromium
from tests.support.processes import DEADLINE_SECONDS

CHROMIUM_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-zygote",
    "--no-first-run",
    "--remote-debugging-port=0",
)
KEY_CODES = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
ADDRESS = re.compile(rb"(?:listening on ws://|address=)(127\.0\.0\.1:\d+)")
LINES = 20  # of a browser's output, for when it does not start


class Page:
    """One page, with the requests it makes and the errors it reports.

    `has_layout` is true if the browser lays out and paints pages, so that colours and sizes can be checked.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, has_layout: bool) -> None:
        self.has_layout = has_layout
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._ids = itertools.count(1)
        self._session: dict[str, str] = {}

    async def open(self, url: str) -> None:
        """Start loading a page."""
        if not self._session:
            await self.start()
        await self._call("Page.navigate", url=url)

    async def start(self) -> None:
        """Open an empty page, with cookies and a cache of its own if the browser has a place for them."""
        own = await self._call("Target.createBrowserContext", disposeOnDetach=True) if self.has_layout else {}
        target = await self._call("Target.createTarget", url="about:blank", **own)
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self._call(f"{domain}.enable")

    async def navigate(self, url: str) -> None:
        """Start loading another page in the place of this one."""
        await self._call("Page.navigate", url=url)

    async def before_load(self, script: str) -> None:
        """Run a script in each page that is loaded from now on, before the page's own."""
        await self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    async def without_scrollbars(self) -> None:
        """Show no bars beside what scrolls, as on a phone."""
        await self._call("Emulation.setScrollbarsHidden", hidden=True)

    async def without_cache(self) -> None:
        """Load everything from the service from now on."""
        await self._call("Network.setCacheDisabled", cacheDisabled=True)

    async def press(self, *keys: str) -> None:
        """Press keys, each by its name in the DOM, such as `a`, `Enter` or `ArrowDown`."""
        for key in keys:
            text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
            code = {"windowsVirtualKeyCode": KEY_CODES[key]} if key in KEY_CODES else {}
            await self._call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
            await self._call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    async def screenshot(self) -> bytes:
        """Return what the page looks like, as a PNG."""
        shot = await self._call("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def thread_seconds(self) -> float:
        """Return for how long the page's main thread has run: what it waits for on a busy machine does not count."""
        await self._call("Performance.enable", timeDomain="threadTicks")
        answer = await self._call("Performance.getMetrics")
        return float({each["name"]: each["value"] for each in answer["metrics"]}["TaskDuration"])

    async def heap_bytes(self) -> float:
        """Return how much memory the page's scripts use, without garbage."""
        await self._call("HeapProfiler.enable")
        await self._call("HeapProfiler.collectGarbage")
        return float((await self._call("Runtime.getHeapUsage"))["usedSize"])

    async def look(self, *, scheme: str, width: int, height: int = 900, media: str = "", motion: str = "") -> None:
        """Show the page on a screen of this size, in the light or the dark colour scheme.

        `media` may be `print`, and `motion` may be `reduce`, for a reader who wants none.
        """
        preferred = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        await self._call("Emulation.setEmulatedMedia", media=media, features=features)
        await self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def run(self, script: str) -> Any:
        """Run a script until its result is true; return that result."""
        while True:
            answer = await self._call("Runtime.evaluate", expression=script, returnByValue=True)
            if value := answer["result"].get("value"):
                return value
            await asyncio.sleep(0.02)

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **self._session})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                result: dict[str, Any] = message["result"]
                return result
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event: str | None, details: dict[str, Any]) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.requested.append(details["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(details))
            case "Log.entryAdded" if details["entry"]["level"] == "error":
                self.complaints.append(f"{details['entry']['text']} {details['entry'].get('url', '')}")
            case "Runtime.consoleAPICalled" if details["type"] == "error":
                self.complaints.append(json.dumps(details["args"]))
            case _:
                pass


class Browser:
    """A running browser. Its pages know nothing of each other."""

    def __init__(self, address: str, has_layout: bool) -> None:
        self._address = address
        self._has_layout = has_layout

    @asynccontextmanager
    async def page(self, *, deadline_seconds: float = DEADLINE_SECONDS) -> AsyncIterator[Page]:
        """Yield an empty page, and close it when the block ends, or after the deadline."""
        async with asyncio.timeout(deadline_seconds), aiohttp.ClientSession() as session:
            async with session.get(f"http://{self._address}/json/version") as answer:
                url = (await answer.json(content_type=None))["webSocketDebuggerUrl"]
            async with session.ws_connect(url, max_msg_size=0) as socket:
                yield Page(socket, self._has_layout)


@asynccontextmanager
async def browser(folder: Path, *, deadline_seconds: float = DEADLINE_SECONDS) -> AsyncIterator[Page]:
    """Yield an empty page of a browser of its own; stop that when the block ends, or after the deadline."""
    with run_browser(folder) as running:
        async with running.page(deadline_seconds=deadline_seconds) as page:
            yield page


@contextmanager
def run_browser(folder: Path, *, needs_layout: bool = False) -> Iterator[Browser]:
    """Run a browser until the block ends. Raises `NoChromiumError` if a layout is needed, and nothing has one."""
    command, variables, has_layout = _command(folder, needs_layout)
    process = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Browser(_read_address(process), has_layout)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its child processes would keep the pipe open
        process.wait()


def _command(folder: Path, needs_layout: bool) -> tuple[list[str], dict[str, str], bool]:
    """Return a command with its variables, and whether its browser lays out pages."""
    try:
        found = find_chromium()
    except NoChromiumError:
        if needs_layout:
            raise
    else:
        options = [*CHROMIUM_OPTIONS, *found.options, f"--user-data-dir={folder}", "about:blank"]
        return [found.path, *options], dict(found.variables), True
    wheel = find_spec("lightpanda")
    assert wheel is not None
    assert wheel.origin is not None
    command = [str(Path(wheel.origin).parent / "lightpanda"), "serve", "--port", "0"]
    return command, {"LIGHTPANDA_DISABLE_TELEMETRY": "true"}, False


def _read_address(process: "subprocess.Popen[bytes]") -> str:
    """Return the address that the browser prints, and read on, so that it never waits for a reader."""
    found = Future[str]()
    last = deque[bytes](maxlen=LINES)

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                last.append(line)
                if not found.done() and (match := ADDRESS.search(line)):
                    found.set_result(match[1].decode())
        if not found.done():
            found.set_exception(AssertionError(b"".join([b"the browser did not start\n", *last]).decode()))

    Thread(target=read, daemon=True).start()
    return found.result(DEADLINE_SECONDS)
