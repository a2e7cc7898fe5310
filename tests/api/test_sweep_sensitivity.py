"""Sensitivity of a sweep by SALib, against closed forms: a product of powers, whose logarithm is a plane."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulemill.api.simulation_sweep import parse_sweep, simulate_sweep
from joulemill.api.sweep_sensitivity import designed, indices
from joulemill.cli import main
from joulemill.errors import InputError

INPUTS = ("a", "b", "c")
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("SALib") is None, reason="pip install joulemill[sensitivity]"),
    pytest.mark.filterwarnings("ignore"),
]


def plane(shares: Any) -> Any:
    """ln y = 3a + b, c does nothing: Var = (9 + 1)/12, so the shares are 0.9, 0.1 and 0."""
    return np.exp(3.0 * shares[:, 0] + shares[:, 1])


def test_morris_finds_the_slopes_of_a_plane() -> None:
    design = designed("morris", INPUTS, 10, 0)
    assert design.shares.shape == (10 * 4, 3)
    found = indices(design, plane(design.shares))["inputs"]
    assert [found[n]["mu_star"] for n in INPUTS] == pytest.approx([3.0, 1.0, 0.0], abs=1e-9)
    assert [found[n]["sigma"] for n in INPUTS] == pytest.approx([0.0] * 3, abs=1e-9)


def test_sobol_finds_the_shares_of_the_variance_of_a_plane() -> None:
    design = designed("sobol", INPUTS, 512, 0)
    found = indices(design, plane(design.shares))["inputs"]
    for key in ("first", "total"):
        assert [found[n][key] for n in INPUTS] == pytest.approx([0.9, 0.1, 0.0], abs=0.03)


def test_draws_with_a_point_that_has_no_result_are_left_out_whole() -> None:
    design = designed("morris", INPUTS, 10, 0)
    results = plane(design.shares)
    results[5] = np.nan
    found = indices(design, results)
    assert (found["draws"], found["draws_used"]) == (10, 9)
    assert found["inputs"]["a"]["mu_star"] == pytest.approx(3.0)
    nothing = indices(design, np.full(len(results), np.nan))
    assert nothing["draws_used"] == 0 and nothing["inputs"] == dict.fromkeys(INPUTS)


@pytest.mark.parametrize(
    ("method", "inputs", "draws", "says"),
    [
        ("anova", INPUTS, 8, "morris or sobol"),
        ("morris", ("a",), 8, "two or more"),
        ("sobol", INPUTS, 100, "e.g. 128"),
        ("morris", INPUTS, 10**7, "lower `draws`"),
    ],
)
def test_a_design_that_cannot_be_is_refused(method: str, inputs: tuple[str, ...], draws: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        designed(method, inputs, draws, 0)


SPEC: dict[str, Any] = {
    "fixed": {"model": "Qwen/Qwen3-8B", "device": "h100", "requests": 12, "input_tokens": 64},
    "axes": {"max_num_seqs": [1, 16]},
    "ranges": {"output_tokens": {"low": 4, "high": 16}, "rate_req_s": {"low": 2, "high": 200, "log": True}},
    "draws": 3,
    "sensitivity": "morris",
}


def test_a_sweep_takes_the_designs_points_and_tells_what_moves(tmp_path: Path) -> None:
    spec = parse_sweep(SPEC)
    assert len(spec.points) == 3 * 4 and {p["max_num_seqs"] for p in spec.points} <= {1, 16}
    assert all(2 <= p["rate_req_s"] <= 200.0001 for p in spec.points)
    swept = simulate_sweep(spec, tmp_path, workers=1)
    found = swept.to_dict()["sensitivity"]
    assert found["method"] == "morris" and found["draws_used"] == 3
    assert set(found["inputs"]) == {"max_num_seqs", "output_tokens", "rate_req_s"}
    assert found["inputs"]["rate_req_s"]["mu_star"] > 0.1


def test_the_command_prints_the_ranking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "s.toml"
    fixed = '[fixed]\nmodel = "Qwen/Qwen3-8B"\ndevice = "h100"\nrequests = 5\noutput_tokens = 4\n'
    ranges = "[ranges]\nrate_req_s = {low = 1, high = 9}\ninput_tokens = {low = 32, high = 256}\n"
    spec.write_text(f"draws = 2\n{fixed}{ranges}")
    command = ["simulate", "--sweep", str(spec), "--out", str(tmp_path / "o"), "--workers", "1"]
    assert main([*command, "--sensitivity", "morris"]) == 0
    shown = capsys.readouterr().out
    assert "Morris" in shown and "rate_req_s: ×" in shown and "2 of 2 draws" in shown
    assert main([*command, "--sensitivity", "anova"]) == 2
