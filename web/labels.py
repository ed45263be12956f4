"""The labels of accounts as members of request bodies, and the changes that these ask for."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field, WithJsonSchema

from ledger import errors
from ledger.commands.account_labels import LabelChange
from ledger.errors import Refused
from ledger.events.account_labels import MAX_NAME_LENGTH, AccountType, Labels
from ledger.projections.account_labels import Known
from ledger.values.account_codes import CODE_PATTERN, MAX_CODE_LENGTH, check_code
from ledger.values.text import MAX_METADATA_KEYS, READABLE_PATTERN, check_readable
from web.body import Body
from web.fields import Metadata, MetadataKey, MetadataValue, with_composed_keys
from web.response_fields import ACCOUNT_TYPE

_CODE = {"type": "string", "maxLength": MAX_CODE_LENGTH, "pattern": CODE_PATTERN, "examples": ["assets:bank:main"]}
AccountCode = Annotated[str, AfterValidator(check_code), WithJsonSchema(_CODE)]
AccountName = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_LENGTH, json_schema_extra={"pattern": READABLE_PATTERN}),
    AfterValidator(check_readable),
]
Type = Annotated[AccountType, WithJsonSchema(ACCOUNT_TYPE)]
MetadataPatch = Annotated[
    dict[MetadataKey, MetadataValue | None], Field(max_length=MAX_METADATA_KEYS), AfterValidator(with_composed_keys)
]


class NewLabels(Body):
    """The labels of a new account."""

    code: AccountCode | None = None
    name: AccountName | None = None
    type: Type | None = None
    metadata: Metadata | None = None

    def labels(self) -> Labels:
        """Return the labels."""
        return Labels(self.code, self.name, self.type, self.metadata or {})

    def change(self, known: Known) -> LabelChange | None:
        """Return the change of an account that has the known labels: an absent label does not change."""
        given = {name: value for name, value in self._given().items() if value is not None}
        return _build_change(known, given)

    def changes_labels(self) -> bool:
        """Return whether the body has a label."""
        return bool(self._given())

    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in Labels.__struct_fields__ if name in self.model_fields_set}


class LabelPatch(NewLabels):
    """The labels of a patch (RFC 7396). Null removes a label; the members of `metadata` are merged."""

    metadata: MetadataPatch | None = None  # type: ignore[assignment]

    def change(self, known: Known) -> LabelChange | None:
        """Return the change of an account that has the known labels. Raises `Refused` if it has too much metadata."""
        given = self._given()
        if "metadata" in given:
            given["metadata"] = _merge(known.labels.metadata, given["metadata"])
        return _build_change(known, given)


def _build_change(known: Known, given: Mapping[str, Any]) -> LabelChange | None:
    if not given:
        return None
    return LabelChange(msgspec.structs.replace(known.labels, **given), known.labels, known.changes)


def _merge(known: Mapping[str, str], patch: Mapping[str, str | None] | None) -> dict[str, str]:
    merged = {} if patch is None else {**known, **patch}
    metadata = {key: value for key, value in merged.items() if value is not None}
    if len(metadata) > MAX_METADATA_KEYS:
        raise Refused(errors.invalid("/metadata", f"must have at most {MAX_METADATA_KEYS} members"))
    return metadata
