"""A row of the route table: the handler of a request, the access rule, and the description in the document."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ledger import errors
from ledger.errors import Refusal
from ledger.identity.rate_limit import RouteClass
from ledger.identity.tokens import TokenType
from web.auth import Access, Handler, roles
from web.body import Body
from web.http.params import Parameter
from web.http.ratelimit import LIMIT_HEADERS

Refusing: TypeAlias = Refusal | Callable[..., Refusal]

ANYONE = roles("admin", "auditor", "customer", "guest")
ADMIN = roles("admin")
AUDITOR = roles("admin", "auditor")
READER = roles("admin", "auditor", "customer", owned=True)  # customers see their own
PAYER = roles("admin", "customer", in_transaction=True, owned=True)  # customers pay from their own accounts
BATCH_PAYER = roles("admin", "customer", owned=True)  # whose token is checked before a large body is read

TAGGED = ("ETag",)
CREATED = (*TAGGED, "Location")
NO_SEAL: tuple[Refusing, ...] = (errors.not_sealed_yet, errors.sealing_is_off, errors.seal_mismatch)


@dataclass(frozen=True)
class Operation:
    """What the OpenAPI document says of a route.

    What follows from the route's method, path and access rule is added by `web.openapi`: the headers, parameters and
    refusals of all routes of that kind.

    - `response_model` is the type of the body, or None if there is none; `response_description` replaces its docstring.
    - `other_models` has the types of the bodies in media types of JSON beside `application/json`.
    - `refusals` are those of this route alone, and `response_headers` the headers of its successful responses.
    - A conditional operation respects `If-Match`.
    - With `is_form`, the request's body is a form instead of JSON.
    - An operation that `issues_tokens` takes no dry run: its response would be a token that works.
    - An operation that `starts_process` changes nothing in the books: it takes no dry run and no `Idempotency-Key`.
    - `note` is a sentence that follows the roles in the description.
    """

    summary: str
    response_model: Any = None
    status: int = 200
    request_model: type[Body] | None = None
    accepts_json_lines: bool = False
    body_is_optional: bool = False
    parameters: tuple[Parameter[Any], ...] = ()
    refusals: tuple[Refusing, ...] = ()
    media_types: tuple[str, ...] = ("application/json",)
    other_models: Mapping[str, Any] = field(default_factory=dict)
    is_conditional: bool = False
    response_description: str = ""
    response_headers: tuple[str, ...] = ()
    note: str = ""
    is_form: bool = False
    issues_tokens: bool = False
    starts_process: bool = False

    @property
    def is_tagged(self) -> bool:
        """Whether a successful response has an entity tag."""
        return "ETag" in self.response_headers


@dataclass(frozen=True, eq=False, slots=True)
class Route:
    """A row of the table. `path` follows the version.

    A machine client needs `scope` in its token; None admits no machine. The operator may require a recent login for
    what is `is_sensitive`.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    operation: Operation
    scope: str | None = None
    is_sensitive: bool = False

    @property
    def rate_class(self) -> RouteClass | None:
        """The class whose limit the requests of a caller count against; None without an access token."""
        if self.access.roles is None or self.access.token is not TokenType.ACCESS or self.access.by_secret:
            return None
        if self.operation.accepts_json_lines:
            return "batches"
        return "reads" if self.method == "GET" else "writes"

    @property
    def takes_dry_run(self) -> bool:
        """Whether a client may ask what the route would change."""
        has_none = self.operation.issues_tokens or self.operation.starts_process
        return self.method not in {"GET", "HEAD"} and not has_none

    @property
    def limit_headers(self) -> tuple[str, ...]:
        """The headers of responses to callers whose requests are limited."""
        return () if self.rate_class is None else LIMIT_HEADERS

    @property
    def methods(self) -> tuple[str, ...]:
        """The served methods: HEAD wherever GET is (RFC 9110, section 9.3.2)."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)
