"""``import joulemill`` is instant, and its public names, their homes and their types are one list."""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import joulemill

ROOT = Path(joulemill.__file__)
HEAVY = ("numpy", "scipy", "pydantic", "aiohttp", "narwhals", "rich", "jinja2")


def spent_s(*args: str) -> float:
    """CPU time of an interpreter: neither a slow machine nor a busy one changes a ratio of two."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *args], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_import_loads_nothing_of_ours_and_nothing_heavy() -> None:
    code = (
        "import sys, json; before = set(sys.modules); import joulemill; print(json.dumps([*{*sys.modules} - before]))"
    )
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    assert [m for m in loaded if m.split(".")[0] in ("joulemill", *HEAVY)] == ["joulemill"]
    timed = [sys.executable, "-X", "importtime", "-c", "import joulemill"]
    told = subprocess.run(timed, check=True, capture_output=True, text=True).stderr
    assert " joulemill\n" in told and not any(f" {heavy}\n" in told for heavy in HEAVY)


def test_the_import_takes_about_as_long_as_none() -> None:
    laps = [(spent_s("-c", "pass"), spent_s("-c", "import joulemill")) for _ in range(5)]
    bare_s, import_s = (min(lap) for lap in zip(*laps, strict=True))
    assert import_s < 3 * bare_s


def test_names_homes_and_types_agree() -> None:
    checked = next(n for n in ast.parse(ROOT.read_text()).body if isinstance(n, ast.If))
    typed = {a.asname or a.name: n.module for n in checked.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert typed == {name: f"joulemill.{home}" for name, home in joulemill._HOMES.items()}
    assert sorted(joulemill.__all__) == sorted(typed) and set(joulemill.__all__) <= set(dir(joulemill))


@pytest.mark.parametrize("name", joulemill.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(joulemill, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'predikt'"):
        joulemill.predikt  # noqa: B018


def test_a_prediction_from_the_shell_loads_nothing_that_reads_runs() -> None:
    """What takes long to import and no prediction needs: analysis of runs, recordings, models of documents."""
    code = (
        "import sys, json, joulemill.commands.predict, joulemill.api.prediction, joulemill.reports.text.prediction;"
        "print(json.dumps([*sys.modules]))"
    )
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    never = ("joulemill.analysis", "joulemill.recording", "joulemill.decisions", "pydantic", "scipy", "narwhals")
    assert not [m for m in loaded if m.startswith(never)]
