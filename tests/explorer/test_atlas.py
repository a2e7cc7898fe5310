"""The atlas: predictions of a selection in one file, each on the fewest devices that hold the model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import joulemill as jm
from joulemill.cli import main
from joulemill.explorer.atlas import Selection, entry, export, page

SMALL = Selection(["Qwen/Qwen3-8B", "meta-llama/Llama-3.3-70B-Instruct"], ["h100"], [None], [(512, 512)])


def test_an_entry_is_the_prediction_on_the_fewest_devices_that_hold_it() -> None:
    held = entry({"model": "meta-llama/Llama-3.3-70B-Instruct", "device": "h100"})
    assert held["devices"] > 1
    with pytest.raises(jm.InputError, match=r"do not fit|per device"):
        jm.predict(held["model"], "h100", devices=held["devices"] // 2)
    i = held["points"]["concurrency"].index(held["chosen"])
    one = jm.predict(held["model"], "h100", devices=held["devices"], concurrency=held["chosen"])
    assert held["points"]["node_j_tok"][i] == pytest.approx(one.energy.node.value, rel=1e-4)


def test_the_file_needs_nothing_beside_it(tmp_path: Path) -> None:
    done: list[int] = []
    assert export(tmp_path / "atlas", SMALL, done.append) == {"deployments": 2, "left_out": 0}
    assert done == [1, 2]
    text = (tmp_path / "atlas" / "index.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', text) and "import {" not in text and "fetch(" not in text
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    entries = json.loads(data[1])["entries"]
    assert [e["model"] for e in entries] == list(SMALL.models)


def test_no_name_ends_the_element_that_holds_the_data() -> None:
    text = page([{"model": "</script><b>", "device": "h100", "why": "&"}])
    assert "</script><b>" not in text and "\\u003c/script\\u003e" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--devices", "h999"], "h999"),
        (["--models", "no/such-model"], "no/such-model"),
        (["--lengths", "512"], "--lengths 512"),
        (["--lengths", "²x512"], "--lengths ²x512"),
    ],
)
def test_a_wrong_selection_is_refused(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", "--export", str(tmp_path / "a"), *words]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.out == "" and not (tmp_path / "a").exists()
