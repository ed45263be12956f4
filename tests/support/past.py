"""A ledger that records events at times that a test sets, so that its books can have a history of years."""

from datetime import datetime
from typing import Any

CLOCK = "clock_timestamp()"
RECORDING = ("append_time", "reserve_positions")  # the functions that give events their times


class PastClock:
    """The clock by which a ledger records. Recorded times still never decrease."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def of(cls, connection: Any) -> "PastClock":
        """Let the ledger of a connection record by a clock that stands still until it is set."""
        await connection.execute(
            """CREATE SEQUENCE past_clock MINVALUE -9000000000000000000;
               GRANT SELECT ON SEQUENCE past_clock TO PUBLIC; -- a service may have a role of its own
               CREATE FUNCTION past_time() RETURNS timestamptz LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS
               $$ SELECT timestamptz '2000-01-01Z' + last_value * interval '1 microsecond' FROM past_clock $$"""
        )
        schema = await connection.fetchval("SELECT current_schema()")
        for name in RECORDING:
            definition = await connection.fetchval(
                "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = $1 AND pronamespace = $2::regnamespace",
                *(name, schema),
            )
            assert CLOCK in definition, name
            await connection.execute(definition.replace(CLOCK, "past_time()"))
        return cls(connection)

    async def set(self, time: datetime) -> None:
        """Set the clock."""
        await self._connection.execute(
            "SELECT setval('past_clock', (extract(epoch FROM $1 - timestamptz '2000-01-01Z') * 1000000)::bigint)", time
        )
