from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.analysis.run import analyze
from joulemill.errors import InputError
from joulemill.formats.documents import parse_document
from joulemill.formats.yaml_text import load_yaml
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from tests.support import foreign_results
from tests.support.foreign_results import llmd


def test_an_llmd_report_says_the_same_in_yaml_and_in_json(tmp_path: Path) -> None:
    as_yaml = tmp_path / "report.yaml"
    as_yaml.write_text(yaml.safe_dump(llmd()), encoding="utf-8")
    both = [import_files([p], Choice()) for p in (as_yaml, foreign_results.write_json(tmp_path / "x", llmd()))]
    one, other = (analyze(record) for record in both)
    assert one.stated and [(s.name, s.figure.value) for s in one.stated] == [
        (s.name, s.figure.value) for s in other.stated
    ]


def test_dates_are_text_and_what_is_no_number_is_unknown() -> None:
    assert load_yaml("r.yaml", "a: 2026-01-02\nb: .nan\nc: [1, .inf]\n") == {
        "a": "2026-01-02",
        "b": None,
        "c": [1, None],
    }
    assert parse_document("r.yaml", b'{"a": 1}').form == "json", "JSON is YAML"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x [1]\nb: [*x, *x]\n", "aliases"),
        ("a: [1\n", "is not YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "is not YAML"),
        ("a: " + "[" * 1000 + "]" * 1000, "nested too deeply"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
    ],
)
def test_refusals_are_one_line(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as refused:
        load_yaml("r.yaml", text)
    assert str(refused.value).isprintable()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_values_or_one_clear_error(text: str) -> None:
    told = ""
    try:
        load_yaml("r.yaml", text)
    except InputError as fault:
        told = str(fault)
    assert not told or told.isprintable()


def test_without_the_library_it_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(InputError, match=r"joulemill\[yaml\]"):
        load_yaml("r.yaml", "a: 1")
