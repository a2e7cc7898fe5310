"""What is copied from a view runs elsewhere, in a shell or in Python, and gives the figures of the view."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the monitor extra is not installed")

from joulemill.cli import main
from joulemill.explorer.answering import answer, curve
from joulemill.explorer.app import levers_of
from joulemill.explorer.asking import arguments, asked
from joulemill.explorer.day import DroppedTrace, day
from joulemill.explorer.planned import Plans
from joulemill.explorer.sensitivity import sensitivity
from joulemill.physics.hardware.site import Site
from tests.support.explorer import PLAIN, PLAN, READ

BASE = Site(name="Oslo", cooling_limit_w=5e4, carbon_gco2e_j=1e-5, carbon_kind="location")
ASKED = asked(PLAIN | {"power-cap": "500 W", "site.pue": "1.2", "site.currency": 'a "b"', "input-tokens": "1024"})
STATED = arguments(ASKED, READ, BASE)
HERE = re.compile(r"cat > (\S+) <<'END'\n(.*?\n)END\n", re.DOTALL)


def in_python(text: str) -> dict[str, Any]:
    """What the copied Python makes."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(text, names)
    return names


def commands(text: str, folder: Path) -> Iterator[str]:
    """What the commands print, one after the other, run in this process; here-documents are written before each."""
    for part in re.split(r"(?<=--json)\n", text):
        for name, content in HERE.findall(part):
            (folder / name).write_text(content)
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.chdir(folder):
            main(shlex.split(HERE.sub("", part))[1:])
        yield out.getvalue()


def one_json(text: str, folder: Path) -> Any:
    (printed,) = commands(text, folder)
    return json.loads(printed)


def same(one: Any, other: Any) -> None:
    """Figures agree but for rounding: a site file is written per kWh."""
    assert other["value"] is not None
    for end in ("value", "low", "high"):
        assert one[end] == pytest.approx(other[end], rel=1e-9)


def test_a_prediction_in_a_shell_and_in_python(tmp_path: Path) -> None:
    shown = answer(ASKED, STATED)
    shell = f'joulemill() {{ {sys.executable} -m joulemill "$@"; }}\n{shown["copy"]["cli"]} --json'
    ran = subprocess.run(["bash", "-euc", shell], cwd=tmp_path, check=True, capture_output=True, text=True)
    printed, called = json.loads(ran.stdout), in_python(shown["copy"]["python"])["p"].to_dict()
    for document in (printed, called):
        for scope in ("site_j_tok", "carbon_gco2e_tok"):
            same(document["site"][scope], shown["prediction"]["site"][scope])
        same(document["tpot_s"], shown["prediction"]["tpot_s"])
    assert called["site"]["site_j_tok"] == shown["prediction"]["site"]["site_j_tok"]


def test_a_curve(tmp_path: Path) -> None:
    shown = curve(STATED, ASKED)
    columns, copied = shown["points"], shown["copy"]
    table = in_python(copied["python"])["table"]
    assert list(table["node_j_tok"]) == pytest.approx(columns["node_j_tok"])
    words, line = re.match(r"for c in (.*); do\n  (.*)\ndone", copied["cli"]).groups()
    assert [float(w) for w in words.split()] == columns["concurrency"]
    last = one_json(line.replace("$c", words.split()[-1]), tmp_path)
    assert last["node_j_tok"]["value"] == pytest.approx(columns["node_j_tok"][-1], rel=1e-6)


def test_levers(tmp_path: Path) -> None:
    shown = levers_of(ASKED, STATED)
    printed = one_json(f"{shown['copy']['cli']} --json", tmp_path)
    for one, other in zip(shown["levers"], printed["levers"], strict=True):
        assert other["name"] == one["name"]
        if one["energy_change"] is not None and one["energy_change"]["low"] is not None:
            same(other["energy_change"], one["energy_change"])
    call = answer(ASKED, STATED)["copy"]["python"].removesuffix("\nprint(p)")  # run in the test above
    assert shown["copy"]["python"] == call.replace("p = ", "study = ") + ".levers()\nprint(study)"


def test_what_moves_the_joules(tmp_path: Path) -> None:
    shown = sensitivity(ASKED, STATED)
    base, *changed = [json.loads(text) for text in commands(shown["copy"]["cli"], tmp_path)]
    before = base["site"]["site_j_tok"]["value"]
    assert len(changed) == len(shown["rows"])
    for row, document in zip(shown["rows"], changed, strict=True):
        ratio = document["site"]["site_j_tok"]["value"] / before - 1.0
        assert ratio == pytest.approx(row["energy_change"]["value"], abs=1e-9), row["name"]
    names = in_python(shown["copy"]["python"])
    assert names["p"].energy.site.value == pytest.approx(before, rel=1e-9)
    last = names["q"].energy.site.value / names["p"].energy.site.value - 1.0
    assert last == pytest.approx(shown["rows"][-1]["energy_change"]["value"], abs=1e-9)


def test_a_day_with_a_cut(tmp_path: Path) -> None:
    texts = {"rate": "0.5req/s", "duration": "10min", "shape": "flat", "cut": "10%", "policy": "admission"}
    question = asked({**PLAIN, "site.pue": "1.2", **{f"day.{k}": v for k, v in texts.items()}})
    shown = day(question, arguments(question, READ))
    printed = one_json(f"{shown['copy']['cli']} --json", tmp_path)
    with contextlib.chdir(tmp_path):
        called = in_python(shown["copy"]["python"])["day"].to_dict()
    for document in (printed, called):
        same(document["energy"]["site_j_tok"], shown["energy"]["site_j_tok"])
        assert document["policies"][1]["lost_tok"] == shown["policies"][1]["lost_tok"]
        assert document["latency"]["ttft_s"]["interval"] == shown["latency"]["ttft_s"]["interval"]


def test_a_day_of_a_trace(tmp_path: Path) -> None:
    text = "timestamp_s,input_tokens,output_tokens\n0,64,32\n5,128,64\n"
    (tmp_path / "my day.csv").write_text(text)
    question = asked({**PLAIN, "day.duration": "10min"})
    shown = day(question, arguments(question, READ), DroppedTrace("my day.csv", text))
    printed = one_json(f"{shown['copy']['cli']} --json", tmp_path)
    same(printed["energy"]["node_j_tok"], shown["energy"]["node_j_tok"])


def test_a_plan_with_a_moved_limit(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(PLAN)
    shown = Plans().document(PLAN, "lab.toml", ["site.lab.it_power_limit=6kW"])
    printed = one_json(f"{shown['copy']['cli']} --json", tmp_path)
    with contextlib.chdir(tmp_path):
        called = in_python(shown["copy"]["python"])["plan"]
    assert printed["output"]["rate_tok_s"] == pytest.approx(shown["output"]["rate_tok_s"], rel=1e-9)
    assert called.rate_tok_s == pytest.approx(shown["output"]["rate_tok_s"], rel=1e-9)
    assert printed["constraints"] == shown["constraints"]
