"""New ids are unique across the threads of a process, and those of a sequence are in order."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.values.ids import IdSequence, new_id

THREADS, EACH = 8, 20_000


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Switch threads as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_ids_are_unique_across_threads() -> None:
    """Programs that embed the ledger can use threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(lambda _: [new_id() for _ in range(EACH)], range(THREADS)))
    assert THREADS * EACH == len({one for some in made for one in some})


def test_ids_of_a_sequence_are_in_order() -> None:
    """Most of these are made in the same millisecond."""
    ids = IdSequence()
    made = [ids.next() for _ in range(EACH)]
    assert sorted(made) == made
    assert EACH == len({*made})
    assert {7} == {one.version for one in made}
