"""The assets of the service that an import goes to."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

from ledger.cli.import_client import ImportFailedError, Service, connect, describe
from ledger.money import CURRENCIES, is_code


class ServiceAssets(Mapping[str, int]):
    """The decimal places of the service's registered assets. Each code is asked for once, when a file first names it.

    ISO 4217 decides about its own codes, so most files are checked without the service.
    """

    def __init__(self, find_service: Callable[[], Service]) -> None:
        self._find_service = find_service
        self._found: dict[str, int | None] = {}

    def __getitem__(self, code: str) -> int:
        if code in CURRENCIES or not is_code(code):
            raise KeyError(code)
        if code not in self._found:
            self._found[code] = asyncio.run(_find_digits(self._find_service(), code))
        digits = self._found[code]
        if digits is None:
            raise KeyError(code)
        return digits

    def __iter__(self) -> Iterator[str]:
        return (code for code, digits in self._found.items() if digits is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def _find_digits(service: Service, code: str) -> int | None:
    """Return the decimal places of an asset, or None if the service has no such asset. Raises `ImportFailedError`."""
    async with connect(service) as client:
        status, body = await client.call("GET", f"/v1/assets/{code}")
    if status == HTTPStatus.OK:
        return int(body["digits"])
    if status == HTTPStatus.NOT_FOUND:
        return None
    raise ImportFailedError(describe(status, body))
