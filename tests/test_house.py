"""The house rules, held by tests: layers go one way, pure rooms stay pure, names carry units, files stay small."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from joulemill.units import SUFFIXES

SRC = Path(__file__).parent.parent / "src" / "joulemill"
PURE = ("formats", "statistics", "physics", "ledger", "decisions", "simulation", "planning")
PURE_FILES = ("arrays.py", "figure.py", "jsonable.py", "suggestions.py", "units.py", "errors.py", "wording.py")
#: What every package may import: the ground.
GROUND = {"arrays", "errors", "figure", "files", "jsonable", "streams", "suggestions", "units", "version", "wording"}
#: The packages from the ground up; what each may import of Joulemill beside the ground. Arrows point down only.
ALLOWED: dict[str, set[str]] = {
    "formats": set(),
    "statistics": set(),
    "physics": {"statistics"},
    "ledger": {"physics", "statistics"},
    "catalog": {"formats", "ledger", "physics"},
    "decisions": {"ledger", "physics", "statistics"},
    "planning": set(),
    "simulation": {"physics", "statistics"},
    "recording": {"ledger"},
    "meters": {"recording", "catalog", "ledger", "formats"},
    "servers": {"catalog", "ledger", "formats"},
    "prediction": {"simulation", "decisions", "catalog", "physics", "statistics"},
    "fleet": {"prediction", "planning", "catalog", "physics", "formats"},
    "validation": {"prediction", "catalog", "physics"},
    "carbon": {"catalog", "physics", "formats"},
    "bench": {"servers", "meters", "recording", "catalog", "ledger", "statistics", "formats"},
    "importers": {"simulation", "meters", "recording", "catalog", "ledger", "formats", "statistics"},
    "analysis": {
        *(
            "validation",
            "prediction",
            "recording",
            "simulation",
            "decisions",
            "catalog",
            "ledger",
            "physics",
            "statistics",
        ),
    },
    "reports": {
        *("analysis", "validation", "fleet", "prediction", "recording", "planning", "decisions"),
        *("catalog", "physics"),
    },
    "monitor": {
        *("prediction", "servers", "meters", "decisions", "catalog", "ledger", "physics", "formats"),
    },
    "api": {
        *("monitor", "reports", "analysis", "importers", "bench", "carbon", "validation", "fleet", "prediction"),
        *("servers", "meters", "recording", "simulation", "planning", "decisions", "catalog", "ledger"),
        *("physics", "formats"),
    },
    "explorer": {"api", "monitor", "validation", "prediction", "simulation", "catalog", "physics"},
    # Commands parse flags, call the public API and print. Beside it they may import the views of text and pages
    # (reports) and the page over the API that one of them serves (explorer).
    "commands": {"explorer", "api", "reports"},
}
#: Files that stand beside the packages.
LOOSE = {"__init__", "__main__", "cli", *GROUND}
IMPURE_MODULES = {
    *["os", "pathlib", "socket", "ssl", "time", "random", "secrets", "logging", "subprocess", "sys"],
    *["shutil", "tempfile", "asyncio", "aiohttp", "threading", "multiprocessing", "urllib", "http", "signal"],
    *["rich", "jinja2", "pydantic", "importlib"],
}
MAX_FILE_LINES = 500


def python_files() -> list[Path]:
    return sorted(p for p in SRC.rglob("*.py"))


def module(path: Path) -> str:
    """Dotted name below the package: ``physics.model.precision``; a package's ``__init__`` has the package's name."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def package(path: Path) -> str:
    return module(path).split(".")[0]


def is_pure(path: Path) -> bool:
    return package(path) in PURE or str(path.relative_to(SRC)) in PURE_FILES


MODULES = {module(p): p for p in python_files()}


@cache
def imports(path: Path) -> list[str]:
    """Every module imported anywhere in the file: at its top, in a function, for the type checker only."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{a.name}" for a in node.names]
    return names


def ours(path: Path) -> set[str]:
    """Joulemill's own modules that the file imports, as dotted names below the package; ``__init__`` is the package as
    a whole, which a name of its own is taken from."""
    below = {n.removeprefix("joulemill.") for n in imports(path) if n.startswith("joulemill.")}
    found = {m for n in below if (m := n if n in MODULES else n.rpartition(".")[0]) in MODULES}
    taken_from_the_whole = "joulemill" in imports(path) or any("." not in n and n not in MODULES for n in below)
    return found | {"__init__"} if taken_from_the_whole else found


def cycles(edges: dict[str, set[str]]) -> list[str]:
    """What cannot be put in order: names left over once all without open arrows are taken away, again and again."""
    open_ = {a: {b for b in bs if b != a} for a, bs in edges.items()}
    while free := {a for a, bs in open_.items() if not bs & open_.keys()}:
        open_ = {a: bs for a, bs in open_.items() if a not in free}
    return sorted(open_)


def test_every_package_has_its_place() -> None:
    packages = {package(p) for p in python_files()}
    assert packages <= ALLOWED.keys() | LOOSE, f"not in the layout: {sorted(packages - ALLOWED.keys() - LOOSE)}"
    folders = {p.parent for p in python_files()}
    assert all((f / "__init__.py").is_file() for f in folders)


def test_the_layout_itself_points_down() -> None:
    assert not cycles(ALLOWED)


@pytest.mark.parametrize(
    "path", [p for p in python_files() if package(p) in ALLOWED], ids=lambda p: str(p.relative_to(SRC))
)
def test_arrows_point_down(path: Path) -> None:
    allowed = ALLOWED[package(path)] | GROUND | {package(path)}
    used = {m.split(".")[0] for m in ours(path)}
    assert used <= allowed, f"{path.name} may not import {sorted(used - allowed)}"


def test_the_layout_allows_no_arrow_that_is_not_there() -> None:
    """A package that nothing below it is imported from any more does not stay open to it."""
    used: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        used.setdefault(name.split(".")[0], set()).update(m.split(".")[0] for m in ours(path))
    assert not {name: unused for name, allowed in ALLOWED.items() if (unused := allowed - used[name])}


def test_no_files_import_each_other() -> None:
    """Lazy imports and those for the type checker count: a circle that is hidden is still one."""
    assert not cycles({name: ours(path) for name, path in MODULES.items()})


def test_no_sub_packages_import_each_other() -> None:
    """Rooms of one floor; the files that lie loose in a package stand above or below its rooms, each for itself."""

    def place(name: str) -> str:
        parts = name.split(".")
        return ".".join(parts[:2]) if len(parts) > 2 else name

    edges: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        edges.setdefault(place(name), set()).update(place(m) for m in ours(path))
    assert not cycles(edges)


@pytest.mark.parametrize("path", [p for p in python_files() if is_pure(p)], ids=lambda p: str(p.relative_to(SRC)))
def test_pure_rooms_touch_nothing(path: Path) -> None:
    bad = {m for m in imports(path) if m.split(".")[0] in IMPURE_MODULES and not m.startswith("urllib.parse.")}
    assert not bad, f"pure room imports {bad}"
    calls = {
        n.func.id
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert not calls & {"open", "print", "input"}
    assert not re.search(r"\.(now|today|utcnow)\(", path.read_text()), "a pure file asks no clock"


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
    # A limit's own parts: its unit is a field, because limits are watts, devices, grams and tokens.
    *("slack", "shadow_price", "valid_from", "valid_to", "amount", "unit_value", "value_of", "sign", "slack_of"),
    # Moments of whatever quantity is shrunk, in its own unit.
    *("between", "within", "slope", "center", "mean", "mean_variance", "slope_variance", "within_variance"),
}
#: The servers' own name for requests in flight at once; it may be a mean.
FIELD_NAMES = {"concurrency"}
#: Flags and kinds that are kept as numbers, because a table of shards or loads is one array a field: no unit.
FLAGS_AND_KINDS = {
    *("is_newest", "has_latent_kv", "chunked_window", "fused_experts", "matrix_class", "expert_class"),
    *("sent_to_experts", "overlaps_batches", "balanced_experts"),
    *("uniform_lengths", "behind_router", "open_loop", "chunked_prefill", "eager", "drafts_hidden"),
}


@pytest.mark.parametrize("path", [p for p in python_files() if is_pure(p)], ids=lambda p: str(p.relative_to(SRC)))
def test_floats_end_in_their_unit(path: Path) -> None:
    # A trailing digit numbers the coefficients of a polynomial: they carry the unit of the whole.
    bare = {n: re.sub(r"_\d$", "", n) for n in floats_of(path) if n not in UNIT_BESIDE | FIELD_NAMES | FLAGS_AND_KINDS}
    wrong = [n for n, b in bare.items() if not b.endswith(tuple(SUFFIXES))]
    assert not wrong, f"name the unit of {wrong}; endings: {sorted(SUFFIXES)}"


def test_files_stay_small() -> None:
    """Tests, benchmarks, and what pages are made of too; what others wrote is as it came."""
    pages = [p for end in ("js", "css", "j2", "html") for p in SRC.rglob(f"*.{end}") if "vendor" not in p.parts]
    lines = {p: len(p.read_text("utf-8").splitlines()) for p in (*python_files(), *OTHER_CODE, *pages)}
    assert not {str(p.relative_to(ROOT)): n for p, n in lines.items() if n > MAX_FILE_LINES}


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
    """`joulemill --help` imports nothing heavy. Its CPU time against a bare interpreter's, run in turns: neither a slow
    machine nor a busy one fails it."""

    def spent_s(args: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *args], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    laps = [(spent_s(["-c", "pass"]), spent_s(["-m", "joulemill", "--help"])) for _ in range(5)]
    bare_s, help_s = (min(lap) for lap in zip(*laps, strict=True))
    assert help_s < bare_s * 12 + 0.1
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "joulemill", "--help"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    for heavy in ("numpy", "scipy", "aiohttp", "pydantic", "rich", "jinja2"):
        assert f" {heavy}\n" not in loaded, f"--help imports {heavy}"


ROOT = SRC.parents[1]


def _imported(path: Path) -> set[str]:
    """Dotted names of the project's own test and benchmark modules that ``path`` imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    return {n for n in names if n.split(".")[0] in ("tests", "benchmarks", "simulated")}


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "simulated"])
def test_tests_and_benchmarks_stay_apart(folder: str) -> None:
    """What both need is in simulated/, what several tests need in tests/support/; no test is a library."""
    allowed = {"tests": ("tests", "simulated"), "benchmarks": ("benchmarks", "simulated"), "simulated": ("simulated",)}
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        here = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
        for name in _imported(path):
            foreign = name.split(".")[0] not in allowed[folder]
            of_a_test = any(part.startswith("test_") for part in name.split("."))
            elsewhere = name.startswith("tests.") and not f"{name}.".startswith(("tests.support.", f"{here}."))
            # the fuzzer and the security tests' lowest versions are programs of their own, tested here
            if foreign or of_a_test or (elsewhere and not name.startswith(("tests.fuzz", "tests.lowest"))):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_the_design_page_lists_every_package_and_says_which_are_pure() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    table = page.split("| package in", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    floors = [re.findall(r"`(\w+)`", names) for names, _ in rows]
    listed = {name: pure.strip() == "yes" for (_, pure), floor in zip(rows, floors, strict=True) for name in floor}
    assert listed == {name: name in PURE for name in ALLOWED}
    rank = {name: place for place, floor in enumerate(floors) for name in floor}
    up = [f"{a} imports {b}" for a, below in ALLOWED.items() for b in below if rank[b] < rank[a]]
    assert not up, "the page's arrows point down: a package stands above what it imports"


#: Names that say that something was got, and not what it is.
PLACEHOLDERS = {"found", "told", "untold", "seen", "given", "said", "made"}


def bound_names(tree: ast.AST) -> set[str]:
    """Functions, their arguments and whatever a function assigns, loops over or unpacks into."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
    named = {f.name.strip("_") for f in functions if not isinstance(f, ast.Lambda)}
    inside = [n for f in functions for n in ast.walk(f)]
    names = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names | named | {n.arg for n in inside if isinstance(n, ast.arg)}


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(SRC)))
def test_a_local_is_named_for_what_it_is(path: Path) -> None:
    assert not bound_names(ast.parse(path.read_text())) & PLACEHOLDERS


#: Numbers that many files need → the one file that writes them: quantiles of the normal distribution, joules in a kWh.
NUMBERS_OF_ONE_FILE = {
    **dict.fromkeys((1.96, 1.959964, 1.959963984540054, 1.2816), "statistics/normal.py"),
    3.6e6: "units.py",
}


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(SRC)))
def test_a_number_of_many_files_is_written_in_one(path: Path) -> None:
    numbers = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant))
    written = [n for n in numbers if isinstance(n.value, float) and n.value in NUMBERS_OF_ONE_FILE]
    assert {NUMBERS_OF_ONE_FILE[n.value] for n in written} <= {str(path.relative_to(SRC))}


def test_one_class_one_name() -> None:
    """A name means one thing in the whole package; what a leading underscore hides counts too."""
    homes: dict[str, list[str]] = {}
    for path in python_files():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name.lstrip("_"), []).append(module(path))
    assert not {name: where for name, where in homes.items() if len(where) > 1}


#: Code whose dataclasses and calls of them are held to the same rule.
OTHER_CODE = sorted(p for folder in ("tests", "benchmarks", "simulated") for p in (ROOT / folder).rglob("*.py"))
#: Values, arguments of a call: more than this at once say nothing by their place.
MOST_POSITIONAL = 6


@dataclass(frozen=True)
class Shape:
    """What the rules of size look at in one file.

    wide_classes   dataclasses of which too many fields may be given by their place
    long_calls     calls with too many arguments by their place; of other code only those that make a value
    body_lines     lines of each function's body, docstrings left out
    """

    wide_classes: list[str]
    long_calls: list[str]
    body_lines: list[int]


@cache
def shape(path: Path) -> Shape:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    classes = {n.name: positional_fields(n) for n in nodes if isinstance(n, ast.ClassDef)}
    calls = [n for n in nodes if isinstance(n, ast.Call) and len(n.args) > MOST_POSITIONAL]
    # A list of texts (names to try in turn, words of a command) is one argument written out.
    calls = [n for n in calls if not all(isinstance(a, ast.Constant) and isinstance(a.value, str) for a in n.args)]
    if path in OTHER_CODE:
        calls = [n for n in calls if ast.unparse(n.func).rpartition(".")[2].lstrip("_")[:1].isupper()]
    name = path.relative_to(ROOT)
    return Shape(
        [f"{name}: {n} has {count} fields" for n, count in classes.items() if count > MOST_POSITIONAL],
        [f"{name}, line {n.lineno}: {len(n.args)} arguments" for n in calls],
        [body_lines(n) for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)],
    )


def positional_fields(node: ast.ClassDef) -> int:
    """How many fields of a dataclass may be given by their place, those that it inherits left out."""
    decorators = [ast.unparse(d) for d in node.decorator_list]
    decorator = next((d for d in decorators if d.partition("(")[0].rpartition(".")[2] == "dataclass"), None)
    if decorator is None or "kw_only=True" in decorator:
        return 0
    annotated = [s for s in node.body if isinstance(s, ast.AnnAssign) and not ast.unparse(s).endswith("init=False)")]
    names = [ast.unparse(s.annotation) for s in annotated]
    return names.index("KW_ONLY") if "KW_ONLY" in names else sum(not n.startswith("ClassVar") for n in names)


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_values_of_many_parts_are_given_by_name() -> None:
    """A dataclass of over six fields takes them by keyword (a figure: all but value, unit and basis)."""
    assert not [c for p in (*python_files(), *OTHER_CODE) for c in shape(p).wide_classes]


def test_no_call_has_more_than_six_positional_arguments() -> None:
    """Everywhere in the package, and wherever tests and benchmarks make a value."""
    assert not [c for p in (*python_files(), *OTHER_CODE) for c in shape(p).long_calls]


def test_functions_stay_small() -> None:
    """Half of all functions have at most 8 lines, nine of ten at most 25 (the admired projects: 5 to 8, and 30)."""
    lines = sorted(n for p in python_files() for n in shape(p).body_lines)
    assert lines[len(lines) // 2] <= 8
    assert lines[len(lines) * 9 // 10] <= 25


def numbers_share(node: ast.stmt) -> float:
    """The share of numbers among the values that a statement writes out."""
    keys = {id(k) for n in ast.walk(node) if isinstance(n, ast.Dict) for k in n.keys}
    values = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and id(n) not in keys]
    return sum(isinstance(v, int | float) for v in values) / len(values) if values else 0.0


def test_only_tables_of_numbers_are_laid_out_by_hand() -> None:
    assert not [f"{p.relative_to(ROOT)}: {t}" for p in (*python_files(), *OTHER_CODE) for t in wordy_tables(p)]


def wordy_tables(path: Path) -> list[str]:
    """Statements kept from the formatter that hold more texts than numbers."""
    text = path.read_text("utf-8")
    ends = [n for n, line in enumerate(text.splitlines(), 1) if line.endswith("# fmt: " + "skip")]
    statements = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt)] if ends else []
    tables = {n: max((s for s in statements if s.lineno <= n), key=lambda s: s.lineno) for n in ends}
    return [f"line {n}" for n, table in tables.items() if numbers_share(table) < 0.5]
