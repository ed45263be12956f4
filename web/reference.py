"""The reference of errors: an example of each, and all of them as the Markdown of `docs/reference/errors.md`.

`python -m web.reference` prints it. The examples are made by the code that refuses, so they are true.
"""

import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from ledger import errors
from ledger.errors import Refusal
from web.handlers import transactions
from web.http.catalogue import CATALOGUE, page_of, phrase
from web.http.errors import METHOD_NOT_ALLOWED, malformed, unknown_version
from web.openapi import example_path, example_problem, example_refusal, refusals_of
from web.routes import ROUTES, UNVERSIONED
from web.routes.route import Refusing

_TELLING: tuple[Refusing, ...] = (errors.authorization_missing, errors.unknown_member, errors.account_not_found)

_INTRODUCTION = """\
# Errors

<!-- Made by `make reference`; a test fails when it is stale. -->

Every error has this body (RFC 9457), as `application/problem+json`. A client that accepts `application/json` and not
`application/problem+json` gets the same body as `application/json`.

- `errors` has an entry for each reason. The first one determines `status`, `type`, `title` and `detail`.
- `code` is stable: rely on it, and never on `message`. `kind` groups codes.
- `description` explains the error, and `help` says what to do. `reason` names the broken rule, if there is one.
- `detail` names the cause:
  - a member of the body, by its JSON pointer (`pointer`, RFC 6901)
  - a parameter of the query, the path or a header, by its name (`parameter`, with `in`)
  - a resource, by its id
- `type` and `doc_url` are the path of the page about the code on the service itself. `GET /errors` lists all of them.
- `trace_id` is the `X-Request-Id` of the response. It also appears in the service's log.
- Errors with status 503 or 429, and `not_sealed_yet`, have `Retry-After`.
"""


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Return a problem for each code, of a route that can answer with it."""
    found: dict[str, dict[str, Any]] = {}
    for refusal, instance in _candidates():
        found.setdefault(refusal.code, example_problem(refusal, instance))
    return {code: found[code] for code in CATALOGUE}


def markdown() -> str:
    """Return the reference."""
    made = examples()
    rows = "".join(
        f"| {known.status} | [`{code}`](#{code}) | `{known.kind}` | {known.title} |\n"
        for code, known in CATALOGUE.items()
    )
    table = f"| status | code | kind | title |\n| --- | --- | --- | --- |\n{rows}"
    return "\n".join([_INTRODUCTION, table, *(_section(code, made[code]) for code in CATALOGUE)])


def main() -> None:
    """Print the reference."""
    sys.stdout.write(markdown())


def _candidates() -> Iterator[tuple[Refusal, str]]:
    """Yield refusals with the path of a route that can answer with them, the most telling ones first."""
    yield malformed("the body is not JSON at line 1, column 12"), "/v1/transactions/batch"
    routes = sorted((*ROUTES, *UNVERSIONED), key=lambda route: route.handler != transactions.create_transfer)
    pairs = [(refusing, route) for route in routes for refusing in refusals_of(route)]
    for refusing, route in sorted(pairs, key=lambda pair: pair[0] not in _TELLING):
        yield example_refusal(refusing), example_path(route)
    yield METHOD_NOT_ALLOWED, "/v1/transactions/transfer"
    yield unknown_version("v9"), "/v9/transactions/transfer"


def _section(code: str, example: dict[str, Any]) -> str:
    known = CATALOGUE[code]
    shown = msgspec.json.format(msgspec.json.encode(example)).decode()
    return f"""\
## {code}

**{known.title}** · {known.status} {phrase(known.status)} · kind `{known.kind}` · served at `{page_of(code)}`

{known.description}

{known.help}

```json
{shown}
```
"""


if __name__ == "__main__":
    main()
