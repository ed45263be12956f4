"""A local file of breached passwords, as the downloader of Have I Been Pwned writes it.

Each line has the SHA-1 digest of a password in upper-case hex, a colon and a count; the lines are in the order of the
digests. The file has tens of gigabytes, so a digest is found by bisection and nothing is loaded. The file stays open:
if it is replaced, the new one counts after the next start.
"""

import os
import re
from pathlib import Path

import structlog

PROBES = 100  # lines that are checked at the start
_LINE_BYTES = 96  # no line is longer: 40 digits, a colon, a count, and the end of the line
_LINE = re.compile(rb"([0-9A-F]{40}):[0-9]{1,20}\r?\n?")
_FORMAT = "must have lines such as 000000005AD76BD555C1D6D771DE417A4B87E4B4:10, in the order of their SHA-1 digests"

log = structlog.get_logger(__name__)


class BreachedPasswords:
    """An open file of breached passwords. Raises `ValueError` if it cannot be used, without its name or content."""

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        try:
            self._size = os.fstat(self._file).st_size
            self._check_format()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def has(self, digest: bytes) -> bool:
        """Return whether the file has a SHA-1 digest. A malformed line on the way is logged, and ends the search."""
        try:
            return self._find(digest.hex().upper().encode())
        except ValueError:
            log.exception("LEDGER_BREACHED_PASSWORDS_FILE is damaged, so a password was not compared with it")
            return False

    def _find(self, wanted: bytes) -> bool:
        low, high = 0, self._size  # where lines begin: the first that can be the one, and the first that cannot
        while low < high:
            start, end, digest = self._read_line((low + high) // 2)
            if digest == wanted:
                return True
            low, high = (low, start) if wanted < digest else (end, high)
        return False

    def _check_format(self) -> None:
        """Read some lines, among them the first and the last. Raises `ValueError`."""
        if self._size == 0:
            raise ValueError(_FORMAT)
        digests = [self._read_line(number * (self._size - 1) // (PROBES - 1))[2] for number in range(PROBES)]
        if digests != sorted(digests):
            raise ValueError(_FORMAT)

    def _read_line(self, offset: int) -> tuple[int, int, bytes]:
        """Return where the line around an offset begins and ends, and its digest. Raises `ValueError`."""
        base = max(offset - _LINE_BYTES, 0)
        block = os.pread(self._file, 2 * _LINE_BYTES, base)
        start = block.rfind(b"\n", 0, offset - base) + 1
        end = block.find(b"\n", offset - base) + 1 or len(block)
        line = _LINE.fullmatch(block, start, end)
        if line is None:
            raise ValueError(_FORMAT)
        return base + start, base + end, line[1]


def _open(path: Path) -> int:
    try:
        if not path.is_file():
            raise ValueError("must be the name of a file that is there")
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
