"""What results have in common: one line when printed, all of it as text, a table, a document; and their page."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import joulemill as jm
import joulemill.api
from joulemill.api.history import Bill, Proposals
from joulemill.api.results import Result
from tests.support.recorded import recorded

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
for _module in pkgutil.iter_modules(joulemill.api.__path__):
    importlib.import_module(f"joulemill.api.{_module.name}")


def kinds(of: type = Result) -> list[type]:
    return [kind for below in of.__subclasses__() for kind in (below, *kinds(below))]


# By name: classes come in the order of their imports, which differs between workers.
@pytest.mark.parametrize("kind", sorted(kinds(), key=lambda kind: kind.__qualname__))
def test_no_result_prints_itself_in_its_own_way(kind: type) -> None:
    assert not {"__str__", "__repr__", "_repr_html_"} & vars(kind).keys()


def examples(folder: Path) -> list[Result]:
    base, new = recorded(folder / "base", seed=1), recorded(folder / "new", seed=2)
    predicted = jm.predict("Qwen/Qwen3-8B", "h100", concurrency=8)
    row = {"day": "2026-01-01", "model": "m", "energy_j": 3.0, "cost": None}
    return [
        predicted,
        predicted.levers(to=["h200"]),
        jm.doctor(["declared:idle=60W,busy=180W"], duration_s=0.2),
        jm.open_run(base),
        jm.audit(base),
        jm.compare(base, new),
        jm.gate(base, new, plan=True),
        jm.gate_plan(base),
        Bill("model", [row], []),
        Bill("model", [], []),
        Proposals([], "no replica was idle"),
    ]


def test_a_result_is_one_line_a_table_a_document_and_a_text(tmp_path: Path) -> None:
    for result in examples(tmp_path):
        assert str(result) and "\n" not in str(result) and repr(result) == f"<{result}>"
        assert result._repr_html_().startswith("<table>") and isinstance(result.to_dict(), dict)
        assert result.to_frame("pyarrow").num_rows >= 0 and result.text()


def test_a_table_of_levers_is_text_and_not_a_line() -> None:
    study = jm.levers({"model": "Qwen/Qwen3-8B", "device": "h100", "concurrency": 8}, to=["h200"])
    assert "max-batch" in study.text() and study.text().count("\n") > 10


@pytest.mark.parametrize("name", [n for n in jm.__all__ if n != "__version__"])
def test_every_public_name_is_on_the_page_of_the_api(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE)
