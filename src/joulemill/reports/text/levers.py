"""Levers in the terminal, and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from joulemill.analysis.levers_savings import savings
from joulemill.analysis.levers_start import Start, start_lines, start_of
from joulemill.analysis.report import Report
from joulemill.catalog.levers import QUALITY, evidence_of
from joulemill.decisions.levers.case import LeverOutcome
from joulemill.decisions.levers.study import Combination, Effect, apart, by_use, distinct
from joulemill.jsonable import plain
from joulemill.physics.serving.workload import Workload
from joulemill.prediction.document import architecture_document
from joulemill.prediction.levers import LeversAnswer
from joulemill.reports.text.architecture import doubt
from joulemill.reports.text.page import WIDE, add_row, plain_table, prose
from joulemill.streams import rendered
from joulemill.wording import _percent, amount, digits, percent, quantity, signed, title

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Ideas that are shown of all combinations.
MOST_TOGETHER_SHOWN = 5
MOST_FRONT_SHOWN = 8
#: How the interval of a change is made; one sentence, on every view.
PAIRED = (
    "Changes compare paired predictions, in which common errors cancel. Intervals (80 %) come from measured pairs of "
    "runs that differ in that kind of lever; where there are none, half of the effect is assumed."
)


#: Beside a lever that makes answers shorter.
LENGTH = "fewer tokens per request: ranked by ΔJ/req"
#: Beside other devices: why published changes are no such ones.
DEVICES = "published changes load each device as far as the same TPOT allows"
HELD_RATE = (
    "as many boards at the same offered rate, whatever they could serve: a faster device idles longer, and its idle "
    f"watts count; {DEVICES}. Fewer --devices, or no --rate, come nearer to that"
)
HELD_BATCH = f"as many boards with the same concurrency: a larger device is filled less; {DEVICES}"


def said_workload(workload: Workload, concurrency: float) -> str:
    """The load in words."""
    lengths = f"{workload.input_tok:.0f} input and {workload.output_tok:.0f} output tokens"
    return f"{lengths}, concurrency {concurrency:.0f} per replica"


def heading(levers_answer: LeversAnswer) -> str:
    """The deployment in words."""
    d, layout = levers_answer.answer.deployment, levers_answer.answer.deployment.parallelism
    approximate = "APPROXIMATE (the model is not understood): " if d.architecture.doubts else ""
    return (
        f"{approximate}{levers_answer.answer.question.model} "
        f"in {d.precision.name} on {d.device_count} × {d.device.label} "
        f"(tp {layout.tensor}, dp {layout.data}, replicas {layout.replicas})"
    )


def document(levers_answer: LeversAnswer, report: Report | None = None) -> dict[str, Any]:
    """The JSON document; changes are ratios, unknown is null."""
    study = levers_answer.study
    return {
        "schema_version": "1.0",
        "meets": levers_answer.meets,
        "short_by": [missed.document() for missed in levers_answer.answer.short_by],
        "deployment": levers_answer.answer.question.document() | {"profile": levers_answer.answer.profile},
        "architecture": architecture_document(
            levers_answer.answer.deployment.architecture, levers_answer.answer.deployment.precision
        ),
        "settings": _settings(levers_answer),
        "before": plain(study.before),
        "measured": None if (start := start_of(report, study.before)) is None else start.document(),
        "levers": [_lever(e) for e in by_use(study.effects)],
        "combinations": [_combination(c) for c in apart(study.combinations)[:25]],
        "distinct": [_combination(c) for c in distinct(study.combinations, MOST_TOGETHER_SHOWN)],
        "savings": [saved.document() for saved in savings(levers_answer, report)],
        "front": [_combination(c) for c in study.front],
        "interval": PAIRED,
        "notes": list(levers_answer.notes),
    }


def _settings(levers_answer: LeversAnswer) -> dict[str, Any]:
    s = levers_answer.settings
    values = {k: v for k, v in vars(s).items() if isinstance(v, (int, float))}
    models = {k: getattr(s, k).name if getattr(s, k) else None for k in ("draft", "small", "alternative")}
    return values | models | {"devices": [d.name for d, _ in s.devices]}


def _lever(e: Effect) -> dict[str, Any]:
    about = evidence_of(e.lever.name)
    row: dict[str, Any] = {
        "name": e.lever.name,
        "label": e.lever.label,
        "family": e.lever.family,
        "mechanism": e.lever.moves,
        "applies": e.after is not None,
        "why_not": e.why_not,
        "cost": e.lever.cost,
        "cost_text": about.cost_text,
        "quality": about.quality,
        "quality_text": about.quality_text,
        "evidence": {"effect": about.effect, "conditions": about.conditions, "source": about.source},
        "binds_after": e.after.binding if e.after else None,
        "after": plain(e.after),
    }
    names = ("energy", "rate", "request", "ttft", "tpot", "carbon", "cost")
    row |= {"accuracy": plain(e.accuracy), "answer_change": plain(e.answer_change)}
    return row | {f"{n}_change" if n != "cost" else "price_change": plain(getattr(e, f"{n}_change")) for n in names}


def _combination(c: Combination) -> dict[str, Any]:
    return {
        "levers": list(c.names),
        "energy_change_ratio": c.energy_change_ratio,
        "multiplied_change_ratio": c.multiplied_change_ratio,
        "after": plain(c.after),
    }


def show(answer: LeversAnswer, console: Console, report: Report | None = None) -> None:
    """Print the levers: the ranking, what is saved, combinations, and what does not apply."""
    study, before = answer.study, answer.study.before
    prose(console, *(f"DOES NOT MEET WHAT IS ASKED: {m.text}" for m in answer.answer.short_by), style="bold red")
    prose(
        console,
        heading(answer),
        f"{said_workload(answer.answer.workload, before.concurrency)}; {answer.answer.profile}",
    )
    start = start_of(report, before)
    prose(console, *(start_lines(start) if start is not None else [_before(before)]), "")
    console.print(_ranking([e for e in by_use(study.effects) if e.after is not None], wide=console.width >= WIDE))
    prose(console, *_asides(by_use(study.effects), before.device_count), "")
    _savings(answer, report, console)
    prose(console, "Combinations of different ideas: one joint prediction each (in brackets: the effects multiplied)")
    console.print(_combined(distinct(study.combinations, MOST_TOGETHER_SHOWN), start))
    prose(console, "", "Pareto-optimal combinations in J/token, tok/s and TPOT")
    console.print(_combined(study.front[:MOST_FRONT_SHOWN], start))
    prose(console, "", "Do not apply here")
    console.print(_inapplicable(study.effects))
    doubted = doubt(answer.answer.deployment.architecture)
    notes = (*((doubted,) if doubted else ()), PAIRED, *_assumed(answer), *dict.fromkeys(answer.notes))
    prose(console, "", *(f"note: {line}" for line in notes))


def text(answer: LeversAnswer, report: Report | None = None, width: int = 120) -> str:
    """The same as text of that width."""
    return rendered(lambda console: show(answer, console, report), width)


def _before(before: LeverOutcome) -> str:
    return (
        f"before: {quantity(before.energy_j_tok, 'J/tok')} at the {before.scope}, {digits(before.rate_tok_s)} tok/s, "
        f"TPOT {quantity(before.tpot_s, 's')}, bottleneck {title(before.binding)}"
    )


def _ranking(effects: Sequence[Effect], *, wide: bool) -> Table:
    """The levers that apply, the strongest first; a narrow terminal leaves out latency, J per request and cost."""
    columns = ("lever", "ΔJ/token (80 %)", "Δtok/s", "ΔTTFT", "ΔTPOT", "ΔJ/req", "then limited by", "quality", "cost")
    shown = range(len(columns)) if wide else (0, 1, 2, 4, 6, 7)
    right = {shown.index(i) for i in (2, 3, 4, 5) if i in shown}
    table = plain_table(*(columns[i] for i in shown), right=right)
    table.padding = (0, 2 if wide else 1, 0, 0)
    for e in effects:
        cells = (
            e.lever.name,
            signed(e.energy_change, bounds=True),
            *(signed(c) for c in (e.rate_change, e.ttft_change, e.tpot_change, e.request_change)),
            title(e.after.binding) if e.after else "",
            _quality(e, wide=wide),
            e.lever.cost,
        )
        add_row(table, *(cells[i] for i in shown))
    return table


#: What happens to answers, in the eight letters that a narrow terminal has room for.
_NARROW_QUALITY = {"same": "same", "none": "same", "small": "lower", "unknown": "unknown", "changes": "another"}


def _quality(e: Effect, *, wide: bool) -> str:
    """What happens to answers."""
    quality = evidence_of(e.lever.name).quality
    if not wide:
        return _NARROW_QUALITY[quality]
    return QUALITY[quality].removesuffix(" outputs").replace("not touched", "untouched")


def _asides(effects: Sequence[Effect], devices: float) -> Iterator[str]:
    """What a row of figures leaves out."""
    for e in (e for e in effects if e.after is not None):
        if e.after is not None and e.after.device_count != devices:
            yield f"  {e.lever.name}: {e.after.device_count:.0f} devices"
        if e.lever.family == "length":
            yield f"  {e.lever.name}: {LENGTH} ({signed(e.request_change)})"
        if e.lever.family in ("carbon", "price"):
            other = e.carbon_change if e.lever.family == "carbon" else e.cost_change
            yield f"  {e.lever.name}: {signed(other)} {'gCO2e' if e.lever.family == 'carbon' else 'energy cost'}"
        if e.accuracy is not None:
            yield routed(e)


def _savings(answer: LeversAnswer, report: Report | None, console: Console) -> None:
    saved = savings(answer, report)
    if not saved:
        return
    prose(console, f"Saved {saved[0].period}, for the same tokens")
    table = plain_table("", "", "", right={1, 2})
    for s in saved:
        money = "" if s.cost_currency is None else f"{digits(s.cost_currency)} {s.currency}"
        add_row(table, f"  {s.lever}", amount(s.energy_j, "J"), money)
    console.print(table)
    prose(console, "")


def _combined(combinations: Sequence[Combination], start: Start | None) -> Table:
    """Combinations with their figures; what they combine may take several lines."""
    table = plain_table("ΔJ/token", "", "J/token", "tok/s", "TPOT", "levers", right={0, 1, 2, 3, 4}, fold=5)
    for c in combinations:
        multiplied = "" if len(c.names) < 2 else f"({_percent(c.multiplied_change_ratio)} %)"
        change = f"{_percent(c.energy_change_ratio)} %"
        add_row(table, change, multiplied, *after_figures(c, start), " + ".join(c.names) or "unchanged")
    return table


def _inapplicable(effects: Sequence[Effect]) -> Table:
    table = plain_table("", "", fold=1)
    for e in effects:
        if e.why_not is not None:
            add_row(table, f"  {e.lever.name}", e.why_not)
    return table


def routed(e: Effect) -> str:
    """What a route does to answers, and to the joules per correct one."""
    accuracy = e.accuracy
    if accuracy is None or accuracy.value is None:
        return ""
    above = accuracy.high is not None and accuracy.high > accuracy.value
    best = f", {percent(accuracy.high)} with the best judge" if above else ""
    answers = signed(e.answer_change, bounds=True)
    return (
        f"  {e.lever.name}: {percent(accuracy.value)} correct answers (declared){best}; J per correct answer {answers}"
    )


def after_figures(c: Combination, start: Start | None) -> tuple[str, str, str]:
    """J/token, tok/s and TPOT after a combination; of a measured run its own figures × the change."""
    energy, rate, tpot = (1.0, 1.0, 1.0) if start is None else (start.energy_ratio, start.rate_ratio, start.tpot_ratio)
    return (
        quantity(c.after.energy_j_tok * energy, "J/tok"),
        digits(c.after.rate_tok_s * rate),
        quantity(c.after.tpot_s and c.after.tpot_s * tpot, "s"),
    )


def held(levers_answer: LeversAnswer) -> str:
    """What is held fixed where a lever changes the device, so that published changes differ from ours."""
    return HELD_BATCH if levers_answer.answer.workload.rate_req_s is None else HELD_RATE


def _assumed(levers_answer: LeversAnswer) -> Sequence[str]:
    s = levers_answer.settings
    applied = {e.lever.name for e in levers_answer.study.effects if e.after is not None}
    notes = {
        "speculation": f"speculation: {s.draft_count} drafted, {percent(s.acceptance_ratio)} accepted (--acceptance)",
        "prefix-cache": f"prefix cache: {percent(s.cached_ratio)} of prompt tokens are cache hits (--hit)",
        "routing": f"routing and cascade: {percent(s.route_ratio)} of requests stay with the small model (--routed)",
        "thinking-budget": f"thinking budget: answers of {percent(s.thinking_ratio)} of their length (--thinking)",
        "clock-lock": "locked clock: dynamic power as clock^2.5; static power and memory unchanged (assumed)",
        "early-exit": f"early exit: {percent(s.exit_token_ratio)} of tokens exit after half of the layers (assumed)",
        "carbon-shift": f"shifting: {percent(s.shift_ratio)} at {percent(s.shifted_ratio)} of carbon, price (assumed)",
        "disaggregation": "disaggregation: a fleet large enough for the proportion of pools, of as many devices",
    }
    if levers_answer.answer.workload.rate_req_s is None and any(name.startswith("batch-") for name in applied):
        notes["max-batch"] = notes["batch-x2"] = (
            "higher concurrency needs as many more requests; --rate REQ/S studies a demand that stays the same"
        )
    lines = [f"device-…: {held(levers_answer)}"] if any(name.startswith("device-") for name in applied) else []
    lines += [text for name, text in notes.items() if name in applied]
    differing = {
        n for c in levers_answer.study.front for n in c.names if evidence_of(n).quality not in ("same", "none")
    }
    lines = list(dict.fromkeys(lines))
    if differing:
        lines.append(f"measure the quality with {', '.join(sorted(differing))} (or --same-outputs leaves them out)")
    return lines
