"""Levers on how requests are served: batch, prompts, speculation, routing, length. A case → changed. Pure."""

from __future__ import annotations

from dataclasses import replace

from joulemill.decisions.levers.case import Case, Draft, EarlyExit, Lever, Model, Route, Settings, Transform
from joulemill.physics.serving.deployment import Deployment
from joulemill.wording import percent

#: Tokens of a step under chunked prefill that favors short steps (vLLM's older default).
SMALL_BUDGET_TOK = 2048.0


def batch(factor: float | None) -> Transform:
    """So many times the requests in flight; None: as many as memory and the targets allow."""

    def apply(case: Case, settings: Settings) -> Case | str:
        w = case.workload
        if w.rate_req_s is not None:
            return "the offered rate sets how many are in flight; see consolidation"
        if w.concurrency is None:
            return "as many are in flight as memory, the engine and the targets allow already"
        return replace(case, workload=replace(w, concurrency=None if factor is None else w.concurrency * factor))

    return apply


def small_chunks(case: Case, settings: Settings) -> Case | str:
    """Prompts are computed in smaller pieces."""
    d = case.deployment
    if case.disaggregated or d.prefill is not None:
        return "prompts are computed on other devices"
    if d.max_batched_tok <= SMALL_BUDGET_TOK:
        return f"a step holds {d.max_batched_tok:.0f} tokens already"
    return replace(case, deployment=replace(d, max_batched_tok=SMALL_BUDGET_TOK))


def prefix_cache(case: Case, settings: Settings) -> Case | str:
    """A share of prompt tokens is found in a prefix cache."""
    w = case.workload
    if w.cached_ratio >= settings.cached_ratio:
        return f"{percent(w.cached_ratio)} of the prompt is served from a cache already"
    return replace(case, workload=replace(w, cached_ratio=settings.cached_ratio))


def disaggregated(case: Case, settings: Settings) -> Case | str:
    """Prompts on devices of their own, in the proportion that keeps both pools busy."""
    if case.disaggregated or case.deployment.prefill is not None:
        return "prompts are computed on other devices already"
    beside = not_computed_with(case.deployment)
    if beside:
        return f"disaggregated serving is not modelled together with {beside}"
    return replace(case, disaggregated=True)


def speculation(case: Case, settings: Settings) -> Case | str:
    """A draft proposes tokens and the model verifies them in one step."""
    if case.draft is not None or case.deployment.speculation is not None:
        return "the deployment speculates already"
    beside = not_computed_with(case.deployment)
    if beside:
        return f"speculative decoding is not modelled together with {beside}"
    named = settings.draft or drafting_layers(case.deployment)
    if named is None:
        return "no draft model is named (--draft MODEL), and the model has no layers that draft tokens"
    if named.architecture.vocabulary != case.deployment.architecture.vocabulary:
        ours, theirs = case.deployment.architecture.vocabulary, named.architecture.vocabulary
        if abs(ours - theirs) > 0.02 * ours:
            return f"{named.name} has another vocabulary ({theirs} entries, not {ours}): its drafts cannot be verified"
    return replace(case, draft=Draft(named, settings.draft_count, settings.acceptance_ratio))


def not_computed_with(d: Deployment) -> str | None:
    """What a deployment has that rounds of drafts, pools and early exits are not computed with; None for nothing."""
    parts = {
        "a prefill pool": d.prefill is not None,
        "pipeline stages": d.parallelism.pipeline > 1,
        "drafted tokens": d.speculation is not None,
        "eager steps": d.eager,
        "prompts in steps of their own": not d.chunked_prefill,
    }
    return next((name for name, present in parts.items() if present), None)


def drafting_layers(d: Deployment) -> Model | None:
    """The model's own drafting layers (multi-token prediction) as a model: one of them, and the head."""
    if not d.architecture.mtp:
        return None
    one = replace(d.architecture.mtp[0], count=1)
    return Model("its own drafting layers", replace(d.architecture, groups=(one,), mtp=()), d.precision)


def routed(*, cascade: bool) -> Transform:
    """A share of the requests goes to, or ends at, a small model."""

    def apply(case: Case, settings: Settings) -> Case | str:
        small = settings.small
        if small is None:
            return "no small model is given: --small MODEL serves the easy requests"
        if case.route is not None:
            return "requests are routed already"
        return replace(case, route=Route(small, settings.route_ratio, cascade))

    return apply


def thinking(case: Case, settings: Settings) -> Case | str:
    """Answers are cut to a share of their length."""
    w = case.workload
    length = w.output_tok * settings.thinking_ratio
    if length < 1.0:
        return "answers are a token long already"
    return replace(case, workload=replace(w, output_tok=length))


def early_exit(case: Case, settings: Settings) -> Case | str:
    """A share of the tokens leaves the model early."""
    d = case.deployment
    if case.early_exit is not None:
        return "tokens leave early already"
    beside = not_computed_with(d)
    if beside:
        return f"an early exit is not modelled together with {beside}"
    if case.draft is not None:
        return "a draft's tokens must be verified by all layers"
    return replace(case, early_exit=EarlyExit(settings.exit_token_ratio, settings.exit_depth_ratio))


SHARED = "weights are read once for more sequences; each waits longer"
SERVING_LEVERS = (
    Lever(
        name="batch-x2",
        label="twice the requests in flight",
        family="batch",
        moves=SHARED,
        kind="batch",
        cost="tuning",
        apply=batch(2.0),
    ),
    Lever(
        name="batch-x4",
        label="four times the requests in flight",
        family="batch",
        moves=SHARED,
        kind="batch",
        cost="tuning",
        apply=batch(4.0),
    ),
    Lever(
        name="max-batch",
        label="as many in flight as memory and SLO allow",
        family="batch",
        moves=SHARED,
        kind="batch",
        cost="tuning",
        apply=batch(None),
    ),
    Lever(
        name="small-chunks",
        label="chunked prefill, 2,048 tokens per step",
        family="chunks",
        moves="prompts stall decoding for less at a time; more steps carry them",
        kind="modelled",
        cost="tuning",
        apply=small_chunks,
    ),
    Lever(
        name="prefix-cache",
        label="prefix caching",
        family="prefix",
        moves="prompt tokens computed per request",
        kind="modelled",
        cost="restart",
        apply=prefix_cache,
    ),
    Lever(
        name="disaggregation",
        label="prefill and decode on devices of their own",
        family="disaggregation",
        moves="decode steps carry no prompts; the KV cache crosses the network",
        kind="modelled",
        cost="operations",
        apply=disaggregated,
    ),
    Lever(
        name="speculation",
        label="speculative decoding",
        family="speculation",
        moves="weights are read once for several tokens; rejected ones are wasted",
        kind="modelled",
        cost="train",
        apply=speculation,
    ),
    Lever(
        name="routing",
        label="route the easy share to a small model",
        family="routing",
        moves="weights read per token, on average",
        kind="model",
        cost="other model",
        apply=routed(cascade=False),
    ),
    Lever(
        name="cascade",
        label="a small model tries first",
        family="routing",
        moves="weights read per token; escalated requests cost twice",
        kind="model",
        cost="other model",
        apply=routed(cascade=True),
    ),
    Lever(
        name="thinking-budget",
        label="a budget of thinking tokens",
        family="length",
        moves="tokens per answer, and their context",
        kind="modelled",
        cost="tuning",
        apply=thinking,
    ),
    Lever(
        name="early-exit",
        label="easy tokens leave after half of the layers",
        family="exit",
        moves="layers per token; a layer is read while any sequence needs it",
        kind="modelled",
        cost="retrain",
        apply=early_exit,
    ),
)
