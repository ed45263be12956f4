"""New ids, wherever in a process they are made."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.values.ids import new_id

THREADS, EACH = 8, 20_000


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_threads_can_make_ids_at_the_same_time_and_none_twice() -> None:
    """Programs that embed the ledger, and the library's, have threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(lambda _: [new_id() for _ in range(EACH)], range(THREADS)))
    assert THREADS * EACH == len({one for some in made for one in some})
