"""What the documentation site adds to the pages in docs/, at build time. Loaded by mkdocs.yml.

* ``index.md`` is README.md; ``project/*.md`` are the Markdown files in the repository's root.
* A link that leaves docs/ (``../examples/site.toml``) works in a checkout; the site has a copy in ``files/``.
* ``commands.md`` is the ``--help`` of each command, so that it cannot be out of date.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
#: A Markdown link or image: its text with brackets, its path, and its anchor.
LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#:]+)(#[^)\s]*)?\)")
HELP_COLUMNS = "90"


def site_path(path: Path) -> str | None:
    """Where ``path`` of the repository is in the site, or None where it is no file."""
    if not path.is_file():
        return None
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    inside = path.relative_to(ROOT).as_posix()
    if inside == "README.md":
        return "index.md"
    return f"project/{inside.lower()}" if re.fullmatch(r"[A-Z_]+\.md", inside) else f"files/{inside}"


def outside(text: str, folder: Path) -> set[Path]:
    """Files of the repository that ``text``, a page written in ``folder``, links to outside docs/."""
    paths = {(folder / link.group(2)).resolve() for link in LINK.finditer(text)}
    return {p for p in paths if p.is_file() and p.is_relative_to(ROOT) and not p.is_relative_to(DOCS)}


def for_site(text: str, folder: Path, page: str) -> str:
    """``text``, written in ``folder``, with its links as the page ``page`` of the site needs them."""

    def link(match: re.Match[str]) -> str:
        target = site_path((folder / match.group(2)).resolve())
        if target is None:
            return match.group(0)  # left as it is: the strict build reports it
        return f"{match.group(1)}{posixpath.relpath(target, posixpath.dirname(page) or '.')}{match.group(3) or ''})"

    return LINK.sub(link, text)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and files that are not in docs/."""
    pages = [ROOT / "README.md", *sorted(p for p in ROOT.glob("*.md") if re.fullmatch(r"[A-Z_]+\.md", p.name))]
    linked: set[Path] = set()
    for page in {*pages, *DOCS.rglob("*.md")}:
        linked |= outside(page.read_text("utf-8"), page.parent)
    for path in [*dict.fromkeys(pages), *sorted(linked - set(pages))]:
        uri = site_path(path) or ""
        if path.suffix == ".md":
            text = for_site(path.read_text("utf-8"), path.parent, uri)
            files.append(File.generated(config, uri, content=text))
        else:
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of a page in docs/ that leave it into links within the site."""
    source = page.file.src_uri
    if page.file.generated_by is not None:
        return markdown
    return for_site(markdown, (DOCS / source).parent, source)


def help_of(*command: str) -> str:
    """``joulemill COMMAND --help``."""
    done = subprocess.run(
        [sys.executable, "-m", "joulemill", *command, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": HELP_COLUMNS, "NO_COLOR": "1"},
    )
    return done.stdout.rstrip()


def commands_page() -> str:
    """The command reference."""
    overview = help_of()
    names = re.findall(r"^    ([a-z][a-z-]+(?: [a-z]+)?)(?:  |$)", overview, re.MULTILINE)
    parts = ["# Commands", "", "The `--help` of the program and of each command.", "", "```text", overview, "```"]
    for name in names:
        parts += ["", f"## joulemill {name}", "", "```text", help_of(*name.split()), "```"]
    return "\n".join(parts) + "\n"
