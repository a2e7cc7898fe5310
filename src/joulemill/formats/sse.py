"""Server-sent events, sans-IO: bytes in, events out. However the bytes are cut, the events are the same.

Lives here: splitting lines and events as the WHATWG standard says (LF, CRLF or CR; ``data`` lines joined by LF;
comments and unknown fields dropped), with a bound on the size of one event so that a hostile server cannot fill
the memory. This file knows nothing of JSON, OpenAI, sockets or clocks.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Assumed far above any honest chunk (a chunk with 20 top log-probabilities is about 4 KB).
MAX_EVENT_BYTE = 1 << 20


class EventTooLongError(ValueError):
    """One event exceeds the bound; the stream cannot be trusted any further."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event: its ``data`` (lines joined by LF) and its type, b"message" where the server names none."""

    data: bytes
    kind: bytes = b"message"


class SseParser:
    """Feed it bytes as they come; it gives back the events that are complete."""

    __slots__ = ("_after_cr", "_data", "_fresh", "_kind", "_limit_byte", "_line_byte", "_pieces", "_size_byte")

    def __init__(self, limit_byte: int = MAX_EVENT_BYTE) -> None:
        self._limit_byte = limit_byte
        self._pieces: list[bytes] = []  # the unfinished line
        self._data: list[bytes] = []  # the data lines of the unfinished event
        self._kind = b""
        self._line_byte = 0
        self._size_byte = 0
        self._after_cr = False
        self._fresh = True  # no line seen yet: a byte-order mark may stand first

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that ``data`` completes. Raises EventTooLongError beyond the bound."""
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":  # the LF of a CRLF that was cut in two
                data = data[1:]
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return self._lines(data.split(b"\n"))

    def finish(self) -> list[SseEvent]:
        """The event that the end of the stream leaves without its blank line. Servers do forget it after [DONE]."""
        return self._lines([b"", b"", b""])

    def _lines(self, lines: list[bytes]) -> list[SseEvent]:
        events: list[SseEvent] = []
        for line in lines[:-1]:
            if self._pieces:
                line = b"".join([*self._pieces, line])
                self._pieces.clear()
                self._line_byte = 0
            event = self._line(line)
            if event is not None:
                events.append(event)
        if lines[-1]:
            self._pieces.append(lines[-1])
            self._line_byte += len(lines[-1])
            self._bound(self._line_byte)
        return events

    def _line(self, line: bytes) -> SseEvent | None:
        if self._fresh:
            self._fresh = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._keep(value)
        elif name == b"event":
            self._kind = value
        elif name == b"error":  # not in the standard: how older llama.cpp servers tell a fault
            self._kind = b"error"
            self._keep(value)
        return None

    def _dispatch(self) -> SseEvent | None:
        event = SseEvent(b"\n".join(self._data), self._kind or b"message") if self._data else None
        self._data, self._kind, self._size_byte = [], b"", 0
        return event

    def _keep(self, value: bytes) -> None:
        self._data.append(value)
        self._size_byte += len(value) + 1
        self._bound(self._size_byte)

    def _bound(self, size_byte: int) -> None:
        if size_byte > self._limit_byte:
            raise EventTooLongError(f"one event of the stream is longer than {self._limit_byte} bytes")
