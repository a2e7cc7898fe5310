"""One prediction from what a user says: closed relations, choice of batch, refusals, the JSON document."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from joulemill.catalog.devices import device_names, find_device
from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.physics.hardware.device import Device
from joulemill.prediction.document import document
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest, PredictionResult
from joulemill.reports.text.prediction import show
from joulemill.wording import title
from tests.support.screen import on_screen


def asked(**change: object) -> PredictionResult:
    given = {"model": "Qwen/Qwen3-32B", "device": "h100", "devices": 2, "concurrency": 32.0} | change
    return answer(PredictionRequest(**given))  # type: ignore[arg-type]


def test_joules_are_watts_over_rate_and_scopes_nest() -> None:
    p = asked().prediction
    assert p.device_j_tok.value == pytest.approx(p.device_power_w.value / p.rate_tok_s.value)
    assert p.device_j_tok.value < p.node_j_tok.value
    for figure in (p.rate_tok_s, p.device_j_tok, p.node_j_tok, p.ttft_s, p.tpot_s):
        assert figure.low < figure.value < figure.high
        assert figure.level == 0.8


def test_no_ceiling_is_below_the_rate() -> None:
    p = asked().prediction
    for c in p.ceilings:
        if c.rate_tok_s.value is not None:
            assert c.rate_tok_s.value >= p.rate_tok_s.value


def test_the_largest_batch_that_meets_the_target_is_found() -> None:
    """At the batch found the target holds; one request more breaks it or does not fit."""
    p = asked(concurrency=None, slo_tpot_s=0.03).prediction
    assert p.tpot_s.value <= 0.03
    assert asked(concurrency=p.batch.concurrency + 1).prediction.tpot_s.value > 0.03


def test_two_replicas_do_twice_as_much_for_the_same_joules() -> None:
    one, two = asked().prediction, asked(devices=4, tp=2).prediction
    assert two.rate_tok_s.value == pytest.approx(2 * one.rate_tok_s.value)
    assert two.device_j_tok.value == pytest.approx(one.device_j_tok.value)


def test_a_low_offered_rate_costs_idle_energy() -> None:
    low, full = asked(concurrency=None, rate_req_s=0.05).prediction, asked().prediction
    assert low.rate_tok_s.value == pytest.approx(0.05 * 512)
    assert low.device_j_tok.value > full.device_j_tok.value


def test_unmeasured_devices_have_wider_intervals() -> None:
    known, other = asked().prediction.device_j_tok, asked(device="mi300x").prediction.device_j_tok
    assert other.high / other.low > known.high / known.low


@pytest.mark.parametrize("device", [find_device(n) for n in device_names()], ids=lambda d: d.name)
def test_every_device_of_the_catalogue_is_predicted(device: Device) -> None:
    """In each precision; where no TDP is published the rate is known and joules are unknown, never 0."""
    for precision in ("bf16", "fp8", "int4"):
        found = asked(model="Qwen/Qwen3-0.6B", device=device.name, devices=1, concurrency=4.0, precision=precision)
        p = found.prediction
        assert p.rate_tok_s.value > 0 and p.ttft_s.value > 0 and p.tpot_s.value > 0
        for figure in (p.device_j_tok, p.device_power_w):
            assert (figure.value is None) == (device.tdp_w is None)
        power = next(m for m in p.sensitivities if m.resource == "power_limit")
        assert (power.shadow_price.value is None) == (device.tdp_w is None)
        json.dumps(document(found), allow_nan=False)
        assert ("TDP of" in on_screen(show, found)) == (device.tdp_w is None)


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(InputError, match="spread the model"):
        asked(devices=1, model="meta-llama/Llama-3.1-70B-Instruct")
    with pytest.raises(InputError, match="there are vllm"):
        asked(engine="abacus")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"engine": None}, "`engine` is None; it must be a text"),
        ({"precision": 8}, "`precision` is 8; it must be a text"),
        ({"input_tokens": None}, "`input_tokens` is None; it must be a number, or be left out"),
        ({"clock_ratio": None}, "`clock_ratio` is None"),
    ],
)
def test_an_argument_of_another_kind_is_named(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        asked(**wrong)


def test_document_is_json_and_text_names_the_binding() -> None:
    found = asked()
    plain = json.loads(json.dumps(document(found), allow_nan=False))
    assert plain["device_j_tok"]["unit"] == "J/tok"
    assert plain["ceilings"] and plain["sensitivities"]
    assert title(found.prediction.binding.name) in on_screen(show, found, explain=True)


def test_exit_is_1_with_a_line_where_no_batch_meets_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    asked_for = ["predict", "--model", "Qwen/Qwen3-32B", "--device", "h100", "--devices", "2", "--fit-slo"]
    assert main([*asked_for, "--slo-tpot", "1us", "--json"]) == 1
    shown = capsys.readouterr()
    assert "no concurrency meets the latency targets" in shown.err
    assert json.loads(shown.out)
    assert main([*asked_for, "--slo-tpot", "1s"]) == 0


def test_the_terms_of_a_step_are_shown_with_their_shares_and_add_up() -> None:
    lines = (
        on_screen(show, asked(), explain=True).split("decode step")[1].split("step with prefill")[0].splitlines()[1:]
    )
    values = [float(re.split(r"  +", line.strip())[1]) for line in lines if line.strip()]
    assert sum(values[:-1]) == pytest.approx(values[-1], rel=1e-3)
    shares = [int(line.split("%")[0].split()[-1]) for line in lines if "%" in line]
    assert sum(shares) == pytest.approx(100, abs=4)
