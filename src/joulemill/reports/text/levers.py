"""Levers as text and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from joulemill.analysis.levers_savings import savings
from joulemill.analysis.levers_start import Start, start_lines, start_of
from joulemill.analysis.report import Report
from joulemill.analysis.serialization import plain
from joulemill.catalog.levers import QUALITY, evidence_of
from joulemill.decisions.levers.study import Combination, Effect, apart, by_use, distinct
from joulemill.physics.serving.workload import Workload
from joulemill.prediction.document import architecture_document
from joulemill.prediction.levers import LeversAnswer
from joulemill.reports.text.architecture import doubt
from joulemill.wording import _percent, quantity, signed, title

#: Ideas that are shown of all combinations.
MOST_TOGETHER_SHOWN = 5
#: How the interval of a change is made; one sentence, on every view.
PAIRED = (
    "Changes are of paired predictions: what both have in common cancels. Intervals (80 %) come from measured pairs of "
    "runs that differ in that kind of lever; where none do, half of the effect is assumed."
)


#: Beside a lever that makes answers shorter.
LENGTH = "fewer tokens per request: ranked by ΔJ/req"
#: Beside other devices: why published changes are no such ones.
DEVICES = "published changes load each device as far as the same TPOT allows"
HELD_RATE = (
    "as many boards at the offered rate as it is, whatever they could serve: a faster device idles longer, and "
    f"its idle watts count; {DEVICES}. Fewer --devices, or no --rate, come nearer to that"
)
HELD_BATCH = f"as many boards with as many requests in flight: a larger device is filled less; {DEVICES}"


def said_workload(workload: Workload, batch_req: float) -> str:
    """The load in words."""
    return f"{workload.input_tok:.0f} tokens in, {workload.output_tok:.0f} out, {batch_req:.0f} in flight per replica"


def heading(found: LeversAnswer) -> str:
    """The deployment in words."""
    d, cut = found.answer.deployment, found.answer.deployment.parallelism
    approximate = "APPROXIMATE (the model is not understood): " if d.architecture.doubts else ""
    return (
        f"{approximate}{found.answer.question.model} in {d.precision.name} on {d.device_count} × {d.device.label} "
        f"(tp {cut.tensor}, dp {cut.data}, replicas {cut.replicas})"
    )


def document(found: LeversAnswer, report: Report | None = None) -> dict[str, Any]:
    """The JSON document; changes are ratios, unknown is null."""
    study = found.study
    return {
        "schema_version": "1.0",
        "meets": found.meets,
        "short_by": [missed.document() for missed in found.answer.short_by],
        "deployment": found.answer.question.document() | {"profile": found.answer.profile},
        "architecture": architecture_document(found.answer.deployment.architecture, found.answer.deployment.precision),
        "settings": _settings(found),
        "before": plain(study.before),
        "measured": None if (start := start_of(report, study.before)) is None else start.document(),
        "levers": [_lever(e) for e in by_use(study.effects)],
        "combinations": [_combination(c) for c in apart(study.combinations)[:25]],
        "distinct": [_combination(c) for c in distinct(study.combinations, MOST_TOGETHER_SHOWN)],
        "savings": [saved.document() for saved in savings(found, report)],
        "front": [_combination(c) for c in study.front],
        "interval": PAIRED,
        "notes": list(found.notes),
    }


def _settings(found: LeversAnswer) -> dict[str, Any]:
    s = found.settings
    values = {k: v for k, v in vars(s).items() if isinstance(v, (int, float))}
    models = {k: getattr(s, k).name if getattr(s, k) else None for k in ("draft", "small", "alternative")}
    return values | models | {"devices": [d.name for d, _ in s.devices]}


def _lever(e: Effect) -> dict[str, Any]:
    about = evidence_of(e.lever.name)
    row: dict[str, Any] = {
        "name": e.lever.name, "label": e.lever.label, "family": e.lever.family, "mechanism": e.lever.moves,
        "applies": e.after is not None, "why_not": e.why_not, "cost": e.lever.cost, "cost_text": about.cost_text,
        "quality": about.quality, "quality_text": about.quality_text,
        "evidence": {"effect": about.effect, "conditions": about.conditions, "source": about.source},
        "binds_after": e.after.binding if e.after else None, "after": plain(e.after),
    }  # fmt: skip
    names = ("energy", "rate", "request", "ttft", "tpot", "carbon", "cost")
    row |= {"accuracy": plain(e.accuracy), "answer_change": plain(e.answer_change)}
    return row | {f"{n}_change" if n != "cost" else "price_change": plain(getattr(e, f"{n}_change")) for n in names}


def _combination(c: Combination) -> dict[str, Any]:
    return {
        "levers": list(c.names), "energy_change_ratio": c.energy_change_ratio,
        "multiplied_change_ratio": c.multiplied_change_ratio, "after": plain(c.after),
    }  # fmt: skip


HEAD = (
    f"{'lever':<22}{'ΔJ/token (80 %)':<27}{'Δtok/s':>9}{'ΔTTFT':>9}{'ΔTPOT':>9}{'ΔJ/req':>9}  "
    f"{'binds after':<18}{'quality':<15}cost"
)


def text(found: LeversAnswer, report: Report | None = None) -> str:
    """The page that people read."""
    return "\n".join(_lines(found, report)) + "\n"


def _lines(found: LeversAnswer, report: Report | None) -> Iterator[str]:
    study, before = found.study, found.study.before
    for missed in found.answer.short_by:
        yield f"DOES NOT MEET WHAT IS ASKED: {missed.text}"
    yield heading(found)
    yield f"{said_workload(found.answer.workload, before.batch_req)}; {found.answer.profile}"
    start = start_of(report, before)
    if start is not None:
        yield from start_lines(start)
    else:
        yield (
            f"before: {quantity(before.energy_j_tok, 'J/tok')} at the {before.scope}, {before.rate_tok_s:.4g} tok/s, "
            f"{quantity(before.tpot_s, 's')} a token, {title(before.binding)} binds"
        )
    yield ""
    yield HEAD
    yield from (_row(e, before.device_count) for e in by_use(study.effects) if e.after is not None)
    yield from (routed(e) for e in study.effects if e.accuracy is not None)
    yield ""
    saved = savings(found, report)
    if saved:
        yield f"Saved {saved[0].period}, for the same tokens"
        yield from (s.line() for s in saved)
        yield ""
    yield "Together, ideas that differ (one joint prediction each; in brackets the product of the individual effects)"
    yield from (_joint(c, start) for c in distinct(study.combinations, MOST_TOGETHER_SHOWN))
    yield "Pareto-optimal combinations (J/token, tok/s, TPOT):"
    yield from (_point(c, start) for c in study.front[:8])
    yield ""
    yield "Do not apply here"
    yield from (f"  {e.lever.name:<22}{e.why_not}" for e in study.effects if e.why_not is not None)
    yield ""
    doubted = doubt(found.answer.deployment.architecture)
    for line in (*((doubted,) if doubted else ()), PAIRED, *_assumed(found), *dict.fromkeys(found.notes)):
        yield f"note: {line}"


def _row(e: Effect, devices: float) -> str:
    after = e.after
    binds = title(after.binding) if after else ""
    more = f" ({after.device_count:.0f} devices)" if after and after.device_count != devices else ""
    changes = (e.rate_change, e.ttft_change, e.tpot_change, e.request_change)
    cells = "".join(f"{signed(c):>9}" for c in changes)
    quality = QUALITY[evidence_of(e.lever.name).quality]
    shown = e.energy_change
    if e.lever.family == "length":
        more = f" ({LENGTH})"
    if e.lever.family in ("carbon", "price"):
        other = e.carbon_change if e.lever.family == "carbon" else e.cost_change
        more = f" ({signed(other)} {'gCO2e' if e.lever.family == 'carbon' else 'energy cost'})"
    return f"{e.lever.name:<22}{signed(shown, bounds=True):<27}{cells}  {binds:<18}{quality:<15}{e.lever.cost}{more}"


def routed(e: Effect) -> str:
    """What a route does to answers, and to the joules of a right one."""
    seen = e.accuracy
    if seen is None or seen.value is None:
        return ""
    best = f", {seen.high:.0%} with the best judge" if seen.high is not None and seen.high > seen.value else ""
    answers = signed(e.answer_change, bounds=True)
    return f"  {e.lever.name}: {seen.value:.0%} correct answers (declared){best}; J per correct answer {answers}"


def after_figures(c: Combination, start: Start | None) -> tuple[str, str, str]:
    """J/token, tok/s and time a token after a combination; of a measured run its own figures × the change."""
    energy, rate, tpot = (1.0, 1.0, 1.0) if start is None else (start.energy_ratio, start.rate_ratio, start.tpot_ratio)
    return (
        quantity(c.after.energy_j_tok * energy, "J/tok"),
        f"{c.after.rate_tok_s * rate:.4g} tok/s",
        quantity(c.after.tpot_s * tpot, "s"),
    )


def _joint(c: Combination, start: Start | None) -> str:
    energy, rate, tpot = after_figures(c, start)
    return (
        f"  {_percent(c.energy_change_ratio)} % ({_percent(c.multiplied_change_ratio)} %)  {' + '.join(c.names)}: "
        f"{energy}, {rate}, {tpot} a token"
    )


def _point(c: Combination, start: Start | None) -> str:
    names = " + ".join(c.names) or "as it is"
    energy, rate, tpot = after_figures(c, start)
    return f"  {energy:<14}{rate:>15} {tpot:>9} a token  {names}"


def held(found: LeversAnswer) -> str:
    """What is held fixed where a lever changes the device, so that published changes differ from ours."""
    return HELD_BATCH if found.answer.workload.rate_req_s is None else HELD_RATE


def _assumed(found: LeversAnswer) -> Sequence[str]:
    s = found.settings
    applied = {e.lever.name for e in found.study.effects if e.after is not None}
    notes = {
        "speculation": f"speculation: {s.draft_count} drafted, accepted at {s.acceptance_ratio:.0%} (--acceptance)",
        "prefix-cache": f"prefix cache: {s.cached_ratio:.0%} of prompt tokens found (--hit)",
        "routing": f"routing and cascade: {s.route_ratio:.0%} of requests stay with the small model (--routed)",
        "thinking-budget": f"thinking budget: answers of {s.thinking_ratio:.0%} of their length (--thinking)",
        "clock-lock": "locked clock: dynamic power as clock^2.5, static power and memory as they are (assumed)",
        "early-exit": f"early exit: {s.exit_token_ratio:.0%} of the tokens leave after half of the layers (assumed)",
        "carbon-shift": f"shifting: {s.shift_ratio:.0%} at {s.shifted_ratio:.0%} of carbon or price (assumed)",
        "disaggregation": "disaggregation: a fleet large enough for the proportion of pools, of as many devices",
    }  # fmt: skip
    if found.answer.workload.rate_req_s is None and any(name.startswith("batch-") for name in applied):
        notes["batch-most"] = notes["batch-x2"] = (
            "more in flight needs as many more requests; --rate REQ/S studies a demand that stays as it is"
        )
    said = [f"device-…: {held(found)}"] if any(name.startswith("device-") for name in applied) else []
    said += [text for name, text in notes.items() if name in applied]
    differing = {n for c in found.study.front for n in c.names if evidence_of(n).quality not in ("same", "none")}
    said = list(dict.fromkeys(said))
    if differing:
        said.append(
            f"quality is to be measured with {', '.join(sorted(differing))} (or --same-outputs leaves them out)"
        )
    return said
