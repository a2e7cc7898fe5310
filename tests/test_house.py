"""The house rules, held by tests: layers go one way, pure rooms stay pure, names carry units, files stay small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from joulemill.units import SUFFIXES

SRC = Path(__file__).parent.parent / "src" / "joulemill"
PURE = ("physics", "ledger", "decisions", "simulation", "figure.py", "suggestions.py", "units.py", "errors.py")
#: What each room may import of Joulemill; arrows go one way.
BASE = {"errors", "figure", "suggestions", "units", "streams"}
ALLOWED = {
    "physics": {"physics"},
    "ledger": {"ledger", "physics"},
    "decisions": {"decisions", "ledger", "physics"},
    "simulation": {"simulation", "physics", "ledger"},
    "catalog": {"catalog", "physics", "ledger"},
    "recording": {"recording", "ledger"},
    "meters": {"meters", "ledger", "catalog", "recording"},
    "servers": {"servers", "ledger", "catalog", "physics"},
    "bench": {"bench", "recording", "servers", "meters", "ledger", "catalog", "physics"},
    "grid": {"grid", "imports", "catalog", "physics", "ledger"},
    "imports": {"imports", "recording", "bench", "servers", "meters", "ledger", "catalog"},
    "reports": {"reports", "decisions", "ledger", "physics", "catalog", "bench", "simulation"},
    "monitor": {
        "monitor",
        "grid",
        "reports",
        "decisions",
        "servers",
        "meters",
        "ledger",
        "catalog",
        "physics",
        "simulation",
    },
}
IMPURE_MODULES = {
    *["os", "io", "pathlib", "socket", "ssl", "time", "datetime", "random", "secrets", "logging", "subprocess", "sys"],
    *["shutil", "tempfile", "asyncio", "aiohttp", "threading", "multiprocessing", "urllib", "http", "signal"],
    *["rich", "jinja2", "pydantic", "importlib"],
}
MAX_FILE_LINES = 400


def python_files() -> list[Path]:
    return sorted(p for p in SRC.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0]


def imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(SRC)))
def test_arrows_go_one_way(path: Path) -> None:
    allowed = ALLOWED.get(room(path))
    if allowed is None:
        return
    ours = {m.split(".")[1] for m in imports(path) if m.startswith("joulemill.")}
    assert ours <= allowed | BASE, f"{path.name} may not import {sorted(ours - allowed - BASE)}"


@pytest.mark.parametrize("path", [p for p in python_files() if room(p) in PURE], ids=lambda p: str(p.relative_to(SRC)))
def test_pure_rooms_touch_nothing(path: Path) -> None:
    bad = {m for m in imports(path) if m.split(".")[0] in IMPURE_MODULES}
    assert not bad, f"pure room imports {bad}"
    calls = {
        n.func.id
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert not calls & {"open", "print", "input"}


def floats_of(path: Path) -> list[str]:
    """Public float names: annotated dataclass fields, and functions that return float."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            names += [
                s.target.id
                for s in node.body
                if isinstance(s, ast.AnnAssign)
                and isinstance(s.target, ast.Name)
                and "float" in ast.unparse(s.annotation).split("[")[0]
            ]
        if isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) == "float":
            names.append(node.name)
    return [n for n in names if not n.startswith("_")]


#: Names whose unit stands beside them as data (a Figure's own parts, a reading, percentiles of a named quantity).
UNIT_BESIDE = {
    "value",
    "low",
    "high",
    "level",
    "resolution",
    "max_range",
    "rel_error",
    "load1",
    "score",
    "stderr",
    "parse_quantity",
}


@pytest.mark.parametrize("path", [p for p in python_files() if room(p) in PURE], ids=lambda p: str(p.relative_to(SRC)))
def test_floats_end_in_their_unit(path: Path) -> None:
    # A trailing digit numbers the coefficients of a polynomial: they carry the unit of the whole.
    bare = {n: re.sub(r"_\d$", "", n) for n in floats_of(path) if n not in UNIT_BESIDE}
    wrong = [n for n, b in bare.items() if not b.endswith(tuple(SUFFIXES))]
    assert not wrong, f"name the unit of {wrong}; endings: {sorted(SUFFIXES)}"


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(SRC)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize(
    "path",
    [p for p in python_files() if "/" in str(p.relative_to(SRC))],
    ids=lambda p: str(p.relative_to(SRC)),
)
def test_no_room_for_anything(path: Path) -> None:
    """Nouns of the trade, not drawers for everything."""
    assert path.stem not in {
        "utils",
        "util",
        "helpers",
        "helper",
        "common",
        "misc",
        "manager",
        "handler",
        "base",
    }


def test_help_is_instant() -> None:
    """`joulemill --help` imports nothing heavy. A ratio to a bare interpreter: a slow machine does not fail it."""

    def best(args: list[str]) -> float:
        laps = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, *args], check=True, capture_output=True)
            laps.append(time.perf_counter() - start)
        return min(laps)

    bare = best(["-c", "pass"])
    assert best(["-m", "joulemill", "--help"]) < bare * 12 + 0.1
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "joulemill", "--help"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    for heavy in ("numpy", "scipy", "aiohttp", "pydantic", "rich", "jinja2"):
        assert f" {heavy}\n" not in loaded, f"--help imports {heavy}"
