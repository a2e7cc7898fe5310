"""Predictions stay inside their limits: what is missed is said first, the rate is what the limits allow."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.physics.hardware.site import Site
from joulemill.physics.serving.batch import MemoryShort
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest, PredictionResult
from joulemill.reports.text.prediction import show
from tests.support.screen import on_screen

QWEN = ["predict", "--model", "Qwen/Qwen3-32B", "--device", "h100"]


def asked(**change: object) -> PredictionResult:
    return answer(PredictionRequest(**{"model": "Qwen/Qwen3-32B", "device": "h100", "devices": 2, **change}))  # type: ignore[arg-type]


def test_what_fits_is_the_same_number_in_the_miss_and_in_the_heading() -> None:
    found = asked(devices=1, input_tokens=8000, concurrency=64.0)
    (missed,) = found.short_by
    most = found.prediction.batch.most_req
    assert 1.0 < most < 64.0 and most != round(most)
    assert missed.available == most and f"memory holds {most:.2f} requests" in missed.text
    assert f"concurrency {most:.2f} per replica" in on_screen(show, found)


@pytest.mark.parametrize(("max_batched_tok", "told"), [(32, True), (64, False), (2048, False)])
def test_a_step_smaller_than_the_requests_in_flight_is_told(max_batched_tok: float, told: bool) -> None:
    found = asked(concurrency=64.0, max_num_batched_tokens=max_batched_tok)
    assert any("a step of 32 tokens" in note and "wait" in note for note in found.every_note) == told


def test_a_large_overload_is_said_without_an_exponent() -> None:
    (missed,) = asked(rate_req_s=1e8).short_by
    assert "short by 100,000,000 req/s: 100,000,000 req/s are offered" in missed.text


def ceiling(found: PredictionResult, name: str) -> float:
    value = next(c.rate_tok_s.value for c in found.prediction.ceilings if c.name == name)
    assert value is not None
    return value


def test_a_hall_that_is_too_small_gives_what_its_power_carries() -> None:
    free = asked(devices=64000, tp=2, concurrency=64.0)
    drawn = free.prediction.node_power_w.value or 0.0
    found = asked(devices=64000, tp=2, concurrency=64.0, facility=Site(it_power_limit_w=24e6))
    p, (missed,) = found.prediction, found.short_by
    assert not found.meets and missed.limit == "power" and missed.unit == "W"
    assert missed.asked == pytest.approx(drawn) and missed.available == 24e6
    assert missed.short_by == pytest.approx(drawn - 24e6)
    assert p.node_power_w.value == pytest.approx(24e6) and (p.node_power_w.high or 0.0) <= 24e6 * (1 + 1e-9)
    assert p.rate_tok_s.value == pytest.approx(free.prediction.rate_tok_s.value * 24e6 / drawn)
    assert p.rate_tok_s.value == pytest.approx(ceiling(found, "power")) and p.binding.name == "power"
    assert p.phi.value is not None and p.phi.value <= 1.0 and (p.phi.high or 0.0) <= 1.0
    assert p.two_ceilings is not None and p.two_ceilings.phi_ratio <= 1.0 + 1e-9
    assert p.node_j_tok.value == pytest.approx(free.prediction.node_j_tok.value)
    assert on_screen(show, found).startswith("DOES NOT MEET WHAT IS ASKED: short of power by")


def test_a_watt_more_is_priced_where_power_binds_and_devices_are_not() -> None:
    found = asked(devices=64000, tp=2, concurrency=64.0, facility=Site(it_power_limit_w=24e6))
    more = asked(devices=64000, tp=2, concurrency=64.0, facility=Site(it_power_limit_w=24.24e6))
    sensitivities = {m.resource: m for m in found.prediction.sensitivities}
    gained = (more.prediction.rate_tok_s.value or 0.0) - (found.prediction.rate_tok_s.value or 0.0)
    assert sensitivities["site_power"].shadow_price.value == pytest.approx(gained / 0.24e6)
    assert sensitivities["devices"].elasticity_ratio == 0.0


@pytest.mark.parametrize("limits", [{"cooling_limit_w": 1000.0}, {"facility_power_limit_w": 1200.0, "pue_ratio": 1.2}])
def test_cooling_and_a_feed_behind_a_pue_hold_too(limits: dict[str, float]) -> None:
    found = asked(concurrency=64.0, facility=Site(**limits))  # type: ignore[arg-type]
    assert [m.limit for m in found.short_by] == ["cooling" if "cooling_limit_w" in limits else "power"]
    assert found.prediction.node_power_w.value == pytest.approx(1000.0)


def test_where_no_limit_binds_nothing_changes() -> None:
    free, site = (
        asked(concurrency=64.0),
        asked(concurrency=64.0, facility=Site(it_power_limit_w=1e6, cooling_limit_w=1e6)),
    )
    assert site.meets and site.short_by == ()
    for name in ("rate_tok_s", "device_j_tok", "node_j_tok", "node_power_w", "ttft_s", "tpot_s"):
        assert getattr(site.prediction, name) == getattr(free.prediction, name)
    assert site.prediction.phi.value == free.prediction.phi.value


def test_a_missed_latency_target_shows_the_most_that_meets_it() -> None:
    free = asked(concurrency=256.0)
    found = asked(concurrency=256.0, slo_tpot_s=0.02)
    (missed,) = found.short_by
    assert (missed.limit, missed.unit, missed.asked) == ("tpot", "s", 0.02)
    assert missed.available == pytest.approx(free.prediction.tpot_s.value) and missed.available > 0.03
    assert (found.prediction.tpot_s.value or 1.0) <= 0.02
    assert (found.prediction.rate_tok_s.value or 0.0) <= ceiling(found, "latency") * (1 + 1e-9)
    assert asked(concurrency=found.prediction.batch.concurrency, slo_tpot_s=0.02).meets


def test_an_offered_rate_beyond_capacity_says_how_many_devices_would_do() -> None:
    found = asked(rate_req_s=1000.0)
    (missed,) = found.short_by
    served = found.prediction.request_rate_req_s.value
    assert (missed.limit, missed.unit, missed.asked) == ("rate", "req/s", 1000.0) and missed.available == served
    count = int(missed.text.split("about ")[1].split()[0])
    assert asked(devices=count, tp=2, rate_req_s=1000.0).meets
    assert not asked(devices=count - 2, tp=2, rate_req_s=1000.0).meets


def test_more_in_flight_than_memory_holds_is_said() -> None:
    found = asked(concurrency=5000.0)
    (missed,) = found.short_by
    assert missed.limit == "concurrency" and missed.asked == 5000.0 and missed.available < 500


@pytest.mark.parametrize(
    ("model", "device", "devices"),
    [
        ("llama3.3:70b", "h100", 3),
        ("meta-llama/Llama-3.1-405B-Instruct", "h100", 12),
        ("deepseek-ai/DeepSeek-V3", "l4", 35),
        ("Qwen/Qwen3-32B", "l4", 1),
    ],
)
def test_advice_never_circles(model: str, device: str, devices: int) -> None:
    """What is named really holds the model, and is not what was given."""
    with pytest.raises(MemoryShort, match="spread the model over") as caught:
        answer(PredictionRequest(model=model, device=device, devices=devices))
    named = {k: int(v) for k, v in re.findall(r"`(devices|tp)=(\d+)`", str(caught.value))}
    assert named["tp"] and named.get("devices", 0) != devices
    assert answer(
        replace(PredictionRequest(model=model, device=device, devices=devices), **named)
    ).prediction.rate_tok_s.value


def test_advice_of_16_devices_that_hold_a_model_only_together_is_to_say_so() -> None:
    """Tensor parallelism never leaves the node unasked: two replicas of eight do not hold it, one of sixteen does."""
    question = PredictionRequest(model="meta-llama/Llama-3.1-405B-Instruct", device="h100", devices=16)
    with pytest.raises(MemoryShort, match=r"16 devices per replica \(`tp=16`\)"):
        answer(question)
    assert answer(replace(question, tp=16)).deployment.parallelism.tensor == 16


@pytest.mark.parametrize("devices", [2, 10, 16])
def test_more_devices_are_advised_where_the_rate_is_short(devices: int) -> None:
    found = answer(PredictionRequest(model="Qwen/Qwen3-32B", device="h100", devices=devices, rate_req_s=500.0))
    (missed,) = found.short_by
    assert missed.limit == "rate"
    named = int(re.findall(r"about ([\d,]+) devices", missed.text)[0].replace(",", ""))
    assert named > devices
    more = answer(
        PredictionRequest(
            model="Qwen/Qwen3-32B",
            device="h100",
            devices=named,
            tp=found.deployment.parallelism.tensor,
            rate_req_s=500.0,
        )
    )
    assert more.meets


def test_a_deployment_that_does_not_fit_is_a_document_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--model", "llama3.3:70b", "--device", "h100", "--devices", "3"]
    assert main(words) == 1
    assert capsys.readouterr().out.startswith("DOES NOT FIT: weights take 141 GB per device")
    assert main([*words, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["meets"] is False and said["rate_tok_s"]["value"] is None
    (missed,) = said["short_by"]
    assert missed["limit"] == "memory" and missed["short_by"] == pytest.approx(missed["asked"] - missed["available"])


def test_the_document_says_what_is_missed_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hall.toml").write_text('pue = 1.2\nit_power_limit = "1 kW"\n')
    words = [*QWEN, "--devices", "2", "--concurrency", "64", "--site", str(tmp_path / "hall.toml")]
    assert main([*words, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["meets"] is False and [m["limit"] for m in said["short_by"]] == ["power"]
    assert set(said["short_by"][0]) >= {"limit", "unit", "asked", "available", "short_by"}
    assert main([*QWEN, "--devices", "2", "--concurrency", "8", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["meets"] is True and said["short_by"] == []


def test_money_carbon_and_water_are_said_per_million_tokens() -> None:
    """At 0.36 EUR/kWh = 1e-7 EUR/J, 360 g/kWh = 1e-4 g/J, 3.6 l/kWh = 1e-6 l/J of the node."""
    site = Site(pue_ratio=1.2, price_currency_j=1e-7, currency="EUR", carbon_gco2e_j=1e-4, water_l_j=1e-6, name="hall")
    found = asked(concurrency=16.0, facility=site)
    at_site, node = found.prediction.site.site_j_tok.value, found.prediction.node_j_tok.value
    shown = on_screen(show, found)
    for label, value, unit in (
        ("cost per million tokens", at_site * 0.1, "EUR"),
        ("carbon per million tokens", at_site * 100, "gCO2e"),
        ("water per million tokens", node, "L"),
    ):
        line = next(x for x in shown.splitlines() if x.strip().startswith(label))
        assert unit in line and float(line.split()[len(label.split())].replace(",", "")) == pytest.approx(
            value, rel=0.05
        )


def test_digits_follow_the_interval() -> None:
    """A figure known to ± 20 % is not said with four digits."""
    line = next(x for x in on_screen(show, asked(concurrency=16.0)).splitlines() if x.strip().startswith("output rate"))
    digits = line.split()[2].replace(",", "").strip("0")
    assert len(digits) <= 2 and line.split()[3] == "tok/s"
