"""The boundary between texts and a terminal: nothing steers it, a lost reader or a full disk is survived."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import MachineError
from joulemill.streams import GuardedStream, csv_cell, guarded, json_text, print_json, printable, results_console, tell

HOSTILE = {
    "colour": "a\x1b[31mb",
    "title": "a\x1b]0;PWNED\x07b",
    "title ended by ST": "a\x1b]0;PWNED\x1b\\b",
    "cleared screen": "a\x1b[2Jb",
    "C1 introducer": "a\x9b31mb",
    "bell": "a\x07b",
    "carriage return": "a\rb",
    "right to left": "a\u202eb",
    "isolate": "a\u2066b",
    "null": "a\x00b",
    "line separator": "a\u2028b",
    "lone surrogate": "a\ud800b",
    "tag character": "a\U000e0041b",
}


@pytest.mark.finding("F16")
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_text_steers_the_terminal(name: str) -> None:
    shown = printable(HOSTILE[name])
    assert shown.startswith("a") and shown.endswith("b") and "PWNED" not in shown
    assert all(c.isprintable() for c in shown)


@given(st.text(st.characters(), max_size=60))
def test_what_is_printable_is_stable_and_keeps_plain_text(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not set(shown) & {"\x1b", "\r", "\x07", "\x9b", "\u202e"}


def test_our_own_texts_pass_unchanged() -> None:
    text = "Φ 0.157 · 73.8 mJ/tok (22.0–125) → ≤ 5 %\n\tnext\n"
    assert printable(text) == text


@given(st.dictionaries(st.text(st.characters(), max_size=12), st.text(st.characters(exclude_categories=["Cs"]))))
def test_json_loses_no_character_and_holds_none_that_is_unsafe(document: dict[str, str]) -> None:
    document = {k.encode("utf-8", "replace").decode(): v for k, v in document.items()}
    text = json_text(document)
    assert json.loads(text) == document
    assert printable(text) == text


def test_json_holds_no_number_that_is_not_finite() -> None:
    document = {"a": float("inf"), "b": [float("nan"), 1.5], "c": (2, None)}
    assert json.loads(json_text(document)) == {"a": None, "b": [None, 1.5], "c": [2, None]}


class EnergyGap(io.StringIO):
    """A stream whose reader has gone, or whose disk is full."""

    def __init__(self, fault: OSError) -> None:
        super().__init__()
        self.fault = fault

    def write(self, text: str) -> int:
        raise self.fault


def test_a_reader_that_went_away_is_no_error() -> None:
    stream = GuardedStream(EnergyGap(BrokenPipeError()), vital=True)
    stream.write("a")
    stream.write("b")
    assert stream.lost


def test_a_full_stdout_is_an_error_of_the_machine() -> None:
    stream = GuardedStream(EnergyGap(OSError(28, "No space left on device")), vital=True)
    with pytest.raises(MachineError, match="No space left"):
        stream.write("a")


def test_a_full_stderr_never_ends_a_measurement() -> None:
    GuardedStream(EnergyGap(OSError(28, "No space left on device")), vital=False).write("progress")


def test_a_closed_stdout_is_told_once_and_a_closed_stderr_is_passed_over() -> None:
    out = GuardedStream(None, vital=True)
    with pytest.raises(MachineError, match="closed"):
        out.write("a")
    out.flush()
    GuardedStream(None, vital=False).write("a")


def test_letters_that_an_encoding_lacks_are_shown_in_others(capsys: pytest.CaptureFixture[str]) -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with guarded():
        stream = GuardedStream(raw, vital=True)
        stream.write("Φ 1.2–3 → ≤ é 中")
        stream.flush()
    assert raw.buffer.getvalue() == b"Phi 1.2-3 -> <= e ?"  # type: ignore[attr-defined]


def test_a_console_styles_its_own_texts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with guarded():
        results_console().print("[bold]own[/] and \x1b]0;PWNED\x07 \x1b[2J name")
    shown = terminal.getvalue()
    assert "\x1b[1mown" in shown, "its own style is kept"
    assert "PWNED" not in shown and "[2J" not in shown and "\x07" not in shown


def test_streams_are_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded() as out:
        print_json({"a": 1})
        tell("progress")
        assert out.wrote
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"a": 1} and shown.err == "progress\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\n=1", "\r=1", "\x1b[2J=1", "＝1"])
def test_no_text_is_a_formula_of_a_spreadsheet(text: str) -> None:
    cell = csv_cell(text)
    assert isinstance(cell, str) and cell.lstrip()[0] not in "=+-@＝" and "\x1b" not in cell


@pytest.mark.parametrize("value", [-1.5, 3, None, "llama-3 = good", "a+b", ""])
def test_other_cells_stay_as_they_are(value: object) -> None:
    assert csv_cell(value) == value
