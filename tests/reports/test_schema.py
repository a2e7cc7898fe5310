"""The published schema is the dataclasses'; a report that was written once stays readable for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.serialization import from_json, schema, to_json
from joulemill.errors import InputError
from joulemill.reports.html.run import render
from joulemill.reports.markdown_latex import latex, markdown
from tests.support.paths import ROOT

GOLDEN = sorted((Path(__file__).parent / "golden").glob("report.v1*.json"))


def test_the_published_schema_is_that_of_the_dataclasses() -> None:
    published = json.loads((ROOT / "schema" / "report.v1.json").read_text(encoding="utf-8"))
    assert published == schema(), "the document changed: joulemill report --schema x > schema/report.v1.json"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.name)
def test_reports_of_version_1_stay_readable(path: Path) -> None:
    """Never regenerate a golden file: a new field must have a default, so that old files keep their meaning."""
    text = path.read_text(encoding="utf-8")
    report = from_json(text)
    assert report.energy.node_j_tok.value == 0.42
    assert render(report) and markdown(report) and latex(report)
    old, new = json.loads(text), json.loads(to_json(report))
    assert within(old, new) == old, "what the old file says is said again"


def within(old: Any, new: Any) -> Any:
    """Of ``new`` what stands where ``old`` has something: members that were added since are passed over."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {k: within(old[k], new[k]) for k in old if k in new}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [within(a, b) for a, b in zip(old, new, strict=True)]
    return new


def test_another_version_is_refused_in_one_line() -> None:
    document = json.loads(GOLDEN[0].read_text(encoding="utf-8"))
    with pytest.raises(InputError, match=r"'2\.0' is not readable here"):
        from_json(json.dumps({**document, "schema_version": "2.0"}))
