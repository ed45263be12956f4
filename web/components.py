"""The schemas of all bodies, as components from which client generators make good types.

Pydantic describes requests and msgspec responses, each in its own way. This module brings both into the form that
generators understand; decision 21 has what each of them needs.
"""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

REF = "#/components/schemas/{}"
VALUES = frozenset({"examples", "enum", "const", "default"})  # the keywords of a schema whose values are not schemas
_MAX_INT32 = 2**31 - 1
_TYPES = {str: "string", int: "integer", bool: "boolean"}


class Components:
    """The named schemas of the document. Those of requests are named after the operation, or end in `Request`."""

    def __init__(self, requests: Mapping[type[BaseModel], str], answers: Sequence[Any]) -> None:
        self.schemas: dict[str, Any] = {}
        self._names = requests
        for name, schema in _describe_requests(requests).items():
            self.add(name, schema)
        inline, named = msgspec.json.schema_components(answers, ref_template=REF.format("{name}"))
        for name, schema in named.items():
            self.add(name, schema)
        self._answers = {repr(body): self.tidy(schema) for body, schema in zip(answers, inline, strict=True)}

    def add(self, name: str, schema: Mapping[str, Any]) -> None:
        """Add a schema as a component. Raises `ValueError` if another schema has the name."""
        component = {**self.tidy(schema), "title": name}
        if self.schemas.setdefault(name, component) != component:
            raise ValueError(f"two schemas are called {name}")

    def request(self, model: type[BaseModel]) -> dict[str, Any]:
        """Return the schema of a request's body."""
        return {"$ref": REF.format(self._names[model])}

    def answer(self, body: Any) -> dict[str, Any]:
        """Return the schema of a response's body."""
        schema: dict[str, Any] = self._answers[repr(body)]
        return schema

    def describe(self, body: Any) -> str:
        """Return one sentence that describes a response with this body."""
        match None if body is None else self.answer(body):
            case None:
                return "Done; the response has no body"
            case {"items": {"$ref": str(reference)}}:
                return f"A page of {_pluralize(reference.rpartition('/')[2])}"
            case {"$ref": str(reference)}:
                description: str = self.schemas[reference.rpartition("/")[2]]["description"]
                return description.partition(". ")[0].removesuffix(".")
            case _:
                raise ValueError(f"set response_description in web/routes/ for the body {body}")

    def tidy(self, schema: Any) -> Any:
        """Return a schema in the form that generators understand; named parts become components."""
        if isinstance(schema, list):
            return [self.tidy(part) for part in schema]
        if not isinstance(schema, dict):
            return schema
        if "x-component" in schema:  # Python has no class for it
            name = schema["x-component"]
            self.add(name, _without(schema, "x-component", "default"))
            return {"$ref": REF.format(name)}
        tidied = {key: value if key in VALUES else self.tidy(value) for key, value in schema.items()}
        return _without_read_only(_without_defaults(_normalize_type(tidied)))

    def example(self, schema: Mapping[str, Any]) -> Any:
        """Return an example of a schema, assembled from those of its parts."""
        match schema:
            case {"examples": [first, *_]} | {"const": first} | {"enum": [first, *_]}:
                return first
            case {"$ref": str(reference)}:
                return self.example(self.schemas[reference.rpartition("/")[2]])
            case {"anyOf": [first, *_]} | {"oneOf": [first, *_]}:
                return self.example(first)
            case {"type": "object"}:
                return {name: self.example(schema["properties"][name]) for name in schema.get("required", ())}
            case {"type": "array"}:
                return [self.example(schema["items"])]
            case _:
                return _example_of_type(schema)


_PLAIN: dict[Any, Any] = {
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
    "date-time": "2026-05-01T12:00:00.000000Z",
    "base64": "A" * 43 + "=",
    "boolean": True,
    "string": "…",
}


def _example_of_type(schema: Mapping[str, Any]) -> Any:
    if schema["type"] == "integer":
        return max(1, schema.get("minimum", 1))
    return _PLAIN[schema.get("format") or schema.get("contentEncoding") or schema["type"]]


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _pluralize(name: str) -> str:
    words = re.sub("(?<!^)([A-Z])", r" \1", name).lower()
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _describe_requests(names: Mapping[type[BaseModel], str]) -> dict[str, Any]:
    _, generated = models_json_schema(
        [(model, "validation") for model in names], ref_template="{model}", schema_generator=_WithoutTitles
    )
    definitions = generated.get("$defs", {})
    by_class = {model.__name__: name for model, name in names.items()}
    renamed = {name: by_class.get(name, f"{name}Request") for name in definitions}
    return {renamed[name]: _resolve_references(schema, renamed) for name, schema in definitions.items()}


def _resolve_references(schema: Any, names: Mapping[str, str]) -> Any:
    match schema:
        case {"$ref": str(model)}:
            return {"$ref": REF.format(names[model])}
        case dict():
            return {key: _resolve_references(value, names) for key, value in schema.items()}
        case list():
            return [_resolve_references(part, names) for part in schema]
        case _:
            return schema


def _normalize_type(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that states its type in full and in one form."""
    said = {"description": inspect.cleandoc(schema["description"])} if _is_text(schema.get("description")) else {}
    match schema:
        case {"anyOf": [{"type": str(kind)} as one, {"type": "null"}]} if "enum" not in one:
            return {**_without(schema, "anyOf"), **one, **said, "type": [kind, "null"]}
        case {"anyOf": branches, "discriminator": _}:
            return {**_without(schema, "anyOf"), **said, "oneOf": branches}
        case {"enum": [first, *_]} if "type" not in schema:
            return {"type": _TYPES[type(first)], **schema, **said}
        case {"type": "integer"} if schema.get("maximum", _MAX_INT32 + 1) > _MAX_INT32:
            return {**schema, **said, "format": "int64"}
        case _:
            return {**schema, **said}


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with defaults in descriptions only: generators treat members with a default as required."""
    match schema:
        case {"properties": dict(members)}:
            return {**schema, "properties": {name: _without_default(member) for name, member in members.items()}}
        case _:
            return schema


def _without_default(member: dict[str, Any]) -> dict[str, Any]:
    if member.get("default") is None:
        return _without(member, "default")
    sentences = (member.get("description"), f"Default: {json.dumps(member['default'])}")
    return {**_without(member, "default"), "description": ". ".join(filter(None, sentences))}


def _without_read_only(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a request's schema that accepts read-only members but hides them from the types of clients."""
    match schema:
        case {"properties": dict(members), "type": "object"}:
            ignored = [name for name, member in members.items() if member.get("readOnly")]
            if not ignored:
                return schema
            text = (
                f"Accepted and ignored, so that a response can be sent back: {', '.join(map('`{}`'.format, ignored))}."
            )
            return {
                **_without(schema, "additionalProperties"),
                "description": f"{schema['description']}\n\n{text}",
                "properties": _without(members, *ignored),
                "propertyNames": {"enum": list(members)},
            }
        case _:
            return schema


def _without(schema: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in keys}


def _is_text(value: object) -> bool:
    return isinstance(value, str)  # and not a member of that name
