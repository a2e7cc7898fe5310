"""What the documentation names must be there: tests, links, files, pages, commands, flags; its Python blocks run."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from joulemill import cli
from tests.support.recorded import recorded

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
#: Pages that the site generates.
GENERATED = {"index.md", "commands.md"}
BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<path>[^)\s#:]*)(?:#(?P<anchor>[^)\s]*))?\)")
#: A path in backticks: in the repository, in the package (`physics/serving/step.py`), or in tests/.
FILE = re.compile(r"`(?P<path>[\w.-]+(?:/[\w.-]+)+/?)`")
NAMED = re.findall(r"`([a-z_/]+\.py)::(\w+)`", (DOCS / "measuring.md").read_text("utf-8"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    return BLOCK.sub("", page.read_text("utf-8"))


def blocks(*kinds: str) -> list[tuple[str, str]]:
    """(page and number, body) of every block of the documentation whose info string is one of ``kinds``."""
    return [
        (f"{named(page)}:{i}", match["body"])
        for page in PAGES
        for i, match in enumerate(BLOCK.finditer(page.read_text("utf-8")))
        if match["info"] in kinds
    ]


def slugs(page: Path) -> set[str]:
    """Anchors of the headings of a page, as the site makes them."""
    heads = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", h.replace("`", "")).strip().lower()) for h in heads}


def test_every_trap_names_a_test() -> None:
    page = (DOCS / "measuring.md").read_text("utf-8")
    table = page.split("## Traps, and what Joulemill does", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) >= 25 and len(rows) == len(NAMED)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_named_test_is_there(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(text_of(page)):
        path, anchor = link["path"], link["anchor"]
        if path in GENERATED:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{named(page)} links to {path}, which is not there"
        if anchor and target.suffix == ".md":
            assert anchor in slugs(target), f"{named(page)} links to {path}#{anchor}, which is no heading"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    """Paths in backticks within a known folder exist: in the repository, the package, tests/ or docs/."""
    roots = (ROOT, ROOT / "src" / "joulemill", ROOT / "tests", DOCS)
    known = {p.name for r in roots for p in r.iterdir() if p.is_dir()}
    endings = (".py", ".toml", ".csv", ".md", ".json", ".yml", ".j2")
    for match in FILE.finditer(text_of(page)):
        path = match["path"]
        if path.split("/")[0] in known and path.endswith((*endings, "/")):
            assert any((r / path).exists() for r in roots), f"{named(page)} names {path}, which is not there"


def nav_pages(node: Any) -> list[str]:
    """Pages of a navigation tree."""
    if isinstance(node, str):
        return [node]
    return [p for n in (node.values() if isinstance(node, dict) else node) for p in nav_pages(n)]


def test_the_navigation_has_every_page_once() -> None:
    pages = nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert len(pages) == len(set(pages))
    root = {f"project/{p.name.lower()}" for p in ROOT.glob("*.md") if p.name != "README.md"}
    assert set(pages) == GENERATED | root | {p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md")}


def commands() -> list[tuple[str, str]]:
    """(page, command line) of every `joulemill …` line in a console or sh block."""
    found = []
    for where, body in blocks("console", "sh"):
        for line in body.replace("\\\n", " ").splitlines():
            words = re.match(r"\s*(?:\$ )?(?:sudo -E )?(joulemill [^|>#]*)", line)
            if words:
                found.append((where, words[1].strip()))
    return found


@pytest.mark.parametrize(("where", "line"), commands())
def test_a_command_line_is_one_that_the_program_takes(where: str, line: str) -> None:
    cli._parsed(shlex.split(line)[1:])  # raises InputError with what is wrong


def help_texts() -> str:
    """`--help` of every command."""
    return "\n".join([shown("--help"), *(shown(*name.split(), "--help") for name in cli.COMMANDS)])


def shown(*words: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        cli.main(list(words))
    return out.getvalue()


#: Flags of other programs that pages name.
OTHERS = {"--collect-interval", "--enable-prompt-tokens-details", "--save-detailed"}


def test_flags_that_pages_name_exist() -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", help_texts())) | OTHERS
    for page in PAGES:
        for code in re.findall(r"`([^`\n]+)`", text_of(page)):
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code):
                ours = "joulemill" in code or code.startswith("-")
                assert flag in known or not ours, f"{named(page)}: {code}"


@pytest.mark.parametrize("page", [p for p in PAGES if "```python\n" in p.read_text("utf-8")], ids=named)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python blocks of a page, one after another, as a reader would run them who has two runs."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("base", "new"), start=1):
        recorded(tmp_path / "runs" / name, seed=seed)
    scope: dict[str, Any] = {"__name__": "page"}
    for match in BLOCK.finditer(page.read_text("utf-8")):
        if match["info"] == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(match["body"], named(page), "exec"), scope)


@contextlib.contextmanager
def script_of(name: str) -> Iterator[Any]:
    """A script beside the pages, as a module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("name", ["readme_figure", "planning_figure"])
def test_pictures_are_what_their_scripts_draw(name: str) -> None:
    with script_of(name) as script:
        assert script.FIGURE.read_text("utf-8") == script.figure(), f"run: python docs/{name}.py"


def test_the_explorers_page_answers_its_questions_with_todays_figures() -> None:
    with script_of("explore_figures") as script:
        page = script.PAGE.read_text("utf-8")
        assert script.written(page) == page, "run: python docs/explore_figures.py"


def test_the_citation_file_has_what_its_format_requires() -> None:
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cff) and cff["cff-version"] == "1.2.0"
    assert cff["authors"] == [{"name": "The Joulemill contributors"}]
    from joulemill import __version__

    assert cff["version"] == __version__
    for reference in cff["references"]:
        assert {"type", "title", "authors"} <= set(reference)


def test_ci_runs_on_every_python_that_is_promised() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    promised = {c.rsplit(" ", 1)[1] for c in project["classifiers"] if re.search(r"Python :: 3\.\d+$", c)}
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    assert set(jobs["check"]["strategy"]["matrix"]["python"]) == promised
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    for part in re.findall(r"\.ci/run (\w+)", "\n".join(s.get("run", "") for j in jobs.values() for s in j["steps"])):
        assert f"    {part}) " in script
    assert "://" not in text and "://" not in (ROOT / ".pre-commit-config.yaml").read_text("utf-8")


@pytest.mark.parametrize(("where", "body"), blocks("toml"))
def test_toml_blocks_are_toml(where: str, body: str) -> None:
    import tomllib

    assert tomllib.loads(body), where
