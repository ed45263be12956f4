"""Encoded columns become rows of COPY's binary form (manual, COPY, Binary Format)."""

import struct
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ledger.store.statements import booleans, copy_content, integers, texts, times, uuids

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
ROWS = st.lists(
    st.tuples(
        st.uuids(),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    ),
    min_size=1,
)


def packed(row: tuple[UUID, int, bool, datetime]) -> bytes:
    since = row[3] - EPOCH
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return struct.pack("!hi16siqi?iq", 4, 16, row[0].bytes, 8, row[1], 1, row[2], 8, microseconds)


@given(ROWS)
def test_rows_are_put_together_from_columns(rows: list[tuple[UUID, int, bool, datetime]]) -> None:
    ids, numbers, flags, moments = zip(*rows, strict=True)
    content = copy_content((uuids(ids), integers(numbers), booleans(flags), times(moments)))
    assert HEADER + b"".join(map(packed, rows)) + b"\xff\xff" == content


def test_columns_with_nulls_or_texts_are_left_to_an_insert() -> None:
    assert copy_content((integers([1, None]), integers([1, 2]))) is None
    assert copy_content((uuids([None, UUID(int=1)]),)) is None
    assert copy_content((integers([1]), texts(["a"]))) is None
    assert copy_content((integers([]),)) is None
