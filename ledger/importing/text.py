"""The encoding of a file: certain, or asked for, and never guessed.

A byte-order mark is certain. Text that is valid UTF-8 throughout is UTF-8. For anything else the user names the
encoding, because every byte is some letter in Windows-1252 and its relatives.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ledger.importing.faults import FileFaultError, OptionError

MAX_BYTES = 64 << 20  # of a file that is read as a whole
MAX_LINE = 1 << 20  # characters; a longer line is no line of a table
ENCODINGS = (
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii", "latin-1", "iso8859-2", "iso8859-15"),
    *("cp437", "cp850", "cp852", "cp858", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257", "mac-roman"),
    *("shift_jis", "cp932", "euc_jp", "euc_kr", "gb18030", "big5"),
)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_MARKED = {"utf-8": "utf-8-sig"}
_HEAD_BYTES = 4096


def parse_encoding(name: str) -> str:
    """Return the name that Python has for an encoding. Raises `OptionError`."""
    try:
        known = codecs.lookup(name).name
    except LookupError:
        known = ""
    allowed = {codecs.lookup(encoding).name: encoding for encoding in ENCODINGS}
    if known not in allowed:
        raise OptionError(f"--encoding: {name} is unknown; use one of {', '.join(ENCODINGS)}")
    return allowed[known]


def detect_encoding(path: Path, named: str | None) -> str:
    """Return the encoding of a file: that of its byte-order mark, or the one that the user names, or UTF-8.

    Raises `FileFaultError` if the two contradict each other, or the file is neither.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise FileFaultError(1, 1, "is in UTF-32; save it as UTF-8")
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if marked is None:
        if named is None and b"\0" in head:
            raise FileFaultError(1, 1, "is no text in UTF-8: give --encoding, such as utf-16-le")
        return named or "utf-8"
    if named is not None and not named.startswith(marked):
        raise FileFaultError(1, 1, f"begins with the byte-order mark of {marked.upper()}, but --encoding says {named}")
    return _MARKED.get(marked, marked)


def read_lines(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a file with their ends. Raises `FileFaultError`."""
    with path.open(encoding=encoding, newline="") as file:
        number = 0
        try:
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE and line[-1] not in "\r\n":
                    raise FileFaultError(number, 1, f"the line has more than {MAX_LINE:,} characters")
                yield line
        except UnicodeError:
            raise _locate_undecodable(path, encoding) from None


def read_text(path: Path, encoding: str) -> str:
    """Return the whole text of a file, its lines ended by line feeds alone. Raises `FileFaultError`."""
    if path.stat().st_size > MAX_BYTES:
        raise FileFaultError(1, 1, f"the statement has more than {MAX_BYTES >> 20} MiB: import it in parts")
    try:
        with path.open(encoding=encoding) as file:
            return file.read()
    except UnicodeError:
        raise _locate_undecodable(path, encoding) from None


def _locate_undecodable(path: Path, encoding: str) -> FileFaultError:
    """Return the fault of the first bytes that are not in this encoding."""
    with path.open(
        encoding=encoding, errors="surrogateescape" if "16" not in encoding else "replace", newline=""
    ) as file:
        line, column = _find_undecodable(file)
    advice = "; give --encoding, such as windows-1252" if encoding.startswith("utf-8") else ""
    return FileFaultError(line, column, f"is not {encoding.removesuffix('-sig').upper()}{advice}")


def _find_undecodable(file: TextIO) -> tuple[int, int]:
    """Return the line and column of the first character that stands for an undecodable byte."""
    number = 1
    for number, line in enumerate(file, 1):
        for column, character in enumerate(line, 1):
            if character == "\ufffd" or "\udc80" <= character <= "\udcff":
                return number, column
    return number, 1
