"""Which secrets users may choose: none that attackers try first (NIST SP 800-63B, section 3.1.1.2).

A digest that a client makes of a password is as good as the password, which only the client sees. So rules about the
length of a password do not apply to it, but it must not be the digest of a password that is tried first.
"""

from collections.abc import Iterable
from unicodedata import normalize

from ledger.environment.variables import SettingsError
from ledger.identity.breached_passwords import BreachedPasswords
from ledger.identity.common_passwords import read_common_passwords
from ledger.identity.password_digests import compute_sha1, is_digest_of_common, list_sha1
from ledger.settings import Settings

WORDS = ("ledger",)  # of the context, as the user's own names are (docs/explanation/security.md has the list)
LEAST_OTHERS = 4  # letters and digits beside such a word


class PasswordRules:
    """The rules for new secrets: with the operator's `words`, a file of breached passwords, and digests or none."""

    def __init__(
        self, *, words: Iterable[str] = (), breached: BreachedPasswords | None = None, allows_digests: bool = True
    ) -> None:
        self._words = tuple(words)
        self._breached = breached
        self._allows_digests = allows_digests

    def close(self) -> None:
        """Close the file of breached passwords."""
        if self._breached is not None:
            self._breached.close()

    def check_password(self, password: str, names: Iterable[str]) -> None:
        """Raise `ValueError` for a password that is common, breached, blank, or a word of its context with little else.

        `names` are those of the user.
        """
        if not password.strip():
            raise ValueError("must not be blank")
        folded = _fold(password)
        if _is_repetition(folded) or folded in read_common_passwords():
            raise ValueError("must not be a common password")
        if any(_is_little_more_than(word, folded) for word in WORDS):
            raise ValueError("must not be the name of this service")
        if any(_is_little_more_than(name, folded) for name in names):
            raise ValueError("must not be the user's own name")
        if any(_is_little_more_than(word, folded) for word in self._words):
            raise ValueError("must not be a word that others would guess here")
        if self._breached is not None and self._breached.has(compute_sha1(password)):
            raise ValueError("must not be in a list of breached passwords")

    def check_digest(self, digest: str, names: Iterable[str]) -> None:
        """Raise `ValueError` for the digest, without a salt, of a password that is common, breached, or a name.

        A common or breached password itself is refused as well. Other texts may be digests that the client cut short.
        """
        if not self._allows_digests:
            raise ValueError("is not accepted by this service: send the password")
        if _fold(digest) in read_common_passwords():
            raise ValueError("must not be a common password")
        if is_digest_of_common(digest, (*WORDS, *names, *self._words)):
            raise ValueError("must not be the digest of a common password")
        if self._breached is not None and any(map(self._breached.has, list_sha1(digest))):
            raise ValueError("must not be a breached password or its digest")


def load_password_rules(settings: Settings) -> PasswordRules:
    """Return the rules of the settings. Raises `SettingsError` if the file of breached passwords cannot be used."""
    path = settings.ledger_breached_passwords_file
    try:
        breached = None if path is None else BreachedPasswords(path)
    except ValueError as error:
        raise SettingsError(f"LEDGER_BREACHED_PASSWORDS_FILE: {error}") from None
    words = settings.ledger_password_words.split()
    return PasswordRules(words=words, breached=breached, allows_digests=settings.ledger_password_hashes)


def names_of(username: str, email: str) -> tuple[str, ...]:
    """Return the names that a user's password must not be."""
    return (username, email, email.partition("@")[0])


def _is_repetition(folded: str) -> bool:
    return folded.isascii() and len(set(folded)) == 1


def _is_little_more_than(name: str, folded: str) -> bool:
    own, characters = _keep_alphanumeric(_fold(name)), _keep_alphanumeric(folded)
    return bool(own) and own in characters and len(characters) - len(own) < LEAST_OTHERS


def _fold(text: str) -> str:
    return normalize("NFKC", text).strip().casefold()


def _keep_alphanumeric(text: str) -> str:
    return "".join(filter(str.isalnum, text))
