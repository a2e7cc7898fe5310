"""Levers: conservation, signs that follow from the load, refusals with reasons, joint effects, intervals of ratios."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.catalog.devices import find_device
from joulemill.catalog.levers import evidence_of
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import rates
from joulemill.decisions.levers.case import Case, Draft, EarlyExit, Lever, LeverOutcome, Model, Route, Settings
from joulemill.decisions.levers.outcome import outcome
from joulemill.decisions.levers.study import (
    Combination,
    Effect,
    all_levers,
    change_figure,
    effect,
    pareto,
    routed_accuracy,
    study,
)
from joulemill.physics.hardware.site import Site
from joulemill.physics.model.precision import uniform
from joulemill.physics.serving.deployment import Deployment, Parallelism
from joulemill.physics.serving.workload import Workload

pytestmark = pytest.mark.apart

RATES = rates("vllm")
WIDTHS = {"batch": 0.2, "precision": 0.2}


def model(name: str) -> Model:
    found = find_model(name)
    return Model(found.name, found.architecture, found.precision)


def case(name: str = "Qwen/Qwen3-32B", device: str = "h100", tp: int = 2, replicas: int = 1, **load: float) -> Case:
    m = model(name)
    deployment = Deployment(
        architecture=m.architecture,
        precision=m.precision,
        device=find_device(device),
        parallelism=Parallelism(tp, replicas=replicas),
        node=node_of(device),
    )
    return Case(
        deployment=deployment,
        workload=Workload(**({"input_tok": 512.0, "output_tok": 512.0, "concurrency": 32.0} | load)),
    )


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
    plain = case(name, concurrency=batch)
    same = outcome(plain, RATES)
    for idle in (replace(plain, early_exit=EarlyExit(0.0, 0.5)), changed(plain, clock_ratio=1.0)):
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
    few, many = (gain("speculation", case(concurrency=b), chosen) for b in (4.0, 256.0))
    assert few < -0.1 and many > 0.0
    refused = gain(
        "speculation", case(concurrency=4.0), given_settings(draft=model("Qwen/Qwen3-1.7B"), acceptance_ratio=1e-6)
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
    decode, prefill = case(input_tok=16.0, concurrency=8.0), case(input_tok=8000.0, output_tok=16.0, concurrency=8.0)
    slowed = []
    for at in (decode, prefill):
        rate = one("clock-lock", at).rate_change
        assert rate is not None and rate.value is not None
        slowed.append(rate.value)
    assert slowed[0] > -0.05 and slowed[1] < -0.15
    assert gain("clock-lock", decode) < 0.0


def test_a_cap_that_never_binds_changes_nothing() -> None:
    """Published: illusory for isolated decode, whose draw never reaches the cap (arXiv:2605.11999)."""
    lone = case("meta-llama/Llama-3.1-8B-Instruct", tp=1, concurrency=1.0, input_tok=16.0)
    assert gain("power-cap", lone, given_settings(cap_ratio=0.95)) == 0.0


def test_quantising_weights_saves_less_as_the_batch_grows_for_unpacked_weights() -> None:
    few, many = (gain("int4-weights", case(concurrency=b)) for b in (4.0, 128.0))
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
    idle = replace(idle, workload=replace(idle.workload, concurrency=None))
    assert gain("consolidation", idle) < -0.1


def test_consolidation_returns_open_contexts_and_a_disabled_boost_returns_them_all() -> None:
    """Four boards that hardly work idle at 122 W; two of them unloaded at 70 W: at most 21 % comes back."""
    lone = case("meta-llama/Llama-3.1-8B-Instruct", tp=1, replicas=4, rate_req_s=0.004)
    lone = changed(replace(lone, workload=replace(lone.workload, concurrency=None)), node=None)
    assert gain("consolidation", lone) == pytest.approx(-0.5 * (121.6 - 70.0) / 121.6, abs=0.02)
    assert gain("boost-off", lone) == pytest.approx(-(121.6 - 70.0) / 121.6, abs=0.02)
    assert "saturated" in (one("boost-off", case()).why_not or "")
    assert "NVIDIA" in (one("boost-off", changed(lone, device=find_device("mi300x"))).why_not or "")


LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
DEEPSEEK = case("deepseek-ai/DeepSeek-V3", "h200", 8)
LONG = case(LLAMA, tp=1, input_tok=6000.0)
SITE = Site(pue_ratio=1.5, carbon_gco2e_j=1e-4, price_currency_j=3e-8)
PLACED = replace(case(), site=SITE)
IDLE = replace(case(LLAMA, tp=1, replicas=4), workload=Workload(input_tok=512.0, output_tok=512.0, rate_req_s=1.0))
CHOSEN = given_settings(
    draft=model("Qwen/Qwen3-0.6B"),
    small=model("Qwen/Qwen3-1.7B"),
    alternative=model("Qwen/Qwen3-30B-A3B"),
    devices=((find_device("b200"), node_of("b200")),),
)


def changed(at: Case, **facts: object) -> Case:
    return replace(at, deployment=replace(at.deployment, **facts))  # type: ignore[arg-type]


def loaded(at: Case, **facts: object) -> Case:
    return replace(at, workload=replace(at.workload, **facts))  # type: ignore[arg-type]


ALL_HEADS = case("facebook/opt-6.7b", tp=1)  # as many key–value heads as query heads
#: Lever → a case to which it applies, one to which it does not, and why not (None: it always applies).
APPLIES: dict[str, tuple[Case, Case | None, str]] = {
    "device-b200": (case(), case(device="b200"), "the deployment is on"),
    "fp8-weights": (case(), case(device="a100"), "no FP8 units"),
    "int8-weights": (case(), changed(case(), precision=uniform("int8")), "already"),
    "fp4-weights": (case(device="b200"), case(), "no FP4 units"),
    "int4-weights": (case(), changed(case(), precision=uniform("int4")), "already"),
    "fp8-kv": (case(), changed(case(), precision=uniform("bf16").with_kv("fp8")), "already"),
    "int4-kv": (case(), changed(case(), precision=uniform("bf16").with_kv("int4")), "already"),
    "latent-attention": (case(), DEEPSEEK, "latent attention already"),
    "grouped-attention": (ALL_HEADS, case(), "share a key–value head already"),
    "eviction": (LONG, case(), "nothing to evict"),
    "sliding-window": (LONG, DEEPSEEK, "no layer has full grouped attention"),
    "sparse-attention": (DEEPSEEK, case(), "requires latent attention (MLA)"),
    "linear-attention": (LONG, DEEPSEEK, "no layer has full grouped attention"),
    "alternative-model": (case(), case("Qwen/Qwen3-30B-A3B"), "is the model that is deployed"),
    "batch-x2": (case(), IDLE, "the offered rate sets"),
    "batch-x4": (case(), IDLE, "the offered rate sets"),
    "max-batch": (case(), loaded(case(), concurrency=None), "already"),
    "small-chunks": (case(), changed(case(), max_batched_tok=2048.0), "2048 tokens already"),
    "prefix-cache": (case(), loaded(case(), cached_ratio=0.8), "80 % of the prompt"),
    "disaggregation": (case(), replace(case(), disaggregated=True), "on other devices already"),
    "speculation": (case(concurrency=4.0), case(LLAMA, tp=1), "another vocabulary"),
    "routing": (case(), replace(case(), route=Route(CHOSEN.small, 0.5, False)), "already"),  # type: ignore[arg-type]
    "cascade": (case(), replace(case(), route=Route(CHOSEN.small, 0.5, True)), "already"),  # type: ignore[arg-type]
    "thinking-budget": (case(), loaded(case(), output_tok=1.0), "a token long"),
    "early-exit": (case(), replace(case(), early_exit=EarlyExit(0.3, 0.5)), "already"),
    "power-cap": (case(), changed(case(), power_cap_w=300.0), "capped at 300 W already"),
    "clock-lock": (case(), changed(case(), clock_ratio=0.6), "locked at 60 % already"),
    "tp-up": (case(), case(tp=8), "link domain"),
    "tp-down": (case(), case(tp=1), "on one device"),
    "consolidation": (IDLE, case(), "saturated"),
    "boost-off": (IDLE, case(), "saturated"),
    "pue": (PLACED, case(), "--site FILE"),
    "carbon-shift": (PLACED, replace(case(), site=Site(pue_ratio=1.5)), "carbon is not stated"),
    "price-shift": (PLACED, replace(case(), site=Site(pue_ratio=1.5)), "price is not stated"),
}


def test_every_lever_has_a_case_where_it_applies_and_one_where_it_does_not() -> None:
    assert {x.name for x in all_levers(CHOSEN)} == set(APPLIES)


@pytest.mark.parametrize("name", APPLIES)
def test_a_lever_applies_or_says_why_not(name: str) -> None:
    at, other, words = APPLIES[name]
    found = one(name, at, CHOSEN)
    assert found.after is not None and found.why_not is None, found.why_not
    assert found.energy_change is not None and found.rate_change is not None and found.tpot_change is not None
    about = evidence_of(name)
    assert about.effect and about.source and about.quality_text and about.cost_text and found.lever.moves
    if other is not None:
        refused = one(name, other, CHOSEN)
        assert refused.after is None and words in (refused.why_not or ""), refused.why_not


@pytest.mark.parametrize(
    ("name", "flag"),
    [("speculation", "--draft"), ("routing", "--small"), ("cascade", "--small"), ("alternative-model", "--alt")],
)
def test_what_a_lever_lacks_is_named_with_its_flag(name: str, flag: str) -> None:
    found = one(name, case())
    assert found.after is None and flag in (found.why_not or "")


def test_drafting_layers_of_the_model_are_taken_where_no_draft_is_named() -> None:
    found = one("speculation", loaded(DEEPSEEK, concurrency=8.0))
    assert found.after is not None and gain("speculation", loaded(DEEPSEEK, concurrency=8.0)) < 0.0


def test_smaller_keys_save_more_where_contexts_are_long() -> None:
    short, long = (gain("int4-kv", case(LLAMA, tp=1, input_tok=n)) for n in (128.0, 16000.0))
    assert long < short <= 0.0 and long < gain("fp8-kv", case(LLAMA, tp=1, input_tok=16000.0))


@pytest.mark.usefixtures("few_combinations")
def test_a_study_at_a_site_is_of_site_joules_and_says_grams_and_money() -> None:
    found = study(PLACED, CHOSEN, RATES, WIDTHS)
    bare = study(case(), CHOSEN, RATES, WIDTHS)
    assert (found.before.scope, bare.before.scope) == ("site", "node")
    assert found.before.energy_j_tok == pytest.approx(1.5 * bare.before.energy_j_tok)
    assert found.before.carbon_gco2e_tok == pytest.approx(1e-4 * found.before.energy_j_tok)
    assert found.before.cost_currency_tok == pytest.approx(3e-8 * found.before.energy_j_tok)
    for e in found.effects:  # PUE multiplies both sides: every other lever moves site joules as it moves the node's
        twin = next(x for x in bare.effects if x.lever.name == e.lever.name)
        if e.after is not None and twin.after is not None and e.energy_change and twin.energy_change:
            assert e.energy_change.value == pytest.approx(twin.energy_change.value, abs=1e-9)
    assert {e.lever.name for e in found.effects if e.after is not None} >= {"pue", "carbon-shift", "price-shift"}


def test_a_draft_of_another_vocabulary_is_refused() -> None:
    found = one("speculation", case(), given_settings(draft=model("meta-llama/Llama-3.2-1B-Instruct")))
    assert "another vocabulary" in (found.why_not or "")


def test_what_does_not_fit_says_so() -> None:
    found = one("tp-down", case("meta-llama/Llama-3.1-70B-Instruct", tp=2, concurrency=1.0))
    assert "does not fit" in (found.why_not or "")


def test_attention_that_needs_training_is_marked_so_and_never_combined_unasked() -> None:
    chosen = given_settings()
    retrained = {x.name for x in all_levers(chosen) if x.cost == "retrain"}
    assert {"latent-attention", "linear-attention", "sparse-attention"} <= retrained
    found = study(case(concurrency=64.0, input_tok=4000.0), chosen, RATES, WIDTHS)
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
    blank = LeverOutcome(
        rate_tok_s=1.0,
        energy_j_tok=1.0,
        energy_j_req=1.0,
        scope="node",
        device_j_tok=1.0,
        power_w=1.0,
        ttft_s=1.0,
        tpot_s=1.0,
        concurrency=1.0,
        device_count=1.0,
        binding="compute",
        meets=True,
    )
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


def test_a_route_pays_in_right_answers_for_what_it_saves_in_joules() -> None:
    chosen = given_settings(small=model("Qwen/Qwen3-4B"), route_ratio=0.5, accuracy_ratio=0.8, small_accuracy_ratio=0.6)
    routing, cascade = one("routing", case(), chosen), one("cascade", case(), chosen)
    assert (routing.accuracy.value, routing.accuracy.low, routing.accuracy.high) == pytest.approx((0.7, 0.7, 0.7))
    # the small model is right on 60 %: a judge that knows lets half of all pass, all right; 80 % of the rest are right
    assert (cascade.accuracy.low, cascade.accuracy.high) == pytest.approx((0.7, 0.9))
    assert 1 + routing.answer_change.value == pytest.approx((1 + routing.request_change.value) * 0.8 / 0.7)
    assert cascade.answer_change.low < cascade.answer_change.value < cascade.answer_change.high
    assert one("routing", case(), replace(chosen, accuracy_ratio=None)).answer_change is None
    assert one("batch-x2", case(), chosen).accuracy is None


@given(st.floats(0.01, 0.99), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_no_judge_is_right_more_often_than_is_possible(share: float, small: float, large: float) -> None:
    chosen = given_settings(accuracy_ratio=large, small_accuracy_ratio=small)
    found = routed_accuracy(Route(model("Qwen/Qwen3-4B"), share, cascade=True), chosen)
    assert found is not None and found.value is not None and found.high is not None
    assert min(small, large) - 1e-12 <= found.value <= max(small, large) + 1e-12
    assert found.value <= found.high <= 1.0
