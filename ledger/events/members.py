"""What each member of an event means, with a sample of its value; schemas, documents and the reference follow from it.

A name means the same in all events, unless `MEMBERS` has it with the name of its event, or of its part of events, which
begins with `Stored`. Names of members are those that are stored.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Member(NamedTuple):
    """The meaning of a member, and a sample of its JSON; the sample of an object follows from its own members."""

    text: str
    sample: Any = None

    @property
    def is_part(self) -> bool:
        """Whether the member holds objects, which have samples of their own."""
        return self.sample is None


_ACCOUNT, _OTHER_ACCOUNT = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"
_TRANSACTION, _OTHER_TRANSACTION = "01890a5d-ac96-774b-bcce-b302099a8059", "01890a5d-ac96-774b-bcce-b302099a805a"
_USER, _CLIENT, _CREDENTIAL = (f"01890a5d-ac96-774b-bcce-b302099a805{digit}" for digit in "bcd")
_SECRET, _TOKEN, _OTHER_TOKEN = (f"01890a5d-ac96-774b-bcce-b302099a806{digit}" for digit in "012")
_FACTOR, _RECONCILIATION = (f"01890a5d-ac96-774b-bcce-b302099a807{digit}" for digit in "01")
_OPERATION, _STOP = (f"01890a5d-ac96-774b-bcce-b302099a809{digit}" for digit in "01")
_DIGEST = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
_SECONDS = 1777636800  # 2026-05-01, 12:00

MEMBERS: Mapping[str, Member] = {
    # accounts
    "owner_id": Member("The user who owns the account; null for the ledger's own", _USER),
    "currency": Member("An ISO 4217 code, or the code of a registered asset", "EUR"),
    "transfer_id": Member("The transaction", _TRANSACTION),
    "amount_cents": Member("The amount, in the currency's minor unit", 2500),
    "balance_cents": Member("The balance afterwards", 7500),
    "held_cents": Member("All funds that holds set aside afterwards", 2500),
    "incoming_cents": Member("All funds that holds set aside for the account afterwards", 2500),
    "overdraft_limit_cents": Member("How far the balance may fall below zero", 10000),
    "max_balance_cents": Member("How far the balance may rise; null without a limit", 1000000),
    "frozen": Member("`debits`: no money leaves the account; `all`: none comes in either", "debits"),
    "code": Member("The code of the account", "assets:bank:main"),
    "name": Member("The name of the account", "Main account"),
    "type": Member("Where the account belongs in the books", "asset"),
    "metadata": Member("Texts that the client keeps with it", {"tenant": "4711"}),
    "changes": Member("How often the account's labels have changed", 1),
    "account_id": Member("The account", _ACCOUNT),
    "AssetRegistered.code": Member("The code of the asset", "HOURS"),
    "AssetRegistered.name": Member("The name of the asset", "Working hours"),
    "digits": Member("The number of its decimal places", 2),
    # transactions
    "source_account_id": Member("The account that money leaves", _ACCOUNT),
    "destination_account_id": Member("The account that money enters", _OTHER_ACCOUNT),
    "kind": Member("What the transaction is", "transfer"),
    "JournalEntryPosted.kind": Member("What the transaction is", "journal"),
    "reference": Member("The client's own name for the transaction, which is unique", "order-4711"),
    "description": Member("What the client says about the transaction", "Rent for May"),
    "effective_at": Member("When the transaction counts, if not when it was recorded", "2026-04-30T22:00:00Z"),
    "reverses": Member("The transaction that this one reverses", _OTHER_TRANSACTION),
    "postings": Member(
        "The amounts by account",
        [
            {"account_id": _ACCOUNT, "amount_cents": -2500, "currency": "EUR"},
            {"account_id": _OTHER_ACCOUNT, "amount_cents": 2500, "currency": "EUR"},
        ],
    ),
    "StoredPosting.amount_cents": Member("The amount credited; a debit is negative", 2500),
    "expires_at": Member("When the hold expires", "2026-05-08T12:00:00Z"),
    "is_announced": Member("Whether the other account has an event of the hold as well", True),
    "earlier_cents": Member("What earlier captures of the hold have moved", 1000),
    "final": Member("Whether the hold is over; if not, its rest stays held", True),
    "captured_cents": Member("What captures of the hold have moved", 1000),
    "reversal_id": Member("The transaction that moved the money back", _OTHER_TRANSACTION),
    "reversed_cents": Member("What all reversals so far have moved back; absent if a single one did all of it", 1000),
    "is_partial": Member("Whether a part is left to reverse", True),
    "transfer": Member("The transfer that is to be made"),
    "journal_entry": Member("The journal entry that is to be made"),
    "execute_at": Member("When it is to be made", "2026-06-01T08:00:00Z"),
    "actor_id": Member("The user or client that scheduled it", _USER),
    "only_owner_id": Member("The user who must still own the paying accounts", _USER),
    "by_client": Member("Whether a machine client scheduled it", False),
    "failure_codes": Member("The codes of the errors, as the service has them", ["transfer_insufficient_funds"]),
    # users and clients
    "username": Member("The user name", "alice"),
    "email": Member("The e-mail address", "alice@example.com"),
    "active": Member("Whether the user may log in", True),
    "roles": Member("The roles", ["customer"]),
    "TokensIssued.roles": Member("The roles, separated by commas", "customer"),
    "TokensRotated.roles": Member("The roles, separated by commas", "customer"),
    "ClientTokenIssued.roles": Member("The roles, separated by commas", "auditor"),
    "credential_id": Member("The password with which the user logs in", _CREDENTIAL),
    "credential_digest": Member("A digest of the password's hash, which has a random salt", _DIGEST),
    "user_id": Member("The user", _USER),
    "ClientRegistered.name": Member("The name of the client", "Payroll"),
    "ClientUpdated.name": Member("The name of the client", "Payroll"),
    "grants": Member("What the client may do"),
    "secrets": Member("The secrets that are valid from now on, the newest first"),
    "scopes": Member("The scopes that its tokens may have", ["events:read"]),
    "account_ids": Member("The accounts that the client is limited to", [_ACCOUNT]),
    "user_ids": Member("The users whose accounts the client is limited to", [_USER]),
    "id": Member("The id of the secret", _SECRET),
    "digest": Member("The digest (SHA-256) of the secret", _DIGEST),
    "StoredClientSecret.expires_at": Member("When the secret expires, in seconds since the epoch", _SECONDS),
    # second factors
    "factor_id": Member("The second factor", _FACTOR),
    "step": Member("The time step of the code (RFC 6238)", 59254560),
    "recovery_digests": Member("The digests of the recovery codes", [_DIGEST]),
    "RecoveryCodeUsed.digest": Member("The digest of the recovery code", _DIGEST),
    # tokens
    "access_jti": Member("The id of the access token", _TOKEN),
    "access_expires_at": Member("When the access token expires, in seconds since the epoch", _SECONDS + 3600),
    "refresh_jti": Member("The id of the refresh token", _OTHER_TOKEN),
    "refresh_expires_at": Member("When the refresh token expires, in seconds since the epoch", _SECONDS + 7776000),
    "issued_at": Member("When it was issued, in seconds since the epoch", _SECONDS),
    "session_expires_at": Member("When the session ends, in seconds since the epoch", _SECONDS + 7776000),
    "user_cutoffs": Member("How often the user's tokens had been revoked", 0),
    "all_cutoffs": Member("How often all tokens had been revoked", 0),
    "client_cutoffs": Member("How often the client's tokens had been revoked", 0),
    "second_factor": Member("Whether the user has presented a code of a second factor", False),
    "client_id": Member("The client", _CLIENT),
    "secret_id": Member("The secret that the client presented", _SECRET),
    "jti": Member("The id of the token", _TOKEN),
    "ClientTokenIssued.expires_at": Member("When the token expires, in seconds since the epoch", _SECONDS + 3600),
    "scope": Member("The scopes of the token, separated by blanks", "events:read"),
    "retry_hash": Member("A keyed hash that recognizes a retry of the request", _DIGEST),
    "by": Member("Whether the user logged out, or the session was revoked", "logout"),
    "expired_before": Member("The time before which they had expired, in seconds since the epoch", _SECONDS),
    "as_of_position": Member("The position at which they had been revoked", 41),
    # monitors
    "rule": Member("What the monitor watches"),
    "condition": Member("The amount that is compared", "balance_cents"),
    "operator": Member("How it is compared", "<"),
    "StoredRule.amount_cents": Member("The amount that it is compared with", 10000),
    "StoredRule.account_id": Member("The account; null if the monitor watches a sum", _ACCOUNT),
    "code_prefix": Member("The code at or below which accounts are summed", "assets:bank"),
    "StoredRule.currency": Member("The currency of the sum", "EUR"),
    "triggered": Member("Whether the condition was met then", False),
    "seen_version": Member("The version of the account by then; for a sum, the position", 7),
    "seen_position": Member("The position of the event that caused it", 41),
    "found_cents": Member("The amount after that event", 7500),
    # seals, periods and reconciliations
    "number": Member("The number of the last block; 0 without a block", 12),
    "hash": Member("The hash of its header; empty without a block", _DIGEST),
    "previous_number": Member("The last block according to the kept head; null without a kept head", 13),
    "previous_hash": Member("The hash of that block's header", _DIGEST),
    "reason": Member("Why the operator accepted the chain", "restored from a backup"),
    "through": Member("The last day of the period", "2026-04-30"),
    "reconciliation_id": Member("The reconciliation", _RECONCILIATION),
    "first_day": Member("The first day of the statement", "2026-04-01"),
    "last_day": Member("The last day of the statement", "2026-04-30"),
    "matched": Member("The number of lines that match an entry", 1),
    "source": Member("What identifies the file of the statement", "2026-04.xml"),
    "opening_cents": Member("The first balance of the statement", 5000),
    "closing_cents": Member("The last balance of the statement", 7500),
    "entry_version": Member("The version of the entry in the account", 7),
    "transaction_id": Member("The transaction of the entry", _TRANSACTION),
    "line_key": Member("What identifies the line of the statement", "4711"),
    "line_day": Member("The day on which the line counts", "2026-04-30"),
    "EntryReconciled.by": Member("What the entry and the line have in common, beside the amount", "reference"),
    "entry_versions": Member("The versions of the entries in the account", [7]),
    # webhooks
    "settings": Member("Where the webhook sends which events"),
    "url": Member("The address that it sends to", "https://example.com/hooks"),
    "topics": Member("The topics that it sends; absent for all that leave the ledger", ["MoneyTransferred"]),
    "StoredWebhookSettings.code_prefix": Member("The code at or below which an event's accounts are", "users"),
    "order": Member("What an event waits for: all earlier ones, or those about its account", "account"),
    "StoredWebhookSettings.description": Member("What the client says about the webhook", "Of the shop"),
    "WebhookCreated.client_id": Member("The client that created it; null for an admin", _CLIENT),
    "StoredWebhookSecret.expires_at": Member(
        "Until when it signs, in seconds since the epoch; null for ever", _SECONDS
    ),
    "from_position": Member("The position of the first event to send; null for the next one", 42),
    "event_position": Member("The position of the event to send again", 42),
    "failed_position": Member("The position of the event whose delivery failed", 42),
    "WebhookDisabled.reason": Member("Why the webhook was disabled", "failing"),
    # operations and followers
    "operation_id": Member("The rebuild or verification", _OPERATION),
    "projection": Member("The name of the projection", "accounts"),
    "outcome": Member("How it ended", "compared"),
    "VerificationEnded.outcome": Member("How it ended", "succeeded"),
    "ended_at": Member("When it ended", "2026-05-01T12:00:00Z"),
    "position": Member("The position up to which events were processed", 41),
    "VerificationEnded.position": Member("The position of the last event when it began", 41),
    "differing": Member("The number of rows of the live tables that were wrong", 0),
    "extent": Member("What was verified: the whole ledger, all but the log, or what changed since a position", "whole"),
    "since": Member("The position since which changes were verified", 1),
    "findings": Member("The number of findings", 0),
    "RebuildEnded.reason": Member("Why it failed", "the tables have changed"),
    "VerificationEnded.reason": Member("Why it failed", "PostgreSQL is unreachable"),
    "stop_id": Member("The stop", _STOP),
    "follower": Member("The name of the follower", "seals"),
    "stopped_at": Member("When it stopped", "2026-05-01T12:00:00Z"),
    "resumed_at": Member("When it resumed", "2026-05-01T12:05:00Z"),
    "error": Member("Why it stopped", "an event has no time"),
    "error_position": Member("The position of the event that it cannot apply", 42),
    "error_topic": Member("The topic of that event", "MoneyTransferred"),
    "FollowerResumed.by": Member("Whether an operator resumed it, or a process that became the leader", "operator"),
}
# Members that few events have: samples leave them out.
UNUSUAL = frozenset(
    (
        *("reverses", "journal_entry", "only_owner_id", "by_client", "retry_hash", "code_prefix"),
        *("StoredRule.currency", "StoredClientSecret.expires_at", "TokensRotated.credential_id"),
    )
)
