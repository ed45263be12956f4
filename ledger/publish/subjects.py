"""The subjects of messages in NATS, by which consumers choose what they receive.

    ledger.<ledger>.<topic>.<code of the account, a token for each segment>

An account without a code has its id instead. Events of other streams than those of accounts end with the topic. A
transfer is three events: `MoneyTransferred` in the stream of the transaction, and one in the stream of each account.
"""

import re
from functools import lru_cache

from ledger.publish.destination import Outgoing

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


def escape(text: str) -> str:
    """Return a text as one token of a subject: characters with a meaning in NATS become `%` and their code, as in URLs.

    Blanks, dots, `*` and `>` have a meaning (NATS, subject-based messaging).
    """
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


@lru_cache(maxsize=10_000)
def tokens_of_code(code: str) -> str:
    """Return the tokens of an account's code; spellings of one code have the same tokens."""
    return ".".join(escape(segment) for segment in code.lower().split(":"))


def subject_of(root: str, event: Outgoing) -> str:
    """Return the subject of an event. `root` has the first two tokens."""
    if event.account_id is None:
        return f"{root}.{event.topic}"
    account = str(event.account_id) if event.code is None else tokens_of_code(event.code)
    return f"{root}.{event.topic}.{account}"
