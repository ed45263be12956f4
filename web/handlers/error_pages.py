"""The pages about errors, to which `type` and `doc_url` lead: HTML for people, JSON for programs."""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from ledger.errors import Refused
from web.http.catalogue import CATALOGUE, PATH, page_of, phrase
from web.http.errors import NO_SUCH_RESOURCE
from web.http.negotiation import accept_of, choose_media
from web.http.params import Parameter
from web.http.response import Reply
from web.response_fields import Answer
from web.responses import Problem

EXAMPLES = web.AppKey("EXAMPLES", Mapping[str, Any])  # a problem for each code
CODE = Parameter("code", "The error's code", str, schema={"enum": sorted(CATALOGUE)}, place="path")
JSON, HTML = MEDIA = ("application/json", "text/html")


class ErrorType(Answer, frozen=True):
    """An error: what its code means, and what a client can do about it; `example` is a problem that has it."""

    code: Annotated[str, Meta(examples=["user_not_found"])]
    status: Annotated[int, Meta(ge=400, le=599, examples=[404])]
    kind: Annotated[str, Meta(examples=["resource_not_found"])]
    title: Annotated[str, Meta(examples=["User not found"])]
    description: Annotated[str, Meta(examples=["There is no user with this id, or the caller may not see it."])]
    help: Annotated[str, Meta(examples=["Check the id. Admins can list all users."])]
    doc_url: Annotated[str, Meta(description="The page's path", examples=["/errors/user_not_found"])]
    example: Problem | UnsetType = UNSET


_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-size: .875rem }
th, td { text-align: left; vertical-align: top; padding: .4rem .5rem .4rem 0; border-bottom: 1px solid GrayText }
code, pre { font-family: ui-monospace, monospace }
p code, pre { overflow-wrap: anywhere }
pre { white-space: pre-wrap; border: 1px solid GrayText; padding: 1rem }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "public, max-age=3600",
    "Vary": "Accept",
}


async def list_errors(request: web.Request) -> Reply:
    """GET /errors: all codes; a table in HTML."""
    if choose_media(accept_of(request), MEDIA) == JSON:
        return _reply(JSON, msgspec.json.encode([_entry(code) for code in CATALOGUE]))
    rows = "".join(
        f'<tr><th scope="row"><a href="{page_of(code)}"><code>{_breakable(code)}</code></a></th>'
        f"<td>{known.status}</td><td>{_inline(known.title)}</td></tr>\n"
        for code, known in CATALOGUE.items()
    )
    head = '<tr><th scope="col">Code</th><th scope="col">Status</th><th scope="col">Title</th></tr>'
    return _reply(HTML, _page("Errors", f"<table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table>"))


async def get_error(request: web.Request) -> Reply:
    """GET /errors/{code}: the meaning of an error, its remedy and an example."""
    code = request.match_info["code"]
    if code not in CATALOGUE:
        raise Refused(NO_SUCH_RESOURCE)
    example = request.app[EXAMPLES][code]
    if choose_media(accept_of(request), MEDIA) == JSON:
        return _reply(JSON, msgspec.json.encode({**_entry(code), "example": example}))
    known = CATALOGUE[code]
    shown = msgspec.json.format(msgspec.json.encode(example)).decode()
    return _reply(
        HTML,
        _page(
            known.title,
            f"<p><code>{code}</code>, status {known.status} {phrase(known.status)}</p>\n"
            f"<p>{_inline(known.description)}</p>\n<h2>What to do</h2>\n<p>{_inline(known.help)}</p>\n"
            f"<h2>Example</h2>\n<pre>{html.escape(shown)}</pre>\n"
            f'<p><a href="{PATH}">All errors</a></p>',
        ),
    )


def _entry(code: str) -> dict[str, Any]:
    return {"code": code, **CATALOGUE[code]._asdict(), "doc_url": page_of(code)}


def _breakable(code: str) -> str:
    """Return a code that narrow screens may break after an underscore, and nowhere else."""
    return code.replace("_", "_<wbr>")


def _inline(text: str) -> str:
    """Return a text as HTML, with text between backquotes as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _page(title: str, content: str) -> bytes:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)} · Ledger</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
{content}
</main>
</body>
</html>
""".encode()


def _reply(media: str, body: bytes) -> Reply:
    charset = None if media == JSON else "utf-8"
    return Reply(body=body, content_type=media, charset=charset, headers=_HEADERS)
