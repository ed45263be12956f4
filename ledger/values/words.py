"""The words of a text in any script, as searches compare them: without case and without differences of width.

A word is a run of letters, digits, their marks, and underscores. Scripts that put no blanks between words, such as
Chinese, Japanese and Thai, have a word for each letter. A search for several letters in a row wants them in this order.
"""

import re
import unicodedata

NO_WORDS = "must have a letter or a digit"

_find_ascii = re.compile(r"\w+").findall
# Thai, Lao, Myanmar, Khmer; Han, Hiragana, Katakana and Bopomofo, with their extensions.
_is_unspaced = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
).match


def split_words(text: str) -> list[str]:
    """Return the words of a text, in order."""
    return [word for run in _split_runs(text) for word in run]


def split_phrases(text: str) -> tuple[str, ...]:
    """Return what a text has to contain for a search, each once: words in a row without a blank between them.

    Raises `ValueError` without words.
    """
    phrases = tuple(dict.fromkeys(" ".join(run) for run in _split_runs(text)))
    if not phrases:
        raise ValueError(NO_WORDS)
    return phrases


def has_phrases(text: str, phrases: tuple[str, ...]) -> bool:
    """Return whether a text has all of these phrases, in any order."""
    words = f" {' '.join(split_words(text))} "
    return all(f" {phrase} " in words for phrase in phrases)


def _split_runs(text: str) -> list[list[str]]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    if folded.isascii():
        return [[word] for word in _find_ascii(folded)]
    runs: list[list[str]] = [[]]
    for character in folded:
        _add(runs, character)
    return [run for run in runs if run]


def _add(runs: list[list[str]], character: str) -> None:
    """Add a character to the last run, or end that run."""
    run = runs[-1]
    if unicodedata.category(character).startswith("M"):  # a vowel or an accent of the letter before it
        if run:
            run[-1] += character
    elif not (character.isalnum() or character == "_"):
        if run:
            runs.append([])
    elif run and not _is_unspaced(character) and not _is_unspaced(run[-1]):
        run[-1] += character
    else:
        run.append(character)
