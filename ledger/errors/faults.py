"""Faults: failures of the service, after which a command may be tried again."""

from uuid import UUID


class LedgerError(Exception):
    """A fault. The command may be tried again. The text is for operators, never for clients."""


class StaleCommandError(LedgerError):
    """The command was made from data that has changed since: read the data and make the command again."""


class StaleCallerError(LedgerError):
    """The user, roles or session of the caller are no longer those of the token: look them up again."""


class DatabaseError(LedgerError):
    """PostgreSQL did not answer, or not as expected."""


class OutcomeUnknownError(LedgerError):
    """A command was sent to PostgreSQL, and no answer came in time: it may have been executed, or may still be."""

    def __init__(self, resource_id: UUID | None) -> None:
        super().__init__(f"unknown outcome of {resource_id}")
        self.resource_id = resource_id


class OverloadedError(LedgerError):
    """A queue is full, or the service is shutting down."""


class RedisUnusableError(Exception):
    """Redis does not answer, or is too old. The text is one sentence for the operator."""


class RedisAwayError(RedisUnusableError):
    """Redis does not answer."""


class RevocationCacheError(Exception):
    """Redis did not answer in time, or gave an impossible answer. The text is one sentence for the operator."""
