"""What clients may count on while there is a fault."""

from tests.support.faults.load import Kind

ANSWERED_SECONDS = 2.5  # for everybody whom a fault does not hit
PATIENCE_SECONDS = 5  # what LEDGER_DATABASE_PATIENCE_SECONDS is by default
GIVEN_UP_SECONDS = PATIENCE_SECONDS + 1  # for an answer, whatever is slow or away
BACK_SECONDS = 1  # from the end of a fault until a command is acknowledged
START_SECONDS = 20  # of a service, on a machine that is busy with this suite
RECOVERY_SECONDS = 5  # of PostgreSQL from its log after a crash


def is_newcomer(kind: Kind) -> bool:
    """Whether the client opens a connection for each request, which no paused worker accepts."""
    return kind.is_newcomer


def is_kept_alive(kind: Kind) -> bool:
    """Whether the client sends its requests on one connection."""
    return not kind.is_newcomer


def is_cold(kind: Kind) -> bool:
    """Whether the client stays away from the hot accounts."""
    return not kind.is_hot


def is_at_the_other(kind: Kind) -> bool:
    """Whether the client talks to the second instance, which has no fault."""
    return kind.instance == 1
