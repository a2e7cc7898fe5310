"""stdout and stderr: the one boundary between Joulemill's texts and a terminal, a pipe or a file.

Results go to stdout; progress, warnings and errors go to stderr. Texts may hold names that a server, an exporter or a
file chose. What could steer a terminal (escape sequences, C0 and C1 controls, bidirectional overrides) is replaced by
U+FFFD here, whichever command writes it; JSON escapes it instead, so that no character is lost.

A reader that went away (``| head``) never changes an exit code, and a broken stderr never ends a measurement. A stdout
that cannot be written, because a disk is full, is a MachineError.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from joulemill.errors import MachineError

if TYPE_CHECKING:
    from rich.console import Console

#: A whole escape sequence (CSI; OSC, DCS and kin up to their terminator; two-character forms), then single characters:
#: C0 without tab and newline, DEL and C1, bidirectional controls, line separators, invisible joiners, lone surrogates.
_SEQUENCES = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[ -~]?"
_CHARACTERS = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_UNSAFE = re.compile(f"{_SEQUENCES}|{_CHARACTERS}")
_UNSAFE_IN_JSON = re.compile(_CHARACTERS)
#: What begins a formula in a spreadsheet (full-width forms too).
_FORMULA = tuple("=+-@＝＋－＠")
#: How a terminal without Unicode shows what our own texts use; others are decomposed, or shown as "?".
_ASCII = {
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "÷": "/",
    "±": "+-",
    "·": "-",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "Φ": "Phi",
    "Δ": "Delta",
    "σ": "sigma",
    "μ": "u",
    "µ": "u",
    "◀": "<",
    "█": "#",
    "▏": "|",
    "✓": "+",
    "✗": "x",
    "○": "o",
    "◐": "o",
    "●": "*",
    "≈": "~",
    "∞": "inf",
    "“": '"',
    "”": '"',
    "’": "'",
    "‘": "'",
    "°": " deg ",
}


def printable(text: str) -> str:
    """``text`` without anything that could steer a terminal or reorder a line; each such piece becomes U+FFFD."""
    return _UNSAFE.sub("\ufffd", text)


def csv_cell(value: object) -> object:
    """``value`` as a cell of a CSV file: a text is printable, and no spreadsheet takes it for a formula.

    >>> csv_cell("=cmd|' /C calc'!A0"), csv_cell(-1.5)
    ("'=cmd|' /C calc'!A0", -1.5)
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip()[:1] in _FORMULA or text[:1] in ("\t", "\n") else text


def json_text(document: object) -> str:
    """``document`` as JSON that is safe to show: unsafe characters escaped, numbers that are not finite null."""
    text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(_escape, text) + "\n"


def print_json(document: object) -> None:
    """The one JSON document of a command, on stdout."""
    sys.stdout.write(json_text(document))


def print_text(text: str) -> None:
    """A result for people, on stdout, ending in a newline."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def tell(text: str) -> None:
    """A line of progress or a warning, on stderr."""
    sys.stderr.write(text + "\n")


def results_console() -> Console:
    """A rich console for results, on stdout."""
    return _console(sys.stdout)


def progress_console() -> Console:
    """A rich console for progress and warnings, on stderr."""
    return _console(sys.stderr)


def rendered(show: Callable[[Console], None], width: int) -> str:
    """What ``show`` prints on a console of that width, as text without styles."""
    screen = io.StringIO()
    show(_console(screen, width))
    return "\n".join(line.rstrip() for line in screen.getvalue().splitlines()) + "\n"


@contextmanager
def guarded() -> Iterator[GuardedStream]:
    """``sys.stdout`` and ``sys.stderr`` guarded for as long as the block lasts; the value is the guarded stdout."""
    _register_ascii()
    raw = sys.stdout, sys.stderr
    out = GuardedStream(raw[0], vital=True)
    sys.stdout, sys.stderr = out, GuardedStream(raw[1], vital=False)
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = raw


class GuardedStream:
    """A text stream that writes printable text only, in the stream's own encoding, and survives a lost reader.

    raw      the stream behind it; None where the process was started with the descriptor closed
    vital    whether a write that fails is an error (stdout), or is passed over (stderr)
    wrote    whether anything was written
    """

    def __init__(self, raw: TextIO | None, *, vital: bool, sanitize: bool = True) -> None:
        self.raw, self.vital, self.sanitize = raw, vital, sanitize
        self.wrote = False
        self.lost = raw is None and not vital
        with suppress(AttributeError, ValueError, OSError):
            if raw is not None:
                raw.reconfigure(errors="joulemill")  # type: ignore[attr-defined]

    def write(self, text: str) -> int:
        """Write ``text``, made printable. Raises MachineError where stdout is closed or full."""
        self.wrote = self.wrote or bool(text)
        self._try(lambda raw: raw.write(printable(text) if self.sanitize else text))
        return len(text)

    def flush(self) -> None:
        """Flush. Raises MachineError where stdout is full."""
        if self.wrote:
            self._try(lambda raw: raw.flush())

    def unstyled(self) -> GuardedStream:
        """The same stream for a console, which makes its texts printable and writes escape sequences of its own."""
        return GuardedStream(self.raw, vital=self.vital, sanitize=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def _try(self, act: Any) -> None:
        if self.lost:
            return
        if self.raw is None:
            self.lost = True
            raise MachineError("stdout is closed, so the result cannot be written; send it to a file or a pipe")
        try:
            act(self.raw)
        except (OSError, ValueError) as fault:
            self._failed(fault)

    def _failed(self, fault: OSError | ValueError) -> None:
        """The reader has gone or the disk is full: nothing more is written, and the exit does not stumble over it."""
        self.lost = True
        with suppress(OSError, ValueError, AttributeError):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, self.raw.fileno())  # type: ignore[union-attr]
            os.close(sink)
        gone = isinstance(fault, BrokenPipeError) or getattr(fault, "errno", None) == errno.EPIPE
        if self.vital and not gone:
            why = getattr(fault, "strerror", None) or str(fault)
            raise MachineError(f"the result cannot be written to stdout: {why}") from None


def _console(stream: Any, width: int | None = None) -> Console:
    from rich.console import Console
    from rich.segment import Segment

    class PrintableConsole(Console):
        """A console whose texts are printable, whatever name they hold; styles and bars are its own."""

        def render(self, renderable: Any, options: Any = None) -> Any:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else printable(text), style, control)

    file: Any = stream.unstyled() if isinstance(stream, GuardedStream) else stream
    return PrintableConsole(file=file, highlight=False, width=width)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _register_ascii() -> None:
    codecs.register_error("joulemill", _shown_in_ascii)


def _shown_in_ascii(fault: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, in letters that it has."""
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    return "".join(_ascii(c) for c in fault.object[fault.start : fault.end]), fault.end


def _ascii(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?"
