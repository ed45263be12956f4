"""Texts that people read: what names, references and descriptions may be made of."""

import unicodedata


def printable(text: str) -> str:
    """The text. Raises `ValueError` if it has control characters, or blanks around it."""
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("must not contain control characters")
    if text != text.strip():
        raise ValueError("must not start or end with blanks")
    return text
