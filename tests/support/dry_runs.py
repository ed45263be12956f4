"""Comparing the response to a dry run with the response to the change."""

import re
from typing import Any
from uuid import UUID

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
OF_ONE_REQUEST = frozenset({"trace_id", "client_secret", "secret", "position"})


class Compared:
    """What two responses have in common if one is that of a dry run: all but times, new ids and secrets."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def learn(self, body: Any) -> None:
        """Take over the ids of a response; others are new."""
        self._known.update(ID.findall(str(body)))

    def describe(self, status: int, body: Any, headers: Any) -> dict[str, Any]:
        """Return a response without what differs."""
        kept = {name: headers.get(name) for name in ("ETag", "Content-Type", "Idempotent-Replayed")}
        location = self._mask(headers.get("Location"))
        return {"status": status, "body": self._mask(body), "Location": location, **kept}

    def _mask(self, value: Any) -> Any:
        match value:
            case dict():
                return {name: self._mask(one) for name, one in value.items() if name not in OF_ONE_REQUEST}
            case list():
                return [self._mask(one) for one in value]
            case str():
                ids = ID.sub(lambda found: found[0] if found[0] in self._known else str(UUID(int=0)), value)
                return TIME.sub("a time", ids)
            case _:
                return value
