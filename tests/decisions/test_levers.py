"""Levers: conservation, signs that follow from the load, refusals with reasons, joint effects, intervals of ratios."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import rates
from joulemill.decisions.lever_case import Case, Draft, EarlyExit, Lever, Model, Outcome, Route, Settings
from joulemill.decisions.lever_outcome import outcome
from joulemill.decisions.levers import Combination, Effect, all_levers, change_figure, effect, pareto, study
from joulemill.physics.deployment import Deployment, Parallelism
from joulemill.physics.precision import uniform
from joulemill.physics.site import Site
from joulemill.physics.workload import Workload

RATES = rates("vllm")
WIDTHS = {"batch": 0.2, "precision": 0.2}


def model(name: str) -> Model:
    found = find_model(name)
    return Model(found.name, found.architecture, found.precision)


def case(name: str = "Qwen/Qwen3-32B", device: str = "h100", tp: int = 2, replicas: int = 1, **load: float) -> Case:
    m = model(name)
    deployment = Deployment(
        m.architecture, m.precision, find_device(device), Parallelism(tp, replicas=replicas), node=node_of(device)
    )
    return Case(deployment, Workload(**({"input_tok": 512.0, "output_tok": 512.0, "batch_req": 32.0} | load)))


def given_settings(**more: object) -> Settings:
    weights = {name: uniform(name) for name in ("fp8", "int8", "nvfp4", "int4")}
    return replace(Settings(weights=weights), **more)  # type: ignore[arg-type]


def one(name: str, at: Case, chosen: Settings | None = None) -> Effect:
    chosen = chosen or given_settings()
    lever: Lever = next(x for x in all_levers(chosen) if x.name == name)
    return effect(lever, at, chosen, outcome(at, RATES), RATES, WIDTHS)


def gain(name: str, at: Case, chosen: Settings | None = None) -> float:
    found = one(name, at, chosen).energy_change
    assert found is not None and found.value is not None
    return found.value


@pytest.mark.parametrize("name", ["Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B"])
@pytest.mark.parametrize("batch", [1.0, 16.0, 128.0])
def test_a_change_of_nothing_changes_nothing(name: str, batch: float) -> None:
    """The sums for changed rounds agree with the steady state where nothing is changed: no token leaves early."""
    plain = case(name, batch_req=batch)
    same = outcome(plain, RATES)
    for idle in (replace(plain, early_exit=EarlyExit(0.0, 0.5)), replace(plain, clock_ratio=1.0)):
        found = outcome(idle, RATES)
        assert found.energy_j_tok == pytest.approx(same.energy_j_tok, rel=1e-9)
        assert found.rate_tok_s == pytest.approx(same.rate_tok_s, rel=1e-9)
        assert found.tpot_s == pytest.approx(same.tpot_s, rel=1e-9)


def test_a_route_to_the_same_model_costs_the_same_and_a_cascade_that_always_fails_costs_both() -> None:
    plain = case()
    own = Model("itself", plain.deployment.architecture, plain.deployment.precision)
    before = outcome(plain, RATES).device_j_tok
    same = outcome(replace(plain, route=Route(own, 0.4, cascade=False)), RATES)
    assert same.device_j_tok == pytest.approx(before, rel=1e-12)
    failed = outcome(replace(plain, route=Route(own, 0.0, cascade=True)), RATES)
    assert failed.device_j_tok == pytest.approx(2 * before, rel=1e-12)


def test_a_lever_that_changes_nothing_differs_by_exactly_zero() -> None:
    found = change_figure(1.5, 1.5, "precision", WIDTHS)
    assert found is not None and (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    # A window as long as the longest request is no window.
    assert gain("sliding-window", case()) == 0.0


def test_interval_is_that_of_the_ratio() -> None:
    found = change_figure(2.0, 1.0, "batch", WIDTHS)
    assert found is not None and found.low is not None and found.high is not None
    assert found.low == pytest.approx(0.5 * math.exp(-0.2) - 1)
    assert found.high == pytest.approx(0.5 * math.exp(0.2) - 1)
    wide = change_figure(4.0, 1.0, "modelled", WIDTHS)
    assert wide is not None and wide.high is not None
    assert wide.high == pytest.approx(0.25 * math.exp(0.5 * math.log(4.0)) - 1) and "assumed" in (wide.source or "")
    assert change_figure(None, 1.0, "batch", WIDTHS) is None


@given(st.floats(0.0, 1.0), st.integers(1, 12))
def test_accepted_tokens_against_the_sum_of_powers(acceptance: float, drafted: int) -> None:
    draft = Draft(Model("d", None, None), drafted, acceptance)  # type: ignore[arg-type]
    assert draft.accepted_tok == pytest.approx(sum(acceptance**i for i in range(drafted + 1)), rel=1e-6)


def test_speculation_saves_at_small_batch_and_less_or_nothing_at_large() -> None:
    """Published: saves at batch 16 and below, costs at 128 (arXiv:2504.17674). The sign follows from the batch."""
    chosen = given_settings(draft=model("Qwen/Qwen3-1.7B"), acceptance_ratio=0.5)
    few, many = (gain("speculation", case(batch_req=b), chosen) for b in (4.0, 256.0))
    assert few < -0.1 and many > 0.0
    refused = gain(
        "speculation", case(batch_req=4.0), given_settings(draft=model("Qwen/Qwen3-1.7B"), acceptance_ratio=1e-6)
    )
    assert refused > 0.0, "a draft that is never accepted only costs"


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 0.9), st.floats(0.01, 0.09))
def test_more_acceptance_never_costs_more(acceptance: float, more: float) -> None:
    draft = model("Qwen/Qwen3-0.6B")
    low, high = (
        outcome(replace(case(), draft=Draft(draft, 3, a)), RATES).energy_j_tok for a in (acceptance, acceptance + more)
    )
    assert high <= low


def test_a_lower_clock_hardly_slows_decode_and_slows_prefill_more() -> None:
    decode, prefill = case(input_tok=16.0, batch_req=8.0), case(input_tok=8000.0, output_tok=16.0, batch_req=8.0)
    slowed = []
    for at in (decode, prefill):
        rate = one("clock-lock", at).rate_change
        assert rate is not None and rate.value is not None
        slowed.append(rate.value)
    assert slowed[0] > -0.05 and slowed[1] < -0.15
    assert gain("clock-lock", decode) < 0.0


def test_a_cap_that_never_binds_changes_nothing() -> None:
    """Published: illusory for isolated decode, whose draw never reaches the cap (arXiv:2605.11999)."""
    lone = case("meta-llama/Llama-3.1-8B-Instruct", tp=1, batch_req=1.0, input_tok=16.0)
    assert gain("power-cap", lone, given_settings(cap_ratio=0.95)) == 0.0


def test_quantising_weights_saves_less_as_the_batch_grows_for_unpacked_weights() -> None:
    few, many = (gain("int4-weights", case(batch_req=b)) for b in (4.0, 128.0))
    assert few < many < 0.2


def test_thinking_less_saves_requests_not_tokens() -> None:
    found = one("thinking-budget", case(input_tok=4000.0))
    assert found.energy_change and found.request_change
    assert (found.request_change.value or 0) < -0.2 < 0.0 < (found.energy_change.value or 0)


def test_site_levers_move_the_site_only() -> None:
    site = Site(pue_ratio=1.5, carbon_gco2e_j=1e-4, price_currency_j=3e-8)
    at = replace(case(), site=site)
    assert outcome(at, RATES).scope == "site"
    assert gain("pue", at) == pytest.approx(1.1 / 1.5 - 1)
    cleaner = one("carbon-shift", at)
    assert cleaner.energy_change is not None and cleaner.energy_change.value == 0.0
    assert cleaner.carbon_change is not None and cleaner.carbon_change.value == pytest.approx(-0.3 * 0.4)
    assert "PUE is not known" in (one("pue", case()).why_not or "")


def test_consolidation_saves_the_idle_joules() -> None:
    idle = case("meta-llama/Llama-3.1-8B-Instruct", tp=1, replicas=4, rate_req_s=1.0)
    idle = replace(idle, workload=replace(idle.workload, batch_req=None))
    assert gain("consolidation", idle) < -0.2
    assert "saturated" in (one("consolidation", case()).why_not or "")


REFUSED = {
    "fp8-weights": (case(device="a100"), "no FP8 units"),
    "fp4-weights": (case(), "no FP4 units"),
    "speculation": (case(), "no draft is named"),
    "sparse-attention": (case(), "latent attention first"),
    "latent-attention": (case("deepseek-ai/DeepSeek-V3", "h200", 8), "already"),
    "routing": (case(), "--small"),
    "other-model": (case(), "--alternative"),
    "eviction": (case(), "nothing to evict"),
    "narrower": (case(tp=1), "on one device"),
    "wider": (case(tp=8), "link domain"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_lever_that_does_not_apply_says_why(name: str) -> None:
    at, words = REFUSED[name]
    found = one(name, at)
    assert found.after is None and words in (found.why_not or ""), found.why_not


def test_a_draft_of_another_vocabulary_is_refused() -> None:
    found = one("speculation", case(), given_settings(draft=model("meta-llama/Llama-3.2-1B-Instruct")))
    assert "another vocabulary" in (found.why_not or "")


def test_what_does_not_fit_says_so() -> None:
    found = one("narrower", case("meta-llama/Llama-3.1-70B-Instruct", tp=2, batch_req=1.0))
    assert "does not fit" in (found.why_not or "")


def test_attention_that_needs_training_is_marked_so_and_never_combined_unasked() -> None:
    chosen = given_settings()
    retrained = {x.name for x in all_levers(chosen) if x.cost == "retrain"}
    assert {"latent-attention", "linear-attention", "sparse-attention"} <= retrained
    found = study(case(batch_req=64.0, input_tok=4000.0), chosen, RATES, WIDTHS)
    assert not retrained & {n for c in found.combinations for n in c.names}


def test_combinations_are_joint_ranked_and_of_different_families() -> None:
    chosen = given_settings()
    found = study(case(), chosen, RATES, WIDTHS)
    family = {x.name: x.family for x in all_levers(chosen)}
    for c in found.combinations:
        assert len({family[n] for n in c.names}) == len(c.names) <= 4
    joules = [c.after.energy_j_tok for c in found.combinations]
    assert joules == sorted(joules)
    apart = [
        c
        for c in found.combinations
        if len(c.names) > 1 and abs(c.energy_change_ratio - c.multiplied_change_ratio) > 0.01
    ]
    assert apart, "effects that all multiplied would need no joint prediction"
    singles = [c for c in found.combinations if len(c.names) == 1]
    assert all(c.energy_change_ratio == pytest.approx(c.multiplied_change_ratio) for c in singles)
    ranked = [e.energy_change.value for e in found.effects if e.after is not None and e.energy_change is not None]
    assert ranked == sorted(v for v in ranked if v is not None)


points = st.lists(st.tuples(st.floats(0.1, 9), st.floats(1, 99), st.floats(0.01, 1)), min_size=1, max_size=20)


@given(points)
def test_the_front_holds_what_no_other_beats(values: list[tuple[float, float, float]]) -> None:
    blank = Outcome(1.0, 1.0, 1.0, "node", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, "compute", True)
    made = [
        Combination((str(i),), replace(blank, energy_j_tok=j, rate_tok_s=r, tpot_s=t), 0.0, 0.0)
        for i, (j, r, t) in enumerate(values)
    ]
    cost = np.array([(j, -r, t) for j, r, t in values])
    front = {int(c.names[0]) for c in pareto(made)}
    for i, mine in enumerate(cost):
        beaten = bool(((cost <= mine).all(1) & (cost < mine).any(1)).any())
        assert not (beaten and i in front)
        if not beaten:
            assert any((cost[k] == mine).all() for k in front), "equals of it may stand for it"
