"""The files of the console, as a browser gets them."""

import pytest

from tests.support.controls import Api
from web.handlers.console import FOLDER, MEDIA

NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*") if path.is_file())


def test_every_file_has_a_known_media_type() -> None:
    assert {*MEDIA} == {name[name.rindex(".") :] for name in NAMES}


async def test_every_file_is_served_with_the_policy_that_allows_this_host_alone(api: Api) -> None:
    for name in NAMES:
        answer = await api.nobody.get(f"/console/{name}" if name != "index.html" else "/console")
        policy = answer.headers["Content-Security-Policy"]
        assert 200 == answer.status
        assert answer.body == (FOLDER / name).read_text()
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert ("nosniff", "no-referrer", "no-cache") == (
            answer.headers["X-Content-Type-Options"],
            answer.headers["Referrer-Policy"],
            answer.headers["Cache-Control"],
        )


@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_a_file_that_has_not_changed_is_not_sent_again(api: Api, coding: str) -> None:
    headers = {"Accept-Encoding": coding}
    first = await api.nobody.get("/console/main.js", headers=headers)

    again = await api.nobody.get("/console/main.js", headers={**headers, "If-None-Match": first.headers["ETag"]})
    other = await api.nobody.get("/console/main.js", headers={**headers, "If-None-Match": '"0123456789abcdef"'})

    assert [(304, ""), (200, first.body)] == [(again.status, again.body), (other.status, other.body)]
    assert first.headers["ETag"] == again.headers["ETag"]


@pytest.mark.parametrize(
    "path", ["", "/", "/accounts", "/accounts/0190", "/transactions/x?at=12", "/a/b/c", "/views/accounts"]
)
async def test_the_path_of_a_view_gets_the_page(api: Api, path: str) -> None:
    answer = await api.nobody.get(f"/console{path}")

    assert (200, "text/html; charset=utf-8") == (answer.status, answer.headers["Content-Type"])


@pytest.mark.parametrize(
    "path",
    [
        "/none.js",
        "/../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "/views/../../app.py",
        "/.env",
        "/index.html",
        "/x/.git",
    ],
)
async def test_nothing_else_is_served(api: Api, path: str) -> None:
    async with api.client.get(f"/console{path}", allow_redirects=False) as answer:
        text = await answer.text()

    assert 404 == answer.status
    assert "import" not in text
