"""The console in a browser, as a person uses it. What a page must never do is collected, for the test's end."""

import asyncio
import json
import re
from typing import Any

from yarl import URL

from tests.support.browser import Page
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, Api

PATIENCE_SECONDS = 60  # for what should take a second: a busy machine must not fail a test
INSIDE = ("data:", "blob:")  # of the browser's own controls, and of files that a page has made
RESOURCE_FAILED = "Failed to load resource"
NOT_SEALED = re.compile(r"status of 409 .*/proof$")  # of what was recorded a moment ago, which the next block has
# Before a page is loaded: what happens every few seconds happens ten times as often. The silence of a feed is longer.
QUICK = (
    "const wait = setTimeout; setTimeout = (f, time = 0, ...rest) => wait(f, time < 30000 ? time / 10 : time, ...rest);"
)
GO = "(history.pushState(null, '', URL), dispatchEvent(new PopStateEvent('popstate')))"


class Console:
    """A page of the console of a running service. `open` is the first call."""

    def __init__(self, page: Page, api: Api) -> None:
        self.page = page
        self.api = api
        self._expected: set[str] = set()
        self._is_open = False

    async def open(self, path: str = "", username: str = "admin", password: str = ADMIN_PASSWORD) -> None:
        """Go to a view as a link does; the first time, load the console and sign in on the way."""
        if self._is_open:
            await self._leave()
            await self.run(GO.replace("URL", json.dumps(self._url(path))))
            await self._arrive()
            return
        self._is_open = True
        await self.page.open(self._url(path))
        await self.page.look(scheme="light", width=1360)
        await self.sign_in(username, password)

    async def load(self, path: str = "") -> None:
        """Go to a view by its address, which loads the console again."""
        await self._leave()
        await self.page.navigate(self._url(path))
        await self._arrive()

    async def slide(self, position: int | str) -> None:
        """Go to the view as of a position."""
        await self._leave()
        await self.fill("#bar .slider", str(position))
        await self.until("location.search.includes('at=') && document.querySelector('#band strong')")
        await self._arrive()

    async def _leave(self) -> None:
        """Mark the view that is shown, so that the next one can be told from it."""
        await self.run("document.querySelector('main > .view')?.setAttribute('data-before', '')")

    async def _arrive(self) -> None:
        await self.until("document.querySelector('main > .view:not(.unready, [data-before])')")

    async def sign_in(self, username: str, password: str) -> None:
        """Fill in the form for signing in, and wait for a view."""
        await self.fill(".sign-in [autocomplete=username]", username)
        await self.fill(".sign-in [autocomplete=current-password]", password)
        await self.click(".sign-in button")
        await self.until(
            "!document.body.classList.contains('signed-out') && document.querySelector('main .view:not(.unready)')"
        )

    async def change_user(self, username: str, password: str = PASSWORD) -> None:
        """Sign out, and sign in as somebody else, who sees the same view."""
        await self.click(".menu-body button:last-child")
        await self.sign_in(username, password)

    def _url(self, path: str) -> str:
        return str(self.api.client.make_url("/console")) + path

    async def until(self, condition: str) -> None:
        """Wait until a condition in JavaScript holds. Otherwise fail with what the page shows."""
        await self._wait(f"Boolean({condition})")

    async def run(self, expression: str) -> Any:
        """Return the value of an expression, whatever it is. One that raises is tried again."""
        return json.loads(await self._wait(f"JSON.stringify([{expression}])"))[0]

    async def _wait(self, script: str) -> Any:
        """Return the result of a script as soon as it is true. Otherwise fail with what the page shows."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self.page.run(script)
        except TimeoutError:
            shown = await self.page.run("location.href + '\\n' + document.body.innerText")
            raise AssertionError(f"{script} has no result\n{shown}\n{self.page.complaints}") from None

    async def click(self, selector: str) -> None:
        """Click an element as soon as it exists."""
        await self.until(f"document.querySelector({json.dumps(selector)})")
        await self._wait(f"document.querySelector({json.dumps(selector)}).click() || true")

    async def fill(self, selector: str, text: str) -> None:
        """Type a text into a field as soon as it exists, in the place of what it has."""
        await self.until(f"document.querySelector({json.dumps(selector)})")
        await self._wait(
            f"((field) => {{ field.focus(); field.value = {json.dumps(text)}; "
            "field.dispatchEvent(new Event('input', { bubbles: true })); "
            "field.dispatchEvent(new Event('change', { bubbles: true })); return true; })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    async def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that a selector finds now."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.innerText.trim())"
        return list(await self.run(found))

    async def sees(self, text: str) -> None:
        """Wait until the view shows a text."""
        await self.until(f"document.querySelector('main').innerText.includes({json.dumps(text)})")

    def expect(self, *statuses: int) -> None:
        """Allow the browser to report that requests were refused with these statuses."""
        self._expected.update(f"status of {status}" for status in statuses)

    def expect_outage(self) -> None:
        """Allow the browser to report that the service could not be reached."""
        self._expected.add("net::ERR_CONNECTION")

    def _is_expected(self, complaint: str) -> bool:
        return bool(NOT_SEALED.search(complaint)) or any(each in complaint for each in self._expected)

    async def close(self) -> None:
        """Fail if the page has reported an error or a violation of its policy, or has asked another host."""
        await asyncio.sleep(0.05)
        await self.page.run("true")  # takes in what the browser has reported since
        complaints = [
            complaint
            for complaint in self.page.complaints
            if RESOURCE_FAILED not in complaint or not self._is_expected(complaint)
        ]
        assert not complaints, complaints
        addresses = [URL(each) for each in self.page.requested if not each.startswith(INSIDE)]
        elsewhere = {each.origin() for each in addresses} - {self.api.client.make_url("/").origin()}
        assert not elsewhere, elsewhere
