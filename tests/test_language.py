"""Plain technical English: phrases that are refused in documentation, help, messages and pages, with what to write.

``python -m tests.test_language`` lists every place in ``src``, rules, dashboards and examples that still has one.
To extend: a row in ``PHRASES``; a package or file in ``CHECKED`` once its language has been revised.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "joulemill"
UNITS = (
    r"(?:J|mJ|kJ|joules?|W|kW|watts?|Wh|kWh|s|ms|µs|seconds|bytes?|B|kB|MB|GB|tok|tokens|requests|flops?|FLOPs?|times?|"
    r"kernels|flight|power|gCO2e|EUR|l|litres|runs|slots|values?|rows)"
)
PER = (
    r"(?:token|(?:right|correct|accepted) answer|answer|request|replica|rank|device|board|GPU|layer|step|kernel|run|"
    r"row|slice|prompt|node|interval|expert|sequence|user|chip|side|package|vocabulary|hardware|window|"
    r"sub-window|draft|point|file)"
)
#: What is refused (a regular expression, case ignored unless it says otherwise) → what to write instead.
PHRASES: dict[str, str] = {
    rf"\b{UNITS} an? {PER}\b": "per: J per token, ms per token, requests per replica",
    r"\b(?:requests|tokens) a second\b|\bone an? (?:core|hour|side|token|sequence)\b|\b(?:currency|liters) an? ": (
        "per second; per core"
    ),
    r"\b(?:gone|goes?|going) on (?:with|from|where|in|after)\b": "resumes; continues from",
    r"\banew\b": "again; reset; rewritten",
    r"\bplays? (?:an?|the|each|traffic|requests|back|it|two)\b|\bplayed (?:again|apart|as|in|on|through)\b": (
        "simulates; simulated"
    ),
    r"\bfullest\b": "the peak hour; the most loaded",
    r"\bstands? (?:still|idle|empty|off|in it)\b|\b(?:the first|before it) stands\b": (
        "does not change; is idle; stays in use"
    ),
    r"\bleast (?:ceiling|load of|accuracy|share)\b": "the lowest",
    r"\bcame of it\b|\bwho drafts\b|\bon trust\b|\bmind the unit\b": (
        "it produced no …; source of drafts; assumed; check"
    ),
    r"\bas (?:one|it|they) lies?\b|\bno list of at most\b|\bmend it\b": "as recorded; correct it",
    r"\bthere and back\b": "interleaved; in alternating order",
    r"\bnobody\b": "name the subject: no user has stated …; not measured; unattributed",
    r"\bwhat (?:bound|binds)\b": "the bottleneck; the active constraint",
    r"\bleast known\b": "the lowest known ceiling",
    r"\bof it (?:idle|metering|cached|not cached)\b": "of which …",
    r"\bby neither\b": "not attributable to either",
    r"\b(?:was|were|be|is|are) (?:not )?had\b": "could not be fetched; not available",
    r"(?-i:\bMind:)|(?-i:\|\s*mind\s*\|)": "Warning; note",
    r"(?:maker|user|vendor|site|owner)(?:'s|’s) word\b|\byour word\b|\bat (?:its|their) word\b": (
        "declared by the user; vendor specification"
    ),
    r"\brate answers?\b|\banswers? to (?:the )?load\b": "throughput scales with concurrency; throughput elasticity",
    r"\bfor want of\b": "because … is full, missing",
    r"\bheld back by\b": "limited by; throttled by",
    r"\btold\b": "reported; stated; distinguished",
    r"\bno other beats\b": "Pareto-optimal",
    r"\bsingle effects\b": "individual effects",
    r"\bat hand\b": "available; tested on",
    r"\breckon": "modelled; computed",
    r"\bfakes? no\b": "does not bias",
    r"\bthat may wait\b": "deferrable",
    r"\bit pays\b|\bpays off\b": "break-even",
    r"\bno joules of\b": "has no energy reading",
    r"\bhow to fill each hole\b|\beach hole\b": "how to add it",
    # The picture may be called so; what follows or goes before keeps identifiers of markup and scripts out.
    r"(?<![-#.\"'/`\w])(?:staves?|barrel)\b(?! (?:picture|plot|view))(?!\s*[-.\"'(/_=:,`])": "ceiling; ceilings",
    r"\bstands (?:beside|there|in no)\b": "is shown next to; appears in",
    r"\bkeys and values\b|\bkey-value cache\b|\b(?:8-bit|fp8|int4|16-bit|8 bits?|16 bits?) keys\b": "KV cache",
    r"\bright answers?\b": "correct answers",
    r"\b(?:another|which|usual|the best|a wider|a narrower) cut\b": "parallelism; tp, dp, ep",
    r"\bhand(?:ed|s)? ?over\b(?! fist)": "transferred (disaggregated serving)",
    r"\bsums (?:over|of) (?:devices|a tensor|the tensor|several)\b": "all-reduce",
    r"\b(?:ran|run|with|without|of|where) drafts\b|\bdrafts (?:ran|run)\b": "speculative decoding; draft tokens",
    r"\bthat cannot be(?=[,.;:)]| is\b| are\b)|\bwhat cannot be\b": "impossible",
    r"\bwithout a word\b|\bsays nothing of\b": "silently",
    r"\butilis|\bquantis|\bcatalogue|\bnormalis|\brecognis|\bserialis|\boptimis|\bminimis|\bsummaris|"
    r"\banalys(?:e|ing)|\bamortis|\bcolour|\bbehaviour|\bfavour|\bneighbour|\blitre": "US spelling",
}
COMPILED = {re.compile(p if p.startswith("(?-i") else f"(?i:{p})"): better for p, better in PHRASES.items()}

#: Packages (or single files) of src whose strings and templates are held to the list; "" would be all of src.
CHECKED: tuple[str, ...] = ("", "rules", "dashboards", "examples", "schema")
#: Keys of data files, which are no prose.
KEYS = {"quantize"}
#: Files outside docs/ and src/ that users read.
BESIDE = ("rules/*.yml", "dashboards/*.json", "examples/**/*.*", "schema/*.json")

DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"])
TEMPLATES = (".j2", ".html", ".js", ".toml", ".css")


def named(path: Path) -> str:
    """``path`` within the repository."""
    return path.relative_to(ROOT).as_posix()


def offences(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, phrase and what to write instead, for every refused phrase of ``text``; a line break is a space."""
    flat = text.replace("\n", " ")
    for pattern, better in COMPILED.items():
        for match in pattern.finditer(flat):
            yield text.count("\n", 0, match.start()) + 1, match.group(0), better


def docstrings(tree: ast.Module) -> set[int]:
    """Ids of the nodes that are docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [n.body for n in ast.walk(tree) if isinstance(n, owners) and n.body]
    return {id(b[0].value) for b in bodies if isinstance(b[0], ast.Expr) and isinstance(b[0].value, ast.Constant)}


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a Python file that is no docstring; of any other file, all of it."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        yield 1, text
        return
    tree = ast.parse(text)
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield from [(node.lineno, node.value)] if node.value not in KEYS else []


def source_files() -> list[Path]:
    """Files of the package whose text reaches a user."""
    inside = [p for p in SRC.rglob("*") if p.suffix in (".py", *TEMPLATES) and "vendor" not in p.parts]
    return sorted([*inside, *(p for pattern in BESIDE for p in ROOT.glob(pattern) if p.is_file())])


def offences_of(path: Path) -> list[str]:
    """``line: phrase → better`` of every refused phrase in the strings of ``path``, each place once."""
    places = {(start + line - 1, p, b) for start, text in strings(path) for line, p, b in offences(text)}
    return [f"{line}: {phrase!r} → {better}" for line, phrase, better in sorted(places)]


def is_checked(path: Path) -> bool:
    """Whether ``path`` belongs to what is held to the list."""
    if not path.is_relative_to(SRC):
        return any(path.is_relative_to(ROOT / c) for c in CHECKED if c and (ROOT / c).exists())
    inside = path.relative_to(SRC).as_posix()
    return any(c == "" or inside == c or inside.startswith(f"{c}/") for c in CHECKED)


@pytest.mark.parametrize("path", DOCS, ids=named)
def test_documentation_is_in_plain_technical_english(path: Path) -> None:
    wrong = [f"{line}: {phrase!r} → {better}" for line, phrase, better in sorted(offences(path.read_text("utf-8")))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", [p for p in source_files() if is_checked(p)], ids=named)
def test_messages_and_pages_are_in_plain_technical_english(path: Path) -> None:
    wrong = offences_of(path)
    assert not wrong, "\n".join(wrong)


#: Rows of the list that docstrings and comments of the package are held to as well.
OF_COMMENTS = ("US spelling", "correct answers")


def remarks(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring and comment."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    ids = docstrings(tree)
    yield from ((n.lineno, n.value) for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) in ids)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    yield from ((t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT)


def test_docstrings_and_comments_use_us_spelling_and_standard_terms() -> None:
    held = [pattern for pattern, better in COMPILED.items() if better in OF_COMMENTS]
    wrong = [
        f"{named(path)}:{line}: {match.group()!r}"
        for path in sorted(SRC.rglob("*.py"))
        if any(pattern.search(path.read_text("utf-8")) for pattern in held)  # few have one anywhere
        for line, text in remarks(path)
        for pattern in held
        for match in pattern.finditer(text.replace("\n", " "))
    ]
    assert len(held) == len(OF_COMMENTS) and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("checked", CHECKED)
def test_what_is_checked_exists(checked: str) -> None:
    assert (SRC / checked).exists() or (ROOT / checked).exists(), f"{checked} of CHECKED is gone"


def test_the_list_refuses_the_phrases_it_was_made_for() -> None:
    refused = [
        "J a right answer",
        "19.6 ms a token",
        "requests in flight a replica",
        "an interrupted one is gone on with",
        "Runs went there and back",
        "What bound this run was compute",
        "The compute ceiling is the least known",
        "the grid's carbon was not had",
        "> **Mind:** a note",
        "a maker's word",
        "preempted for want of cache",
        "a faulty one changes nothing and is told",
        "which is nobody's",
        "no GPU was at hand",
        "How each is reckoned",
        "so that a drifting machine fakes no effect",
        "Two staves",
        "The barrel",
        "held back by its power limit",
        "4 requests a second",
        "an interrupted one goes on in --out DIR",
        "its counters began anew",
        "plays the plan as traffic",
        "in its fullest hour",
        "the first stands",
        "amortised cost",
        "No other beats these in J/token",
    ]
    kept = [
        "J per correct answer",
        "what a token costs",
        "counts a token as good",
        "the barrel picture",
        "Keep in mind",
        "ten times a second",
        "a run is an interval",
        "request a token from the service",
        "KV cache",
        "modelled",
        "a reading a second",
        "display the page",
    ]
    assert not [text for text in refused if not list(offences(text))]
    assert not [(text, list(offences(text))) for text in kept if list(offences(text))]


def main() -> int:
    """Print what is left in src, file by file."""
    left = {p: offences_of(p) for p in source_files()}
    for path, wrong in left.items():
        if wrong:
            sys.stdout.write(f"{path.relative_to(ROOT)}  {len(wrong)}\n" + "".join(f"    {w}\n" for w in wrong))
    files = [p for p, wrong in left.items() if wrong]
    sys.stdout.write(f"{sum(map(len, left.values()))} phrases in {len(files)} files\n")
    return 1 if files else 0


if __name__ == "__main__":
    sys.exit(main())
