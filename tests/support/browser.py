"""A headless browser, driven over the DevTools protocol: Chromium if installed, else Lightpanda from its wheel."""

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.processes import DEADLINE_SECONDS

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
)
KEY_CODES = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
ADDRESS = re.compile(rb"(?:listening on ws://|address=)(127\.0\.0\.1:\d+)")


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
        """Open an empty page."""
        target = await self._call("Target.createTarget", url="about:blank")
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
                self.complaints.append(details["entry"]["text"])
            case "Runtime.consoleAPICalled" if details["type"] == "error":
                self.complaints.append(json.dumps(details["args"]))
            case _:
                pass


@asynccontextmanager
async def browser(folder: Path, *, deadline_seconds: float = DEADLINE_SECONDS) -> AsyncIterator[Page]:
    """Yield an empty page; stop the browser when the block ends, or after the deadline."""
    async with asyncio.timeout(deadline_seconds):
        process = await asyncio.create_subprocess_exec(
            *_command(folder),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            address, has_layout = await _address(process), _chromium() is not None
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{address}/json/version") as answer:
                    url = (await answer.json(content_type=None))["webSocketDebuggerUrl"]
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    yield Page(socket, has_layout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its child processes would keep the pipe open
            await process.communicate()


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def _command(folder: Path) -> list[str]:
    installed = _chromium()
    if installed is not None:
        return [installed, *CHROMIUM_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    wheel = find_spec("lightpanda")
    assert wheel is not None
    assert wheel.origin is not None
    return [
        "env",
        "LIGHTPANDA_DISABLE_TELEMETRY=true",
        str(Path(wheel.origin).parent / "lightpanda"),
        "serve",
        "--port",
        "0",
    ]


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        if found := ADDRESS.search(line):
            return found[1].decode()
    raise AssertionError("the browser did not start")
