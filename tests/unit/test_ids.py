"""New ids are unique across the threads of a process."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.values.ids import new_id

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
