"""The console's files: pages that show the ledger in a browser, and load nothing from other hosts."""

import gzip
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from web.http.negotiation import choose_coding
from web.http.preconditions import is_known
from web.http.response import Reply

FOLDER = Path(__file__).parent.parent / "console"
PAGE = "index.html"
FILE = re.compile(r"(?:[a-z_]+/)?[a-z_]+\.(?:js|css|svg)", re.ASCII)  # nothing else is ever read
MEDIA = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# A browser asks each time whether a file has changed, so modules of two releases never meet.
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}


class _File(NamedTuple):
    content: bytes
    compressed: bytes
    digest: str


async def get_console(request: web.Request) -> Reply:
    """GET /console and /console/{path}: a file or, for the path of a view, the page that shows it."""
    path = request.match_info.get("path", "")
    if FILE.fullmatch(path) and (FOLDER / path).is_file():
        return _answer(request, path)
    if "." in path.rpartition("/")[2]:
        raise web.HTTPNotFound
    return _answer(request, PAGE)


@lru_cache(maxsize=128)
def _read(name: str, changed_at: int) -> _File:
    """Return a file as it is since it was last changed."""
    del changed_at
    content = (FOLDER / name).read_bytes()
    return _File(content, gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest()[:16])


def _answer(request: web.Request, name: str) -> Reply:
    file = _read(name, (FOLDER / name).stat().st_mtime_ns)
    is_compressed = choose_coding(request) == "gzip"
    tag = f'"{file.digest}-gzip"' if is_compressed else f'"{file.digest}"'
    if is_known(request, tag):
        reply = Reply(status=304, headers=HEADERS)
    else:
        headers = {**HEADERS, "Content-Encoding": "gzip"} if is_compressed else HEADERS
        body = file.compressed if is_compressed else file.content
        reply = Reply(body=body, content_type=MEDIA[Path(name).suffix], charset="utf-8", headers=headers)
    reply.tag = tag
    return reply
