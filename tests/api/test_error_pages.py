"""The error pages and the error reference come from one table and match the service's responses."""

import base64
import hashlib
import html
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import browser
from tests.support.controls import NOBODY, Api, transfer_body
from tests.support.processes import ROOT
from web.http.catalogue import CATALOGUE, page_of, phrase
from web.reference import examples, markdown

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
JSON = "application/json"
VARYING = {"trace_id", "timestamp", "instance"}


def without_varying(problem: dict[str, Any]) -> dict[str, Any]:
    errors = [{name: entry[name] for name in entry.keys() - VARYING} for entry in problem["errors"]]
    return {**{name: problem[name] for name in problem.keys() - VARYING}, "errors": errors}


# The catalogue


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_is_explained_in_sentences(code: str) -> None:
    known = CATALOGUE[code]

    assert re.fullmatch(r"[A-Z][^.`\n]+[^.\n]", known.title)
    for text in (known.description, known.help):
        assert re.fullmatch(r"[A-Z`][^\n]*\.", text)
        assert 0 == text.count("`") % 2
        assert all(len(sentence.split()) <= 30 for sentence in text.split(". "))


def test_the_phrases_of_statuses_are_those_of_rfc_9110() -> None:
    assert ["Content Too Large", "Unprocessable Content", "Not Found"] == [phrase(413), phrase(422), phrase(404)]


def test_the_error_reference_is_up_to_date_with_the_code() -> None:
    written = (ROOT / "docs" / "reference" / "errors.md").read_text()

    assert markdown() == written, "run `make reference`"


def test_the_error_reference_explains_each_code_completely() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", markdown(), re.DOTALL | re.MULTILINE))

    assert list(CATALOGUE) == list(sections)
    for code, known in CATALOGUE.items():
        assert str(known.status) in sections[code]
        for text in (known.kind, known.title, known.description, known.help, '"errors": ['):
            assert text in sections[code], code


async def test_the_examples_match_the_responses_of_the_service(api: Api) -> None:
    made = examples()
    nobody = await api.nobody.get("/v1/accounts")
    unknown = await api.post("/v1/transactions/transfer", {**transfer_body(NOBODY, NOBODY, 5), "amount": 5})
    malformed = await api.post("/v1/transactions/batch", data=b'{"atomic": }', headers={"Content-Type": JSON})
    user_id = made["user_not_found"]["errors"][0]["detail"]["user_id"]
    missing = await api.get(f"/v1/users/{user_id}")
    account = await api.new_account(balance_cents=1)
    same = await api.transfer(account, account, 1)

    for answer in (nobody, unknown, malformed, missing, same):
        assert without_varying(made[answer.codes[0]]) == without_varying(answer.body)
    assert "The request has no `Authorization` header." == nobody.body["errors"][0]["description"]


# The pages


async def test_every_code_has_an_html_and_a_json_page(api: Api) -> None:
    for (code, known), example in zip(CATALOGUE.items(), examples().values(), strict=True):
        page = await api.nobody.get(page_of(code), headers=HTML)
        told = await api.nobody.get(page_of(code))

        assert (200, "text/html; charset=utf-8") == (page.status, page.headers["Content-Type"])
        shown = re.sub("</?code>", "`", page.body)
        assert all(html.escape(text) in shown for text in (code, known.title, known.description, known.help))
        assert (200, JSON) == (told.status, told.headers["Content-Type"])
        assert {**known._asdict(), "code": code, "doc_url": page_of(code), "example": example} == told.body


async def test_the_index_links_every_page(api: Api) -> None:
    page = await api.nobody.get("/errors", headers=HTML)
    told = await api.nobody.get("/errors")

    assert [page_of(code) for code in CATALOGUE] == re.findall('href="(/errors/[^"]+)"', page.body)
    assert list(CATALOGUE) == re.findall(r"<code>(\w+)</code>", page.body.replace("_<wbr>", "_"))
    assert list(CATALOGUE) == [known["code"] for known in told.body]


async def test_the_type_of_a_problem_is_the_url_of_its_page(api: Api) -> None:
    problem = (await api.get("/v1/nowhere")).body

    page = await api.nobody.get(problem["type"])

    assert (200, problem["title"]) == (page.status, page.body["title"])
    assert problem["type"] == problem["errors"][0]["doc_url"]


@pytest.mark.parametrize("path", ["/errors", "/errors/rate_limited"])
async def test_pages_can_be_cached_and_load_nothing(api: Api, path: str) -> None:
    for headers in (HTML, {}):
        answer = await api.nobody.get(path, headers=headers)
        assert "public, max-age=3600" == answer.headers["Cache-Control"]
        assert "Accept" == answer.headers["Vary"]

    page = await api.nobody.get(path, headers=HTML)
    (style,) = re.findall("<style>(.*?)</style>", page.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "color-scheme: light dark" in style
    assert "<script" not in page.body


async def test_an_unknown_code_has_no_page(api: Api) -> None:
    """It is not mistaken for a route of an unknown version either."""
    for path in ("/errors/users", "/errors/nonsense", "/errors/%3Cscript%3E", "/docs/health"):
        for headers in (HTML, {}):
            answer = await api.nobody.get(path, headers=headers)
            assert (404, ["resource_not_found"]) == (answer.status, answer.codes)


@pytest.mark.parametrize("path", ["/errors", "/errors/transfer_destination_account_not_found"])
async def test_a_page_fits_a_narrow_screen(api: Api, tmp_path: Path, path: str) -> None:
    async with browser(tmp_path) as page:
        await page.open(str(api.client.make_url(path)))
        await page.run("document.querySelector('h1')?.textContent")
        await page.look(scheme="light", width=320)
        wider = await page.run("String(document.documentElement.scrollWidth > innerWidth)")

    assert (not page.has_layout) or wider == "false"


async def test_a_browser_shows_a_page_without_errors(api: Api, tmp_path: Path) -> None:
    url = str(api.client.make_url("/errors/validation_error"))

    async with browser(tmp_path) as page:
        await page.open(url)
        title = await page.run("document.querySelector('h1')?.textContent")
        assert "block" == await page.run("getComputedStyle(document.querySelector('pre')).display")

    assert ("Invalid request", []) == (title, page.complaints)
    assert [url] == [asked for asked in page.requested if asked[:5] != "data:"]
