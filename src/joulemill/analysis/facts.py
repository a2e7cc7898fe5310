"""Counts, latencies, quality, client, conditions and series of a measured run, for the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from joulemill.analysis import report as doc
from joulemill.analysis.command_line import command_line
from joulemill.analysis.conditions import Conditions, Fact
from joulemill.analysis.load_description import load_text, start_text
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger import latency as seen
from joulemill.ledger.account import Account
from joulemill.ledger.client_check import client_verdict, is_closed, judged_requests, quiet_verdict
from joulemill.ledger.continuity import outages
from joulemill.ledger.manifest import Manifest, ManifestPart, StatedQuality, TaskAccuracy, document
from joulemill.ledger.record import RunRecord
from joulemill.ledger.window import load_requests
from joulemill.statistics.normal import Z_95
from joulemill.statistics.ratio import wilson

#: Pictures need no more points than this; a longer series is thinned by taking means.
POINTS = 400
#: Longer texts of a server or a file are cut in a report, longer lists too.
LONGEST_TEXT, LONGEST_LIST = 300, 50
#: A server that restarted more often in one load is several servers, whose pages take turns. Assumed.
MOST_RESTARTS = 3
#: q*: an answer that scores at least this is accepted. All scorers give 0 or 1.
PASS_SCORE = 1.0


def percentiles(distribution: seen.Distribution) -> doc.Percentiles:
    """A distribution in the report's shape."""
    return doc.Percentiles(
        distribution.p50_s, distribution.p90_s, distribution.p99_s, distribution.mean_s, distribution.n
    )


def latency(account: Account) -> doc.Latency:
    """Latencies of the requests sent in the window (of all the load's, where the window is too short for any)."""
    latencies = account.latency if account.latency.ttft.n else account.load_latency
    targets = latencies.targets
    slo = doc.Slo(targets.ttft_s, targets.tpot_s, latencies.attained_ratio, len(latencies.met))
    return doc.Latency(
        percentiles(latencies.ttft),
        percentiles(latencies.ttft_from_schedule),
        percentiles(latencies.tpot),
        percentiles(latencies.itl),
        percentiles(latencies.e2e),
        slo,
    )


def tokens(account: Account) -> doc.Tokens:
    """Token counts of the window. Requests that straddle an edge count with their share, rounded to whole tokens."""
    count = account.tokens
    if count is None:
        return doc.Tokens(
            output=0,
            prompt=0,
            prompt_cached=None,
            prompt_computed=None,
            reasoning=None,
            by_metrics={},
            mismatch_ratio=None,
            note="no tokens were delivered in a window",
        )
    notes = list(dict.fromkeys(f.detail for f in count.findings))
    if count.uncounted_chunk_count:
        notes.append(f"{count.uncounted_chunk_count} chunks came from requests whose usage the server never gave")
    return doc.Tokens(
        output=round(count.output_tok),
        prompt=round(count.prompt_tok),
        prompt_cached=None if count.cached_tok is None else round(count.cached_tok),
        prompt_computed=None if count.computed_tok is None else round(count.computed_tok),
        reasoning=count.reasoning_tok,
        by_metrics={**{f"usage_{k}": v for k, v in count.by_usage.items()}, **count.by_metrics},
        mismatch_ratio=count.mismatch_ratio,
        note="; ".join(notes) or None,
        cached_unexplained=None if count.caching is None else round(count.caching.unexplained_tok),
        cached_unexplained_ratio=None if count.caching is None else count.caching.unexplained_ratio,
    )


def status(record: RunRecord) -> tuple[str, str | None]:
    """How the run ended, and why: where the server restarted under its load it failed, whatever its writer says."""
    broken = outages(record)
    restarts = [o for o in broken if o.kind == "restarted"]
    # Counters that fall again and again are pages of several servers behind a balancer, each told as it is.
    if record.status == "complete" and 1 <= len(restarts) <= MOST_RESTARTS:
        return "failed", f"the server failed: {'; '.join(o.text for o in broken)}"
    return record.status, record.status_reason


def requests(account: Account) -> doc.Requests:
    """How the load's requests ended."""
    latencies = account.load_latency
    outcomes = {str(k): v for k, v in latencies.by_outcome.items()}
    return doc.Requests(
        latencies.sent, latencies.sent - latencies.failed, account.requests_in_window, latencies.retries, outcomes
    )


def quality(record: RunRecord) -> doc.Quality:
    """Accuracy with a Wilson interval; unanswered questions are counted apart and score nothing either way."""
    scored = [a for a in record.quality if a.score is not None]
    stated_quality = record.manifest.asked.quality_stated
    if stated_quality and not record.quality:
        return _stated_quality(stated_quality)
    if not scored:
        name = record.manifest.asked.quality
        asked = any(r.phase == "quality" for r in record.requests) or record.phase("quality") is not None
        why = "no question was answered" if record.quality or asked else "no quality set was asked"
        if name and not record.quality and not asked:
            why = f"the quality set {str(name)[:80]!r} was to be asked, and no answer is in the run folder"
        return doc.Quality(accuracy=unknown("1", why), task=None, questions=len(record.quality), correct=None)
    right = sum(a.score or 0.0 for a in scored)
    low, high = wilson(right, len(scored)) or (None, None)
    lost = len(record.quality) - len(scored)
    tasks: dict[str, doc.TaskQuality] = {}
    for task in sorted({a.task for a in scored}):
        scores = [a.score or 0.0 for a in scored if a.task == task]
        tasks[task] = doc.TaskQuality(questions=len(scores), correct=sum(scores), accuracy=sum(scores) / len(scores))
    note = f"{lost} questions went unanswered and are left out" if lost else None
    figure = Figure(
        right / len(scored), "1", Basis.MEASURED, low=low, high=high, level=0.95, reason=note, source="Wilson interval"
    )
    name = record.manifest.asked.quality
    accepted = _accepted_tokens(record)
    return doc.Quality(
        accuracy=figure,
        task=str(name) if name else ", ".join(tasks),
        questions=len(scored),
        correct=right,
        by_task=tasks,
        pass_score=PASS_SCORE,
        accepted_token_ratio=accepted,
    )


def _accepted_tokens(record: RunRecord) -> Figure:
    """Share of the quality set's output tokens in answers that score q* or more; unscored answers' tokens count too."""
    scores = {a.request_id: a.score for a in record.quality}
    spent = [(r.output_tok or 0, scores.get(r.id)) for r in record.requests if r.phase == "quality"]
    total = sum(n for n, _ in spent)
    if not total:
        return unknown("1", "how many tokens the answers took is not known")
    kept = sum(n for n, s in spent if s is not None and s >= PASS_SCORE)
    return Figure(kept / total, "1", Basis.MEASURED, source=f"output tokens of answers that score {PASS_SCORE:g}")


def _stated_quality(stated_quality: StatedQuality) -> doc.Quality:
    """Accuracy that another tool found, by its own standard error: declared, since nothing here saw it asked."""
    value, half, asked = stated_quality.accuracy, Z_95 * stated_quality.stderr, stated_quality.questions
    whose = f"{stated_quality.tool} asked {stated_quality.model or 'a model it does not name'}"
    note = f"{whose}; the user states that this is the served model"
    source = f"{stated_quality.tool} results {stated_quality.file}"
    low, high = max(value - half, 0.0), min(value + half, 1.0)
    figure = Figure(value, "1", Basis.DECLARED, low=low, high=high, level=0.95, reason=note, source=source)
    tasks = {name: _stated_task(task) for name, task in (stated_quality.tasks or {}).items()}
    return doc.Quality(accuracy=figure, task=", ".join(tasks), questions=asked, correct=value * asked, by_task=tasks)


def _stated_task(task: TaskAccuracy) -> doc.TaskQuality:
    return doc.TaskQuality(questions=task.questions, accuracy=task.accuracy, stderr=task.stderr, metric=task.metric)


def tokens_per_correct(record: RunRecord, accuracy: doc.Quality) -> Figure:
    """Output tokens of the quality set ÷ correct answers, with the interval of the accuracy."""
    spent = sum(r.output_tok or 0 for r in record.requests if r.phase == "quality")
    figure = accuracy.accuracy
    if figure.value is None:
        return unknown("tok", figure.reason or "no accuracy is known")
    if not spent:
        return unknown("tok", "how many tokens the answers took is not known")
    if not figure.value:
        return unknown("tok", "no answer was right")
    each = spent / accuracy.questions
    low = each / figure.high if figure.high else None
    high = each / figure.low if figure.low else None
    return Figure(each / figure.value, "tok", Basis.MEASURED, low=low, high=high, level=0.95)


def client(record: RunRecord, account: Account) -> doc.Client:
    """Was the client late or the bottleneck in the window, and was the machine quiet before the load and during it."""
    idle, load, steady = record.phase("idle"), record.phase("load"), account.window
    end = None if load is None else load.end_mono_s or float("inf")
    during = [m for m in record.machine if load and end and load.start_mono_s <= m.t_mono_s <= end]
    before = [m for m in record.machine if idle and idle.start_mono_s <= m.t_mono_s <= (idle.end_mono_s or 0.0)]
    inside = [m for m in during if steady and steady.start_s <= m.t_mono_s < steady.end_s] or during
    verdict = client_verdict(judged_requests(record, steady), inside, closed=is_closed(record))
    calm = [quiet_verdict(before, loaded=False), quiet_verdict(during, loaded=True)]
    known = [c.quiet for c in calm if c.quiet is not None]
    return doc.Client(
        valid=not verdict.binds,
        reasons=verdict.reasons if verdict.binds else (),
        dispatch_lag_p99_s=verdict.dispatch_lag_p99_s,
        loop_lag_p99_s=verdict.loop_lag_p99_s,
        cpu_ratio_max=verdict.cpu_max_ratio,
        machine_quiet=all(known) if known else None,
        quiet_notes=tuple(n for c in calm for n in c.notes),
        late=() if verdict.binds else verdict.reasons,
        lateness_ratio=verdict.lateness_ratio,
    )


def window(record: RunRecord, account: Account) -> doc.WindowReport:
    """The window, counted from the start of the load."""
    steady_window, load = account.window, record.phase("load")
    if steady_window is None:
        return doc.WindowReport(0.0, 0.0, 0.0, "no window: no load was sent", False)
    zero = load.start_mono_s if load else steady_window.start_s
    return doc.WindowReport(
        steady_window.start_s - zero,
        steady_window.end_s - zero,
        steady_window.duration_s,
        steady_window.rule,
        bool(steady_window.steady),
        steady_window.note,
    )


def conditions(record: RunRecord, mean_load: Mapping[str, float]) -> Conditions:
    """What the figures depend on, as the manifest tells it: model, hardware, server, load, software, time."""
    manifest = record.manifest
    model, server, machine = (_members(p) for p in (manifest.model, manifest.server, manifest.machine))
    model.pop("gguf", None)
    if manifest.model is not None and (header := manifest.model.gguf) is not None:
        model |= {"file": header.file, "weight_byte": header.weight_byte}
    if manifest.embedded:
        server["version"] = model.pop("served_by", None) or server.get("version")
    if manifest.precision:
        model["precision"] = manifest.precision
    created = manifest.created_wall_s
    named = {"start": start_text(record), "command": command_line(manifest)}
    start = {k: v for k, v in named.items() if v}
    return Conditions(
        model=_bounded(model),
        hardware=_bounded({"device": hardware_name(manifest), **_flat(machine)}),
        server=_bounded(server),
        load=_bounded({"text": load_text(record), **start, **mean_load}),
        software=_bounded({"joulemill": manifest.joulemill_version, **(manifest.versions or {})}),
        started=None if created is None else datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds"),
    )


def _bounded(facts: Mapping[str, object]) -> dict[str, Fact]:
    """Names and versions of others at a length that a view can show; lists too, with how many were left out."""
    return {str(name)[:LONGEST_TEXT]: _fact(value) for name, value in facts.items()}


def _fact(value: object) -> Fact:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[: LONGEST_TEXT - 1] + "…"
    if isinstance(value, Mapping):
        return _bounded(value)
    if isinstance(value, (list, tuple)):
        more = [f"and {len(value) - LONGEST_LIST} more"] if len(value) > LONGEST_LIST else []
        return [*(_fact(v) for v in value[:LONGEST_LIST]), *more]
    return value if isinstance(value, int | float) else None if value is None else str(value)


def _members(part: ManifestPart | None) -> dict[str, object]:
    return {} if part is None else document(part)


def hardware_name(manifest: Manifest) -> str | None:
    """The accelerator that was named, else this machine's CPU where the server was our own."""
    if manifest.device is not None:
        return f"{manifest.device_count} x {manifest.device.name or 'a device without a name'}"
    if manifest.embedded:
        cpu = manifest.machine.cpu if manifest.machine else None
        return f"{cpu or 'CPU'}" + (f", {manifest.threads} threads" if manifest.threads else "")
    return None


def _flat(machine: Mapping[str, object]) -> dict[str, object]:
    return {k: v for k, v in machine.items() if isinstance(v, (str, int, float, type(None)))}


def series(record: RunRecord, account: Account) -> doc.Series:
    """Power and tokens of the sub-windows, and the latencies behind the histograms."""
    sub_windows, load = account.series, record.phase("load")
    histograms = doc.Histograms(
        *(_values(map(of, load_requests(record))) for of in (seen.ttft_s, seen.tpot_s, seen.e2e_s))
    )
    zero = load.start_mono_s if load else (sub_windows.edges_s[0] if sub_windows else 0.0)
    phases = tuple(
        doc.PhaseSpan(p.name, p.start_mono_s - zero, None if p.end_mono_s is None else p.end_mono_s - zero)
        for p in record.phases
    )
    if sub_windows is None:
        return doc.Series((), (), (), None, phases, histograms)
    edges = np.asarray(sub_windows.edges_s)
    joules = sub_windows.energy_j.get(account.main) if account.main else None
    return doc.Series(
        t_s=tuple(float(t) for t in (edges[:-1] + edges[1:]) / 2 - zero),
        power_w=_watts(joules, edges),
        rate_tok_s=tuple(float(t / w) for t, w in zip(sub_windows.output_tok, np.diff(edges), strict=True)),
        power_basis=str(account.scopes[account.main].energy.basis) if account.main else None,
        phases=phases,
        histograms=histograms,
    )


def _watts(joules: Sequence[float | None] | None, edges: Any) -> tuple[float | None, ...]:
    width = np.diff(edges)
    if joules is None:
        return (None,) * len(width)
    return tuple(None if j is None else float(j / w) for j, w in zip(joules, width, strict=True))


def _values(raw_values: Any) -> tuple[float, ...]:
    known: Sequence[float] = [v for v in raw_values if v is not None]
    if len(known) <= POINTS:
        return tuple(known)
    # A quantile grid keeps the shape of the distribution in a bounded file.
    return tuple(float(v) for v in np.quantile(known, np.linspace(0, 1, POINTS)))
