"""``joulemill.simulate``: one value with everything in it, and traffic as users ask for it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import joulemill as jm
from joulemill.api.simulation import SimulatedDeployment
from joulemill.errors import InputError
from joulemill.importers.asked_traffic import TrafficOptions, asked_traffic
from joulemill.simulation.traffic import Traffic
from tests.support.paths import EXAMPLES

SMALL = {"devices": 1, "max_num_seqs": 64, "scenarios": 0}


@pytest.fixture(scope="module")
def simulated() -> SimulatedDeployment:
    return jm.simulate(
        "Qwen/Qwen3-8B",
        "h100",
        rate_req_s=4,
        duration_s=60,
        input_tokens="lognormal:300:p90=600",
        output_tokens=64,
        site=EXAMPLES / "site.toml",
        slo_ttft_s=1.0,
        slo_tpot_s=0.05,
        seed=3,
        **SMALL,
    )


def test_scopes_nest_and_the_meter_is_the_sum_of_its_parts(simulated: SimulatedDeployment) -> None:
    document = simulated.to_dict()
    energy, power = document["energy"], document["power"]
    assert energy["device_j_tok"]["value"] < energy["node_j_tok"]["value"] < energy["site_j_tok"]["value"]
    site_j = power["site_w"]["mean"] * document["output"]["duration_s"]
    assert sum(energy["parts_j"].values()) == pytest.approx(site_j, rel=1e-9)
    assert abs(energy["closure_j"]) < 1e-9 * site_j
    assert energy["site_j_tok"]["value"] == pytest.approx(1.2 * energy["node_j_tok"]["value"])  # the site's PUE
    assert energy["site_j_tok"]["value"] * document["tokens"]["output"] == pytest.approx(site_j)


def test_carbon_and_money_are_those_of_the_site_file(simulated: SimulatedDeployment) -> None:
    document = simulated.to_dict()
    kwh = document["energy"]["site_j"]["value"] / 3.6e6
    assert document["carbon"]["gco2e"]["value"] == pytest.approx(350 * kwh)
    assert document["carbon"]["cost_currency"]["value"] == pytest.approx(0.12 * kwh)


def test_requests_and_tokens_are_conserved(simulated: SimulatedDeployment) -> None:
    document, run = simulated.to_dict(), simulated.run
    r = document["requests"]
    assert r["offered"] == r["completed"] + r["rejected"] + r["unfinished"]
    assert document["tokens"]["output"] == 64 * r["completed"] == int(run.timeline.output_tok.sum())
    assert document["tokens"]["input"] == int(run.traffic.input_tok.sum())
    assert run.outcomes.energy_j.sum() == pytest.approx(
        document["energy"]["parts_j"]["prefill"] + document["energy"]["parts_j"]["decode"], rel=1e-6
    )


def test_latencies_are_what_a_user_would_compute_from_the_rows(simulated: SimulatedDeployment) -> None:
    rows, document = simulated.requests(), simulated.to_dict()
    ttft = rows["first_token_s"] - rows["arrival_s"]
    assert document["latency"]["ttft_s"]["p99"] == pytest.approx(float(np.quantile(ttft, 0.99)))
    tpot = (rows["finish_s"] - rows["first_token_s"]) / (rows["output_tok"] - 1)
    assert document["latency"]["tpot_s"]["mean"] == pytest.approx(float(tpot.mean()))
    met = (ttft <= 1.0) & (tpot <= 0.05)
    assert document["latency"]["slo"]["attained_ratio"] == pytest.approx(float(met.mean()))


def test_series_integrate_to_the_totals(simulated: SimulatedDeployment) -> None:
    series, document = simulated.series(), simulated.to_dict()
    lengths = np.diff(np.append(series["t_s"], document["output"]["duration_s"]))
    assert (series["site_w"] * lengths).sum() == pytest.approx(document["energy"]["site_j"]["value"])
    assert (series["output_tok_s"] * lengths).sum() == pytest.approx(document["tokens"]["output"])
    assert (series["arrivals_req_s"] * lengths).sum() == pytest.approx(document["requests"]["offered"])
    power = document["power"]["device_w"]
    assert power["p50"] <= power["p95"] <= power["p99"] <= power["peak"]
    assert power["load_factor"] == pytest.approx(power["mean"] / power["peak"])


def test_the_document_is_json_and_the_same_again(simulated: SimulatedDeployment) -> None:
    again = jm.simulate(
        "Qwen/Qwen3-8B",
        "h100",
        rate_req_s=4,
        duration_s=60,
        input_tokens="lognormal:300:p90=600",
        output_tokens=64,
        site=EXAMPLES / "site.toml",
        slo_ttft_s=1.0,
        slo_tpot_s=0.05,
        seed=3,
        **SMALL,
    )
    first, second = simulated.to_dict(), again.to_dict()
    for document in (first, second):
        document.pop("simulation")
        json.dumps(document, allow_nan=False)
    assert first == second
    assert len(simulated.requests_frame("pandas")) == first["requests"]["offered"]
    assert "J/tok" in repr(simulated)


def test_without_a_site_its_scope_is_unknown_and_says_why() -> None:
    small = jm.simulate("Qwen/Qwen3-8B", "h100", rate_req_s=2, requests=5, output_tokens=8, **SMALL)
    assert small.energy.site.value is None
    assert "no site" in (small.energy.site.reason or "")
    document = small.to_dict()
    assert document["power"]["site_w"] is None
    assert document["carbon"]["gco2e"]["value"] is None and document["carbon"]["gco2e"]["reason"]
    assert small.run.widest_scope == "node"


def test_a_queue_that_grows_without_bound_is_flagged() -> None:
    flooded = jm.simulate(
        "Qwen/Qwen3-8B", "h100", rate_req_s=100, requests=400, output_tokens=200, devices=1, max_num_seqs=8, scenarios=0
    )
    assert flooded.doubts
    calm = jm.simulate("Qwen/Qwen3-8B", "h100", rate_req_s=1, requests=200, output_tokens=20, **SMALL)
    assert not calm.doubts


def options(**more: object) -> TrafficOptions:
    return TrafficOptions(**({"rate_req_s": 5.0, "requests": 50} | more))  # type: ignore[arg-type]


def test_so_many_requests_come_as_are_asked_for_whatever_the_process() -> None:
    for arrivals in ("constant", "poisson", "gamma:0.2", "agents:4:1s"):
        assert asked_traffic(options(arrivals=arrivals), context_tok=None).traffic.requests_count == 50


def test_a_duration_goes_on_after_the_last_request() -> None:
    asked = asked_traffic(options(requests=None, duration_s=30.0), context_tok=None)
    assert asked.duration_s == 30.0
    assert asked.traffic.arrival_ns[-1] < 30e9


def test_lengths_can_be_a_sample_and_are_clipped_to_the_context_aloud() -> None:
    asked = asked_traffic(options(input_tokens=[10, 9000], output_tokens=100), context_tok=4096)
    assert set(asked.traffic.input_tok) == {10, 3996}
    assert any("shortened" in n for n in asked.notes)


def test_a_trace_is_scaled_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time_s,input_tokens,output_tokens\n" + "\n".join(f"{i},100,10" for i in range(60)))
    asked = asked_traffic(
        TrafficOptions(trace=path, speed_ratio=2.0, input_scale_ratio=0.5, duration_s=10.0), context_tok=None
    )
    assert asked.traffic.requests_count == 20
    assert set(asked.traffic.input_tok) == {50}
    doubled = asked_traffic(TrafficOptions(trace=path, volume_ratio=2.0), context_tok=None).traffic
    assert doubled.requests_count == 120


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rate_req_s": None}, "name the traffic"),
        ({"trace": "x.csv"}, "give one of them"),
        ({"speed_ratio": 2.0}, "scales a trace"),
        ({"shared_prefix_tok": 64, "arrivals": "agents:3:1s"}, "drop one"),
        ({"trace": "nowhere.csv", "rate_req_s": None}, "cannot be read"),
    ],
)
def test_traffic_that_cannot_be_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        asked_traffic(options(**wrong), context_tok=None)


def test_a_traffic_value_is_taken_as_it_is() -> None:
    traffic = Traffic(arrival_ns=np.array([0, 10**9]), input_tok=np.array([64, 64]), output_tok=np.array([2, 1]))
    simulated = jm.simulate("Qwen/Qwen3-8B", "h100", trace=traffic, **SMALL)
    document = simulated.to_dict()
    assert document["requests"]["completed"] == 2
    assert document["latency"]["tpot_s"]["n"] == 1
    assert not math.isnan(document["latency"]["ttft_s"]["mean"])


def test_a_prefill_pool_computes_prompts_and_its_joules_are_in_the_meter() -> None:
    asked = {"rate_req_s": 4, "requests": 60, "input_tokens": 900, "output_tokens": 40, "seed": 1, "scenarios": 0}
    apart = jm.simulate("Qwen/Qwen3-8B", "h100", devices=1, prefill_devices=2, prefill_tp=1, max_num_seqs=64, **asked)
    line, outcomes = apart.run.timeline, apart.run.outcomes
    assert outcomes.completed.all()
    assert set(line.replica.tolist()) == {0, 1, 2}
    assert line.prefill_tok[line.replica == 0].sum() == 0
    assert line.prefill_tok.sum() == 60 * 900
    assert line.output_tok.sum() == 60 * 40
    assert abs(apart.to_dict()["energy"]["closure_j"]) < 1e-6 * line.device_j.sum()
    with pytest.raises(InputError, match="replicas of one size"):
        jm.simulate("Qwen/Qwen3-8B", "h100", devices=1, prefill_devices=2, prefill_tp=2, **asked)


def test_drafts_yield_tokens_and_change_no_count() -> None:
    asked = {"devices": 8, "tp": 8, "rate_req_s": 1, "requests": 12, "output_tokens": 200, "scenarios": 0}
    plain, drafting = (
        jm.simulate("deepseek-ai/DeepSeek-V3", "h200", max_num_seqs=16, speculative_tokens=k, **asked) for k in (0, 1)
    )
    stay = [(r.run.outcomes.finish_ns - r.run.outcomes.first_token_ns).mean() for r in (plain, drafting)]
    assert 1.2 < stay[0] / stay[1] < 1.9
    assert drafting.run.timeline.output_tok.sum() == 12 * 200


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"requests": 1.5}, "`requests` is 1.5"), ({"shared_prefix_tok": 8, "prefix_groups": 0}, "`prefix_groups` is 0")],
)
def test_a_count_that_is_none_is_named(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=f"{says}; it must be a whole number from 1"):
        jm.simulate("Qwen/Qwen3-8B", "h100", rate_req_s=4, **{"requests": 20, **wrong})
