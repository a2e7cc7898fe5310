"""What a case does: the prediction function, and beside it what it leaves to levers. Pure.

Speculation, prompts on other devices and early exit change one part of a step each. With b decoding sequences a rank,
O tokens per answer, and from the step model t_p, e_p (what a request's prefill adds) and t_r, e_r (a round):

    T = t_r + (b·E/O)·t_p        J = e_r + (b·E/O)·e_p        rate = b·E/T        J/tok = J/(b·E)

E tokens a round: 1, or what a draft and its verification make. For a plain round T and J are ``serving.steady``'s.
A verification is a step with 1 + k queries a sequence: weights and keys are read once, arithmetic is done 1 + k times.
Under a power limit all of it runs at the highest clock that fits (``serving.power``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from joulemill.decisions.levers.case import Case, Draft, EarlyExit, LeverOutcome, Route
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure
from joulemill.physics.hardware.node import node_figure
from joulemill.physics.hardware.site import Site, it_limit_figure
from joulemill.physics.production.prediction import Prediction, held_ratio, predict
from joulemill.physics.serving.batch import demand_of, swept
from joulemill.physics.serving.clock import at_locked_clock
from joulemill.physics.serving.continuous_batching import Demand, Rates, Steady, evenness_ratio, uncaptured_s
from joulemill.physics.serving.counts import Counts, StepLoad, counts, decode_load, prefill_load, verify_load
from joulemill.physics.serving.deployed import shard_of
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.disaggregation import disaggregated_latency
from joulemill.physics.serving.power import StepWork, limited, step_work
from joulemill.physics.serving.shard import ShardTable, link_time_s, shard, shard_table
from joulemill.physics.serving.step import times
from joulemill.physics.serving.workload import Workload


@dataclass(frozen=True, slots=True)
class _Round:
    """One decode round of a rank: what a device does in it, tokens of a sequence."""

    work: StepWork
    tokens_tok: float
    binding: str


def outcome(case: Case, rates: Rates) -> LeverOutcome:
    """What ``case`` does. InputError where it does not fit the devices, or their joules are unknown."""
    device = case.deployment.device
    if device.tdp_w is None:
        raise InputError(
            f"TDP of {device.label} is not known, so its joules are not, and levers are ranked by them; "
            "give a TOML file with its facts, tdp included (--device my.toml)"
        )
    if case.route is not None:
        return _routed(case, rates, case.route)
    prediction = predict(case.deployment, case.workload, rates, lambda _: 0.0, case.site, prices=False)
    plain = _plain(case, prediction)
    if case.draft is None and case.early_exit is None and not case.disaggregated:
        return plain
    deployment, own = at_locked_clock(case.deployment, rates)
    return _changed(replace(case, deployment=deployment), own, prediction, plain)


def _plain(case: Case, p: Prediction) -> LeverOutcome:
    return _settled(
        case,
        ((p.rate_tok_s.value or 0.0) / p.held_ratio, p.device_j_tok.value or 0.0),
        (math.inf if p.ttft_s.value is None else p.ttft_s.value, p.tpot_s.value),  # no bound under overload
        p.batch.concurrency,
        p.binding.name,
    )


def _settled(
    case: Case,
    rate_and_energy: tuple[float, float],
    latency: tuple[float, float | None],
    concurrency: float,
    binding: str,
) -> LeverOutcome:
    """From rate and device J/tok to node and site, carbon and cost; the rate is what the site's limits leave."""
    rate, device_j = rate_and_energy
    d, w, site = case.deployment, case.workload, case.site
    boards = d.device_count + case.parked_count
    device_j += case.parked_count * (d.device.bare_w or 0.0) / rate
    power = device_j * rate
    energy, scope = device_j, "device"
    if d.node is not None:
        watts = node_figure(Figure(power, "W", Basis.MODELLED), boards, d.node).value or 0.0
        energy, scope = watts / rate, "node"
        power = watts
    held = held_ratio(Figure(power, "W", Basis.MODELLED), site)
    binding = _site_binding(site) if held < 1.0 and site is not None else binding
    if scope == "node" and site is not None and site.pue_ratio is not None:
        energy, scope = energy * site.pue_ratio, "site"
    carbon = cost = None
    if scope == "site" and site is not None:
        carbon = None if site.carbon_gco2e_j is None else energy * site.carbon_gco2e_j
        cost = None if site.price_currency_j is None else energy * site.price_currency_j
    ttft, tpot = latency
    meets = _within(ttft, w.ttft_limit_s) and _within(tpot, w.tpot_limit_s)
    return LeverOutcome(
        rate_tok_s=rate * held,
        energy_j_tok=energy,
        energy_j_req=energy * w.output_tok,
        scope=scope,
        device_j_tok=device_j,
        power_w=device_j * rate * held,
        ttft_s=ttft,
        tpot_s=tpot,
        concurrency=concurrency,
        device_count=boards,
        binding=binding,
        meets=meets,
        carbon_gco2e_tok=carbon,
        cost_currency_tok=cost,
    )


def _within(time_s: float | None, limit_s: float | None) -> bool:
    return time_s is None or limit_s is None or time_s <= limit_s


def _site_binding(site: Site) -> str:
    """Which of the site's limits is the lower one."""
    power, cooling = it_limit_figure(site).value, site.cooling_limit_w
    return "cooling" if power is None or (cooling is not None and cooling < power) else "power"


def _changed(case: Case, rates: Rates, p: Prediction, plain: LeverOutcome) -> LeverOutcome:
    d, w = case.deployment, case.workload
    share = shard_of(d)
    table = shard_table([share])
    steady_state = swept(d, w, share, rates, np.array([p.batch.concurrency]))
    demand = demand_of(d, w, np.array([p.batch.concurrency]), table)
    b = steady_state.decode_req / table.data_count
    step = _decode_round(table, rates, steady_state)
    if case.early_exit is not None:
        step = _early(table, rates, steady_state, case.early_exit)
    if case.draft is not None:
        step = _speculated(case.deployment, table, rates, steady_state, case.draft)
    extra = _prefill_share(table, rates, steady_state, w)
    prompts = _pool(table, rates, demand, steady_state, d) if case.disaggregated else None
    join = b * step.tokens_tok / w.output_tok
    work = step.work if prompts is not None else step.work.plus(extra, join)
    held = limited(table, rates.power, work, demand.limit_w)
    energy_j, time_s = held.energy_j, held.time_s
    tokens = float((b * step.tokens_tok * table.data_count)[0])
    full = tokens / float(time_s[0]) * d.parallelism.replicas
    joule = float(energy_j[0]) * d.parallelism.devices / tokens
    tpot = plain.tpot_s and plain.tpot_s * float(time_s[0] / steady_state.step_s[0]) / step.tokens_tok
    ttft = plain.ttft_s
    if prompts is not None:
        prompt_s, prompt_j = prompts
        pools = tokens / float(time_s[0]) / w.output_tok * prompt_s
        full, joule = full / (1.0 + pools), joule + prompt_j * d.parallelism.devices / w.output_tok
        servers = np.array([max(pools * table.data_count[0] * d.parallelism.replicas, 1.0)])
        late, each = disaggregated_latency(
            table, table, rates, demand, servers, demand.concurrency * d.parallelism.replicas
        )
        ttft, tpot = float(late[0]), float(each[0]) if w.has_tpot else None
    binding = plain.binding if plain.binding == "demand" else step.binding
    return _settled(case, _offered(d, w, full, joule), (ttft, tpot), p.batch.concurrency, binding)


def _offered(d: Deployment, w: Workload, full_tok_s: float, joule: float) -> tuple[float, float]:
    """Rate and J/tok where less is asked than could be made: the rest of the time the devices idle."""
    if w.rate_req_s is None:
        return full_tok_s, joule
    used = min(1.0, w.rate_req_s * w.output_tok / full_tok_s)
    idle = d.device.resting_w or np.nan
    return full_tok_s * used, joule + idle * d.device_count * (1.0 - used) / (full_tok_s * used)


def _decode_round(t: ShardTable, rates: Rates, steady_state: Steady) -> _Round:
    time_s = steady_state.decode.device_s + steady_state.host_s
    work = step_work(t, rates.power, steady_state.decode, time_s)
    return _Round(work, 1.0, _tightest(counts(t, _load(t, rates, steady_state))))


def _prefill_share(t: ShardTable, rates: Rates, steady_state: Steady, w: Workload) -> StepWork:
    """What a request's prefill adds to the steps of a rank, a device."""
    plain_s = steady_state.decode.device_s + steady_state.host_s
    mixed_s = plain_s + steady_state.prompts_added_s
    often = steady_state.prefill_ratio / (steady_state.decode_req / t.data_count / w.output_tok)
    plain = step_work(t, rates.power, steady_state.decode, plain_s)
    return step_work(t, rates.power, steady_state.mixed, mixed_s).plus(plain, -1.0).scaled(often)


def _load(t: ShardTable, rates: Rates, steady_state: Steady) -> StepLoad:
    """A step that decodes what is in flight."""
    return decode_load(
        steady_state.decode_req / t.data_count, steady_state.context_tok, np.array([rates.step.evenness_ratio])
    )


def _speculated(d: Deployment, t: ShardTable, rates: Rates, steady_state: Steady, draft: Draft) -> _Round:
    k, alone = float(draft.draft_count), _load(t, rates, steady_state)
    checks = counts(t, verify_load(alone, k))
    check = times(checks, rates.step)
    small = shard_table([shard(draft.model.architecture, draft.model.precision, d.device, d.parallelism)])
    each = times(counts(small, alone), rates.step)
    check_s = check.device_s + steady_state.host_s
    drafts = step_work(small, rates.power, each, each.device_s)
    work = step_work(t, rates.power, check, check_s).plus(drafts, k)
    return _Round(work, draft.accepted_tok, _tightest(checks))


def _early(t: ShardTable, rates: Rates, steady_state: Steady, early: EarlyExit) -> _Round:
    """The layers behind the exit see fewer sequences; a layer is read as long as one sequence still needs it."""
    b = steady_state.decode_req / t.data_count
    left = b * (1.0 - early.token_ratio)
    alone = _load(t, rates, steady_state)
    few = decode_load(np.maximum(left, 1.0), alone.context_tok, alone.evenness_ratio)
    late = times(counts(t, few), rates.step)
    late_s = late.device_s + steady_state.host_s
    whole = _decode_round(t, rates, steady_state)
    some = np.minimum(left, 1.0)
    behind, before = 1.0 - early.depth_ratio, early.depth_ratio
    work = whole.work.scaled(before).plus(step_work(t, rates.power, late, late_s), behind * some)
    return _Round(work, 1.0, whole.binding)


def _pool(t: ShardTable, rates: Rates, demand: Demand, steady_state: Steady, d: Deployment) -> tuple[float, float]:
    """Time a request on a prefill replica [s], joules per device [J]: full steps of whole prompts, keys sent on."""
    computed = demand.computed_tok
    prompts = np.maximum(np.floor(demand.max_batched_tok / computed), 1.0)
    past = demand.input_tok - 0.5 * computed
    tokens, zero = prompts * computed, np.zeros(1)
    nothing = decode_load(zero, zero, evenness_ratio(rates.step, demand))
    work = times(counts(t, prefill_load(nothing, tokens, (past, computed), tokens, prompts)), rates.step)
    time_s = uncaptured_s(rates.host, work) + rates.host.step_s
    held = limited(t, rates.power, step_work(t, rates.power, work, time_s), demand.limit_w)
    joule, time_s = held.energy_j, held.time_s
    keys = (t.kv_store_byte_0 + t.kv_store_byte_1) * demand.input_tok + t.state_byte
    sent_j = 2.0 * rates.power.link_j_byte * keys
    ranks = float(t.data_count[0])
    return float((time_s / prompts)[0]) / ranks, float((joule / prompts + sent_j)[0]) / ranks


def _tightest(work: Counts) -> str:
    """The ideal ceiling that a round's useful work comes closest to."""
    t = work.table
    compute = work.flop_0 / t.peak_0_flop_s + work.flop_1 / t.peak_1_flop_s + work.expert_flop / t.expert_peak_flop_s
    seconds = {
        "compute": float(compute[0]),
        "memory_bandwidth": float((work.byte / t.bandwidth_byte_s)[0]),
        "interconnect": float(link_time_s(t, work.reduce_byte, work.exchange_byte)[0]),
    }
    return max(seconds, key=lambda k: seconds[k])


def _routed(case: Case, rates: Rates, route: Route) -> LeverOutcome:
    """Two models on one pool of devices, each on the share of it that keeps both busy."""
    large = outcome(replace(case, route=None), rates)
    small_case = replace(
        case,
        route=None,
        draft=None,
        early_exit=None,
        deployment=replace(case.deployment, architecture=route.model.architecture, precision=route.model.precision),
    )
    small = outcome(small_case, rates)
    onward = 1.0 - route.share_ratio
    tried = 1.0 if route.cascade else route.share_ratio
    joule = onward * large.device_j_tok + tried * small.device_j_tok
    if case.workload.rate_req_s is None:
        rate = 1.0 / (onward / large.rate_tok_s + tried / small.rate_tok_s)
    else:
        rate = large.rate_tok_s
    ttft = onward * large.ttft_s + route.share_ratio * small.ttft_s
    later, small_later = large.tpot_s or 0.0, small.tpot_s or 0.0  # an answer of one token has no later ones
    tpot = onward * later + route.share_ratio * small_later if case.workload.has_tpot else None
    if route.cascade:
        ttft += onward * (small.ttft_s + small_later * case.workload.output_tok)
    return _settled(case, (rate, joule), (ttft, tpot), large.concurrency, large.binding)
