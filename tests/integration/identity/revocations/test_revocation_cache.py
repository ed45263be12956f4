"""The revocation cache agrees with PostgreSQL."""

import asyncio
import time

import pytest

from ledger.concurrency.dataloader import DataLoader
from ledger.errors import RevocationCacheError
from ledger.identity.revocation_cache import RevocationCacheStatus
from ledger.projections.tokens import EVERYBODY, NEVER
from tests.support.controls import new_id
from tests.support.processes import until
from tests.support.revocations import LEEWAY_SECONDS, Bench, calls


async def test_the_cache_agrees_with_postgresql(bench: Bench) -> None:
    alive, rotated, ended = await bench.session(), await bench.session(4, 4), await bench.session(NEVER, 5)
    cut, nobody, stranger = await bench.session(), (new_id(), new_id()), (alive[0], new_id())
    await bench.cut_off(cut[1], 6)
    sessions = [alive, rotated, ended, cut, nobody, stranger]
    by_postgresql = await bench.revocation_cache.revoked_below(sessions)  # the cache is empty
    await bench.revocation_cache.fill()

    first = await bench.revocation_cache.revoked_below(sessions)
    bench.pool.lookups = 0
    second = await bench.revocation_cache.revoked_below(sessions)

    assert [0, 4, NEVER, 6, NEVER, NEVER] == [by_postgresql[session] for session in sessions]
    assert (by_postgresql, by_postgresql, 0) == (first, second, bench.pool.lookups)

    await bench.cut_off(EVERYBODY, 7)
    await bench.revocation_cache.announce()
    cut_off = await bench.revocation_cache.revoked_below(sessions)
    assert [7, 7, NEVER, 7, NEVER, NEVER] == [cut_off[session] for session in sessions]
    assert 0 == bench.pool.lookups


async def test_all_lookups_of_one_tick_are_one_command(bench: Bench) -> None:
    sessions = [await bench.session() for _ in range(200)]
    await bench.revocation_cache.fill()
    await bench.revocation_cache.revoked_below(sessions)
    before, coalesced = await calls(bench.redis, "mget"), DataLoader(bench.revocation_cache.revoked_below)
    bench.pool.lookups = 0

    found = await asyncio.gather(*(coalesced.get(session) for session in sessions))

    assert ([0] * 200, 0, 1) == (found, bench.pool.lookups, await calls(bench.redis, "mget") - before)


async def test_an_evicted_session_is_looked_up_once(bench: Bench) -> None:
    """Lesson 25: "evicted: every revoked token works again"."""
    session = await bench.session(NEVER, 5)
    await bench.revocation_cache.fill()
    assert NEVER == await bench.cached(session)

    await bench.redis.delete(await bench.key(session))

    assert [NEVER] * 3 == [await bench.below(session) for _ in range(3)]
    assert 1 == bench.pool.lookups


async def test_an_older_value_never_replaces_a_newer_one(bench: Bench) -> None:
    rotated = await bench.session(5, 5)
    await bench.cut_off(rotated[1], 4)
    await bench.plant(rotated, 9)
    await bench.plant_cutoffs({"position": 3, str(rotated[1]): 8})

    await bench.revocation_cache.fill()

    assert 9 == await bench.cached(rotated)
    assert {"position": 5, str(rotated[1]): 8} == await bench.cached_cutoffs()


async def test_the_marker_is_not_moved_on_when_redis_is_flushed_between_reading_and_writing(bench: Bench) -> None:
    """Lesson 25: "flushed"."""
    early = await bench.session(NEVER, 5)
    await bench.cut_off(early[1], 4)
    await bench.revocation_cache.fill()
    late = await bench.session(NEVER, 6)
    bench.pool.after_fetch = bench.redis.flushall

    await bench.revocation_cache.fill()

    assert {"position": 6, str(early[1]): 4} == await bench.cached_cutoffs()
    assert [NEVER] * 2 == [await bench.cached(session) for session in (early, late)]


async def test_a_lookup_before_a_revocation_is_not_cached_after_it(bench: Bench) -> None:
    session = await bench.session()
    await bench.revocation_cache.fill()

    async def revoke_and_evict() -> None:
        await bench.revoke(session, NEVER, 5)
        await bench.another().announce()
        await bench.redis.delete(await bench.key(session))

    bench.pool.after_fetch = revoke_and_evict

    assert 0 == await bench.below(session)  # this one was read before the revocation
    assert NEVER == await bench.below(session)


async def test_more_revocations_than_fit_in_one_step_are_cached(bench: Bench) -> None:
    await bench.revoked_sessions(2500)
    last = await bench.session(NEVER, 9000)

    await bench.revocation_cache.fill()

    assert RevocationCacheStatus(9000, 9000) == await bench.revocation_cache.status()
    assert 2502 == await bench.redis.dbsize()
    assert NEVER == await bench.cached(last)


async def test_a_revocation_is_answered_while_the_cache_is_filled(bench: Bench) -> None:
    """A revocation does not wait until an empty cache is full, and no process trusts the cache before."""
    await bench.revoked_sessions(5000)
    last = await bench.session(NEVER, 9000)

    await bench.revocation_cache.announce()

    status = await bench.revocation_cache.status()
    assert (True, 9000) == ((status.position or 0) < 9000, status.last_revocation)
    assert NEVER == await bench.below(last)


async def test_a_marker_beyond_the_log_clears_the_cache(bench: Bench) -> None:
    """The database was restored from a backup, so the cache is about another history."""
    session, gone = await bench.session(3, 3), (new_id(), new_id())
    await bench.plant_cutoffs({"position": 1000, str(session[1]): 900})
    for known in (session, gone):
        await bench.plant(known, 0)

    await bench.revocation_cache.fill()

    assert {"position": 3} == await bench.cached_cutoffs()
    assert (3, None) == (await bench.cached(session), await bench.cached(gone))


async def test_a_process_that_was_ahead_of_a_restored_log_trusts_the_cache_again(bench: Bench) -> None:
    lost, kept = await bench.session(NEVER, 1000), await bench.session(3, 3)
    await bench.revocation_cache.fill()
    await bench.connection.execute("DELETE FROM sessions WHERE id = $1", lost[0])

    await bench.revocation_cache.fill()

    assert RevocationCacheStatus(3, 3) == await bench.revocation_cache.status()
    assert (3, 0) == (await bench.below(kept), bench.pool.lookups)


async def test_a_half_cleared_cache_is_not_trusted_and_is_cleared(bench: Bench) -> None:
    session = await bench.session(3, 3)
    stale = new_id(), new_id()
    await bench.revocation_cache.fill()
    await bench.plant_cutoffs({"position": -1})
    await bench.plant(stale, 0)

    assert RevocationCacheStatus(None, 3) == await bench.revocation_cache.status()
    assert (3, 1) == (await bench.below(session), bench.pool.lookups)

    await bench.revocation_cache.fill()
    assert RevocationCacheStatus(3, 3) == await bench.revocation_cache.status()
    assert None is await bench.redis.get(await bench.key(stale))


async def test_the_key_of_an_ended_session_is_kept_until_no_token_of_it_passes(bench: Bench) -> None:
    """Lesson 24: "cleanup forgets a revocation at exp while the verifier accepts until exp + leeway"."""
    session = await bench.session(NEVER, 5, ends_in=100)
    await bench.revocation_cache.fill()

    expires_at = await bench.connection.fetchval("SELECT extract(epoch FROM expires_at) FROM sessions")
    forgotten_at = await bench.redis.expiretime(await bench.key(session))

    assert 0 <= forgotten_at - (float(expires_at) + LEEWAY_SECONDS) <= 1


async def test_a_key_expires_and_the_session_stays_dead(bench: Bench) -> None:
    """Lesson 24."""
    cache = bench.another(leeway_seconds=1)
    session = await bench.session(NEVER, 5, ends_in=0)
    await cache.fill()
    expires_at = float(await bench.connection.fetchval("SELECT extract(epoch FROM expires_at) FROM sessions"))

    async def is_gone() -> bool:
        assert {session: NEVER} == await cache.revoked_below([session])
        return bench.pool.lookups > 0

    await until(is_gone)
    assert time.time() >= expires_at + 1


async def test_an_active_session_is_not_cached_forever(bench: Bench) -> None:
    session = await bench.session()
    await bench.revocation_cache.fill()

    await bench.below(session)

    assert 0 < await bench.redis.ttl(await bench.key(session)) <= 3600


async def test_two_ledgers_on_one_redis_do_not_see_each_other(bench: Bench) -> None:
    other = bench.another(new_id())
    session = await bench.session(NEVER, 5)
    await bench.redis.set("somebody", "else's")

    await bench.revocation_cache.fill()

    assert (5, None) == ((await bench.revocation_cache.status()).position, (await other.status()).position)
    keys = set(await bench.redis.keys())
    await other.rebuild()
    assert keys < set(await bench.redis.keys())
    await bench.redis.delete(await bench.cutoffs(), await bench.key(session))
    assert 5 == (await other.status()).position


async def test_a_rebuild_repairs_its_own_keys_and_leaves_others(bench: Bench) -> None:
    """A rebuild removes keys that an operator has written by hand."""
    session = await bench.session(NEVER, 5)
    await bench.redis.set(await bench.cutoffs(), "no hash")
    await bench.redis.lpush(await bench.key(session), "no number")
    throttle = (await bench.cutoffs()).replace("revocations:cutoffs", "login:known:alice")
    await bench.redis.set(throttle, 1)
    with pytest.raises(RevocationCacheError):
        await bench.revocation_cache.fill()
    assert NEVER == await bench.below(session)

    await bench.revocation_cache.rebuild()

    assert RevocationCacheStatus(5, 5) == await bench.revocation_cache.status()
    assert (NEVER, "1") == (await bench.cached(session), await bench.redis.get(throttle))


async def test_concurrent_rebuilds_leave_a_complete_cache(bench: Bench) -> None:
    session = await bench.session(NEVER, 5)
    await bench.cut_off(session[1], 4)

    await asyncio.gather(*(bench.another().rebuild() for _ in range(5)), *(bench.another().fill() for _ in range(5)))

    assert {"position": 5, str(session[1]): 4} == await bench.cached_cutoffs()
    assert NEVER == await bench.below(session)


async def test_a_process_that_cannot_read_revocations_removes_the_marker(bench: Bench) -> None:
    """PostgreSQL died just after a commit, and other processes may not have been notified either."""
    session = await bench.session()
    await bench.revocation_cache.fill()
    await bench.below(session)
    await bench.revoke(session, NEVER, 5)
    bench.pool.is_broken = True

    await bench.revocation_cache.announce()

    assert NEVER == await bench.below(session)
    assert 0 == await bench.redis.exists(await bench.cutoffs())
