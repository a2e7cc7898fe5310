"""The lines of a text file that may still be written: whole ones as they come, whatever encoding and line end.

A byte-order mark, or zero bytes in every second place, tells UTF-16 (PowerShell's redirect). A line that is not ended
yet stays in ``rest``: its writer may be in the middle of it (a buffer of 4,096 bytes ends where it likes).
"""

from __future__ import annotations

import codecs
import io
import stat
from collections.abc import Iterator
from pathlib import Path

from joulemill.errors import InputError

#: A line of more characters is no line of a log.
MAX_LINE = 2**20
_CHUNK_BYTE = 2**20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class LineReader:
    """Reads one file from where it left off.

    offset  bytes that were read;  number  of the last whole line;  rest  what stands after it, without an end
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._anew()

    def _anew(self) -> None:
        self.offset, self._file = 0, (0, 0)
        self._decoder: io.IncrementalNewlineDecoder | None = None
        self._too_long = False
        self.number, self.rest = 0, ""

    def fresh(self) -> Iterator[tuple[int, str | None]]:
        """Whole lines since the last time, with their numbers; None for one that is too long to be read.

        Raises OSError, and ValueError where the file was written anew; the next time it is read from its beginning.
        """
        self._look()
        with self._path.open("rb") as file:
            file.seek(self.offset)
            while chunk := file.read(_CHUNK_BYTE):
                self.offset += len(chunk)
                yield from self._split(chunk)

    def take_rest(self) -> str:
        """The line without an end, taken for whole; what may follow in it is no line of its own."""
        line, self.rest = self.rest, ""
        self.number += 1
        return line

    def _look(self) -> None:
        state = self._path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise OSError(f"{self._path} is not a regular file")
        before, self._file = self._file, (state.st_dev, state.st_ino)
        if state.st_size < self.offset or (self.offset and before != self._file):
            self._anew()
            raise ValueError(f"{self._path} became shorter: it was rotated or rewritten")

    def _split(self, chunk: bytes) -> Iterator[tuple[int, str | None]]:
        if self._decoder is None:
            encoding, skip = encoding_of(chunk)
            self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("replace"), True)
            chunk = chunk[skip:]
        *lines, self.rest = (self.rest + self._decoder.decode(chunk)).split("\n")
        for line in lines:
            self.number += 1
            yield self.number, None if self._too_long or len(line) > MAX_LINE else line.replace("\0", "")
            self._too_long = False
        if len(self.rest) > MAX_LINE:
            self._too_long, self.rest = True, ""


def encoding_of(head: bytes) -> tuple[str, int]:
    """The encoding of a text that begins with ``head``, and the length of its mark.

    >>> encoding_of("t,p".encode("utf-16-le"))
    ('utf-16-le', 0)
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, len(mark)
    start = head[:64]
    even, odd = start[::2].count(0), start[1::2].count(0)
    if odd > len(start) // 4 and even == 0:
        return "utf-16-le", 0
    if even > len(start) // 4 and odd == 0:
        return "utf-16-be", 0
    return "utf-8", 0


def first_lines(path: Path, count: int = 20) -> tuple[list[str], bool]:
    """The first lines of ``path`` that hold anything, and whether one of them is ended. Raises InputError.

    A file that cannot be read is one that is not there, not a file, or has a name that no file has.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} cannot be read: it is not a file")
        with path.open("rb") as file:
            head = file.read(2**16)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{str(path)!r} cannot be read: {error}") from error
    encoding, skip = encoding_of(head)
    text = head[skip:].decode(encoding, "replace").replace("\0", "").replace("\r", "\n")
    return [line for line in text.split("\n") if line.strip()][:count], "\n" in text.lstrip()
