"""jm.predict: closed relations between its figures, the same document as the command's, errors that name arguments."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from typing import Any

import pytest

import joulemill as jm
from joulemill.cli import main
from joulemill.prediction.question import PredictionRequest

pytestmark = pytest.mark.usefixtures("few_combinations")

QWEN: dict[str, Any] = {"model": "Qwen/Qwen3-32B", "device": "h100", "devices": 2, "concurrency": 32}


def value(figure: jm.Figure) -> float:
    assert figure.value is not None
    return figure.value


def test_joules_per_token_are_watts_over_tokens_per_second_at_every_scope() -> None:
    p = jm.predict(**QWEN, site=jm.Site(pue_ratio=1.25))
    for scope in ("device", "node", "site"):
        energy, power = getattr(p.energy, scope), getattr(p.power, scope)
        assert value(energy) == pytest.approx(value(power) / value(p.rate_tok_s))
        assert energy.low < energy.value < energy.high
    assert value(p.energy.site) == pytest.approx(1.25 * value(p.energy.node))
    assert value(p.energy.device) < value(p.energy.node)


def test_the_bottleneck_is_the_lowest_ceiling_and_phi_the_share_of_it() -> None:
    p = jm.predict(**QWEN)
    known = {name: c.value for name, c in p.ceilings.items() if c.value is not None}
    lowest = min(known, key=lambda name: known[name])
    assert p.bottleneck == lowest
    assert value(p.phi) == pytest.approx(value(p.rate_tok_s) / known[lowest])
    assert p.sensitivities["memory_bandwidth"] > 0.0  # type: ignore[operator]


def test_the_document_is_the_command_s(capsys: pytest.CaptureFixture[str]) -> None:
    words = "predict --model Qwen/Qwen3-32B --device h100 --devices 2 --concurrency 32 --json"
    assert main(words.split()) == 0
    assert json.loads(json.dumps(jm.predict(**QWEN).to_dict())) == json.loads(capsys.readouterr().out)


def test_the_arguments_are_those_of_a_question() -> None:
    inner = {"facility", "hardware", "released"}  # values, which the API takes as `site`, `device` and `model`
    assert {f.name for f in fields(PredictionRequest)} - inner == set(inspect.signature(jm.predict).parameters)
    usual = {n: p.default for n, p in inspect.signature(jm.predict).parameters.items() if p.default is not p.empty}
    assert usual == {f.name: f.default for f in fields(PredictionRequest) if f.name in usual}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"concurrency": 0}, "`concurrency` is 0; it must lie between 1"),
        ({"devices": 2.5}, "`devices` is 2.5; it must be a whole number"),
        ({"tp": -1}, "`tp` is -1"),
        ({"power_cap_w": 450e3}, "`power_cap_w` is 450000.0; it must lie between 1 and 20,000"),
        ({"slo_tpot_s": 30e3}, "`slo_tpot_s`"),
        ({"input_tokens": "512"}, "`input_tokens` is '512'; it must be a number"),
        ({"devices": "2"}, "`devices` is '2'; it must be a number"),
        ({"kv_dtype": "fp9"}, "`kv_dtype`: number format 'fp9' is not known; did you mean fp8"),
        ({"model": None}, "`model` is None; it must be"),
        ({"device": ["h100"]}, "`device` is ['h100']; it must be"),
        ({"site": 3}, "`site` is 3; it must be"),
        ({"calibration": 3}, "`calibration` is 3; it must be"),
        ({"gpu_memory_utilization": float("nan")}, "`gpu_memory_utilization` is nan"),
        ({"max_num_seqs": 8}, "`concurrency` 32 is above `max_num_seqs` 8"),
    ],
)
def test_errors_name_the_argument(change: dict[str, Any], named: str) -> None:
    with pytest.raises(jm.InputError) as caught:
        jm.predict(**{**QWEN, **change})
    assert str(caught.value).startswith(named) and "--" not in str(caught.value)


def test_the_command_line_names_the_flag_instead(capsys: pytest.CaptureFixture[str]) -> None:
    words = "predict --model Qwen/Qwen3-32B --device h100 --devices 4 --tp 3"
    assert main(words.split()) == 2
    assert "cannot be split over --tp 3 devices" in capsys.readouterr().err
    with pytest.raises(jm.InputError, match="cannot be split over `tp=3` devices"):
        jm.predict("Qwen/Qwen3-32B", "h100", devices=4, tp=3)


def test_what_does_not_fit_says_what_would() -> None:
    with pytest.raises(jm.InputError, match="`devices=2`"):
        jm.predict("llama3.3:70b", "h100")
    assert jm.predict("llama3.3:70b", "h100", devices=2).meets


def test_a_device_and_a_site_are_files_or_values(tmp_path: Any) -> None:
    (tmp_path / "site.toml").write_text("pue = 1.3\n")
    from_file = jm.predict(**QWEN, site=tmp_path / "site.toml")
    assert value(from_file.energy.site) == pytest.approx(1.3 * value(from_file.energy.node))
    from joulemill.catalog.devices import find_device

    own = jm.predict(**{**QWEN, "device": find_device("h100")})
    assert own.energy.device.value == jm.predict(**QWEN).energy.device.value


def test_it_prints_itself_in_one_line_and_as_a_table() -> None:
    p = jm.predict(**QWEN)
    assert "\n" not in repr(p) and str(p.energy.node) in repr(p)
    assert str(p.energy.node).endswith(", modelled)") and "J/tok (" in str(p.energy.node)
    assert str(p.energy.site) == "unknown (no site is given)"
    page = p._repr_html_()
    assert page.count("<tr>") == len(p.figures()) + 1 + len(p.notes) and str(p.rate_tok_s) in page


@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_a_frame_has_one_row_per_figure(backend: str) -> None:
    pytest.importorskip(backend)
    p = jm.predict(**QWEN)
    frame = p.to_frame(backend)
    assert type(frame).__module__.startswith(backend)
    columns = frame.to_pydict() if backend == "pyarrow" else {c: list(frame[c]) for c in frame.columns}
    at = columns["name"].index("node_j_tok")
    assert (columns["value"][at], columns["low"][at]) == (p.energy.node.value, p.energy.node.low)


def test_a_frame_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(jm.InputError, match="`backend` 'excel'"):
        jm.predict(**QWEN).to_frame("excel")


def test_levers_of_a_prediction_lower_its_joules() -> None:
    """The best lever's outcome, predicted again as a deployment of its own, costs what the study says."""
    p = jm.predict("Qwen/Qwen3-8B", "h100", concurrency=8)
    study = p.levers(to=["h200"])
    assert study.best is not None and (study.best.energy_change.value or 0.0) < 0.0  # type: ignore[union-attr]
    cap = next(e for e in study.effects if e.lever.name == "power-cap")
    if cap.after is not None:
        lower = jm.predict("Qwen/Qwen3-8B", "h100", concurrency=8, power_cap_w=0.7 * 700.0)
        change = value(lower.energy.node) / value(p.energy.node) - 1.0
        assert cap.energy_change is not None and cap.energy_change.value == pytest.approx(change, rel=1e-6)
    assert jm.levers(p, to="h200").to_dict() == study.to_dict()
    assert "\n" not in repr(study)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"acceptence_ratio": 0.5}, "levers have no setting 'acceptence_ratio'"),
        ({"acceptance_ratio": 1.5}, "`acceptance_ratio` is 1.5"),
        ({"beyond": ["magic"]}, "`beyond`: 'magic' is not known"),
    ],
)
def test_settings_of_levers_are_checked(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(jm.InputError, match=named):
        jm.predict(**QWEN).levers(**settings)
