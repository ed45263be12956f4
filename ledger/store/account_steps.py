"""The steps of an account: the events after which its balance, or what is held of it, is another one.

Each of these events says what it is afterwards, so the state after any step is in two rows found by index.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger.events import TOPICS
from ledger.events.accounts import BALANCE_EVENTS, FundsHeld, FundsReleased
from ledger.store.connections import Reader
from ledger.store.reader import FUNDS


class Step(NamedTuple):
    """The state of an account after an event, and the place of the event in the log."""

    recorded_at: datetime
    position: int
    balance_cents: int
    held_cents: int


class Stretch(NamedTuple):
    """A stretch of an account's history: the events after a version, up to another one, and their times."""

    after: int
    upto: int
    begin: datetime
    end: datetime


def _list(topics: Iterable[type]) -> str:
    return ", ".join(f"'{TOPICS[cls]}'" for cls in topics)


_ENTRIES, _HOLDING = _list(BALANCE_EVENTS), (FundsHeld, FundsReleased)
_HELD = _list(_HOLDING)
_BALANCE_OF = r"""CASE substring(state FROM 1 FOR 1) WHEN '\x01' THEN stored_integer(state, 26)
                  ELSE (convert_from(state, 'UTF8')::json ->> 'balance_cents')::bigint END"""
_HELD_OF = "(convert_from(state, 'UTF8')::json ->> 'held_cents')::bigint"


async def has_held(reader: Reader, account_id: UUID) -> bool:
    """Return whether anything was ever held of an account."""
    return bool(
        await reader.fetchval(
            f"""SELECT EXISTS (SELECT FROM stored_events WHERE originator_id = $1 AND topic IN {FUNDS}
                               AND topic = '{TOPICS[FundsHeld]}')""",
            account_id,
        )
    )


async def find_first_steps(reader: Reader, account_id: UUID, after: int, upto: int, limit: int) -> list[int]:
    """Return the versions of up to `limit` steps after a version, and up to another one, in order."""
    rows = await reader.fetch(
        f"""SELECT originator_version FROM stored_events
            WHERE originator_id = $1 AND originator_version > $2 AND originator_version <= $3
              AND topic IN ({_ENTRIES}, {_HELD}) ORDER BY originator_version LIMIT $4""",
        *(account_id, after, upto, limit),
    )
    return [row[0] for row in rows]


async def find_extremes(reader: Reader, account_id: UUID, stretch: Stretch, parts: int) -> list[int]:
    """Return the versions that show a stretch in equal parts of its time: of each part its extremes and its last step.

    The extremes are the first steps with the lowest and the highest balance, and with the least and the most held. The
    cost grows with the length of the stretch.
    """
    rows = await reader.fetch(_EXTREMES, account_id, *stretch, parts)
    return [row[0] for row in rows]


async def times_of(reader: Reader, account_id: UUID, versions: Sequence[int]) -> list[datetime]:
    """Return when the events with these versions were recorded."""
    rows = await reader.fetch(
        """SELECT recorded_at FROM unnest($2::bigint[]) WITH ORDINALITY AS given(version, number)
           JOIN stored_events ON originator_id = $1 AND originator_version = version ORDER BY number""",
        account_id,
        versions,
    )
    return [row[0] for row in rows]


async def read_steps(reader: Reader, account_id: UUID, versions: Sequence[int]) -> list[Step]:
    """Return the state of an account after its events with these versions, in order."""
    return [Step(*row) for row in await reader.fetch(_STEPS, account_id, versions)]


_EXTREMES = f"""
WITH steps AS MATERIALIZED (
         SELECT originator_version AS version,
                least(width_bucket(date_part('epoch', recorded_at), date_part('epoch', $4::timestamptz),
                                   date_part('epoch', $5::timestamptz) + 0.000001, $6), $6) AS part,
                CASE WHEN topic IN ({_ENTRIES}) THEN {_BALANCE_OF} END AS balance,
                CASE WHEN topic IN ({_HELD}) THEN {_HELD_OF} END AS held
         FROM stored_events
         WHERE originator_id = $1 AND originator_version > $2 AND originator_version <= $3
           AND topic IN ({_ENTRIES}, {_HELD})),
     extremes AS MATERIALIZED (
         SELECT part, min(balance) AS lowest, max(balance) AS highest, min(held) AS least, max(held) AS most,
                max(version) AS last FROM steps GROUP BY part),
     chosen AS (
         SELECT unnest(ARRAY[min(version) FILTER (WHERE balance = lowest),
                             min(version) FILTER (WHERE balance = highest),
                             min(version) FILTER (WHERE held = least), min(version) FILTER (WHERE held = most),
                             max(last)]) AS version
         FROM steps JOIN extremes USING (part) GROUP BY part)
SELECT DISTINCT version FROM chosen WHERE version IS NOT NULL ORDER BY version"""
_LAST_HELD = " UNION ALL ".join(
    f"""(SELECT notification_id, state FROM stored_events
         WHERE originator_id = $1 AND topic = '{TOPICS[cls]}' AND topic IN {FUNDS}
           AND notification_id <= here.notification_id ORDER BY notification_id DESC LIMIT 1)"""
    for cls in _HOLDING
)
_STEPS = f"""
SELECT here.recorded_at, here.notification_id,
       coalesce((SELECT {_BALANCE_OF} FROM stored_events
                 WHERE originator_id = $1 AND originator_version <= here.originator_version AND topic IN ({_ENTRIES})
                 ORDER BY originator_version DESC LIMIT 1), 0),
       coalesce((SELECT {_HELD_OF} FROM ({_LAST_HELD}) AS last ORDER BY notification_id DESC LIMIT 1), 0)
FROM unnest($2::bigint[]) AS version, LATERAL (
    SELECT originator_version, notification_id, recorded_at FROM stored_events
    WHERE originator_id = $1 AND originator_version <= version ORDER BY originator_version DESC LIMIT 1) AS here
ORDER BY here.originator_version"""
