"""Rows of a report for people: the same names and order in the terminal, HTML, Markdown and LaTeX. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemill.analysis.imported_figures import value_of
from joulemill.analysis.report import Ceiling, Percentiles, Report, Tokens
from joulemill.figure import Figure, unknown
from joulemill.wording import amount, digits, percent, quantity, title

#: What stands behind figures of the widest scope that is metered as a whole, where that is not the node.
_SCOPES = {"device": ", devices", "cpu": ", CPU packages", "memory": ", memory"}


def main_energy(report: Report) -> tuple[str, Figure]:
    """The first figure anyone looks for: of the node; where that is unknown, of the widest scope that was metered."""
    energy = report.energy
    others = (("devices", energy.device_j_tok), ("CPU packages", energy.cpu_j_tok))
    named = (
        (("node", energy.node_j_tok), *others) if energy.node_j_tok.known else (*others, ("node", energy.node_j_tok))
    )
    name, figure = next((n for n in named if n[1].known), ("node", energy.node_j_tok))
    return f"energy per output token, {name}", figure


def figures(report: Report) -> list[tuple[str, Figure]]:
    """Every figure of the report by its name for people, in reading order."""
    energy, power, output, site = report.energy, report.power, report.output, report.site
    scope = _SCOPES.get(energy.attribution.scope or "", "")
    return [
        ("energy per output token, node", energy.node_j_tok),
        ("energy per output token, devices", energy.device_j_tok),
        *([("energy per output token, CPU packages", energy.cpu_j_tok)] if energy.cpu_j_tok.known else []),
        ("energy per output token, site", energy.site_j_tok),
        ("energy per output token, node above idle", energy.above_idle_j_tok),
        (f"energy per output token that met its SLO{scope}", energy.good_j_tok),
        ("energy per prompt token computed (prefill)", energy.prefill_j_tok),
        ("energy per output token (decode)", energy.decode_j_tok),
        (f"energy per request{scope}", energy.request_j),
        (f"energy per correct answer{scope}", energy.correct_answer_j),
        ("node energy in the window", energy.node_j),
        ("of which idle", energy.node_idle_j),
        ("of which metering overhead", energy.metering_j),
        ("node power", power.node_w),
        ("node power, idle", power.node_idle_w),
        ("device power", power.device_w),
        ("device power limit", power.device_limit_w),
        ("time throttled", power.throttled_ratio),
        ("PUE-adjusted power (site)", power.site_w),
        ("PUE", site.pue),
        ("output rate", output.rate_tok_s),
        ("output rate at full load", output.full_load_tok_s),
        ("utilization-adjusted output", output.utilization_adjusted_tok_s),
        ("output rate that met its SLO", output.good_tok_s),
        ("request rate", output.request_rate_req_s),
        ("system efficiency Φ", report.phi),
        ("utilization U", report.utilization),
        ("accuracy", report.quality.accuracy),
        (
            "output tokens in accepted answers",
            report.quality.accepted_token_ratio or unknown("1", report.quality.accuracy.reason or "not asked here"),
        ),
        ("carbon per output token", energy.carbon_gco2e_tok),
        ("cost per output token", energy.cost_currency_tok),
        ("water per output token", energy.water_l_tok),
    ]


#: Figures by their name for people → the report's own path, under which a file of another tool states the same.
_PATHS = {
    "energy per output token, node": "energy.node_j_tok",
    "energy per output token, devices": "energy.device_j_tok",
    "energy per output token, site": "energy.site_j_tok",
    "node power": "power.node_w",
    "device power": "power.device_w",
    "PUE-adjusted power (site)": "power.site_w",
    "output rate": "output.rate_tok_s",
    "output rate that met its SLO": "output.good_tok_s",
    "request rate": "output.request_rate_req_s",
}


def figures_or_stated(report: Report) -> list[tuple[str, Figure]]:
    """``figures``, and where one is unknown what an imported file states for it."""
    return [
        (name, figure if figure.known else value_of(report.stated, _PATHS.get(name, "")) or figure)
        for name, figure in figures(report)
    ]


def demands(report: Report) -> tuple[tuple[str, Figure], tuple[str, Figure], tuple[str, Figure]]:
    """What every report must state beside its active constraint: J/token, PUE-adjusted power, adjusted output."""
    return (
        main_energy(report),
        ("PUE-adjusted power (site)", report.power.site_w),
        ("utilization-adjusted output", report.output.utilization_adjusted_tok_s),
    )


def impacts(report: Report) -> list[tuple[str, list[str]]]:
    """Effects whose figure per token is known: per million tokens, per accepted answer, per year, basis."""
    return [
        (
            i.name,
            [
                *(amount(f.value, f.unit) for f in (i.per_million_tokens, i.per_accepted_answer, i.per_year)),
                str(i.per_token.basis or ""),
            ],
        )
        for i in report.impacts
        if i.per_token.known
    ]


def impact_sources(report: Report) -> str:
    """Whose carbon it is and of which kind, in a sentence."""
    carbon = report.site.carbon_gco2e_kwh
    source = f"Carbon: {carbon.source}. " if carbon.known else f"Carbon is unknown: {carbon.reason}. "
    return source + "Per year: the run's output rate and utilization held for 365 d."


IMPACT_COLUMNS = ("per million tokens", "per accepted answer", "per year", "basis")


def latencies(report: Report) -> list[tuple[str, Percentiles]]:
    """The latency distributions by name."""
    latency = report.latency
    return [
        ("TTFT", latency.ttft_s),
        ("TTFT from schedule", latency.ttft_from_schedule_s),
        ("TPOT", latency.tpot_s),
        ("ITL (chunks)", latency.itl_s),
        ("end to end", latency.e2e_s),
    ]


def latencies_or_stated(report: Report) -> list[tuple[str, Percentiles]]:
    """``latencies``, and where a distribution has no data what an imported file states for it."""
    names = ("ttft_s", "ttft_from_schedule_s", "tpot_s", "itl_s", "e2e_s")
    return [
        (label, of if of.p50 is not None else _stated_percentiles(report, name) or of)
        for name, (label, of) in zip(names, latencies(report), strict=True)
    ]


def _stated_percentiles(report: Report, name: str) -> Percentiles | None:
    points = {p: value_of(report.stated, f"latency.{name}.{p}") for p in ("p50", "p90", "p99", "mean")}
    if not any(points.values()):
        return None
    values = {p: None if f is None else f.value for p, f in points.items()}
    return Percentiles(**values, n=0, basis="declared")


def milliseconds(percentiles: Percentiles) -> list[str]:
    """p50, p90, p99, mean in ms and n, as text."""
    cells = [percentiles.p50, percentiles.p90, percentiles.p99, percentiles.mean]
    return [*("–" if v is None else digits(v * 1000) for v in cells), str(percentiles.n)]


def ceiling_row(ceiling: Ceiling, binding: str) -> dict[str, Any]:
    """One ceiling as text cells."""
    rate = ceiling.rate_tok_s
    return {
        "name": title(ceiling.name),
        "binding": ceiling.name == binding,
        "rate": "unknown" if rate.value is None else digits(rate.value),
        "capacity": "–" if ceiling.capacity is None else quantity(ceiling.capacity.value, ceiling.capacity.unit),
        "intensity": "–" if ceiling.intensity is None else quantity(ceiling.intensity.value, ceiling.intensity.unit),
        "slack": "–" if ceiling.slack_ratio is None else _slack(ceiling.slack_ratio.value),
        "basis": str(rate.basis) if rate.basis else "",
        "evidence": ceiling.evidence or rate.reason or "",
    }


def _slack(ratio: float | None) -> str:
    """Per cent, or beyond tenfold how many times the achieved rate the ceiling is."""
    return percent(ratio) if ratio is None or ratio < 10 else f"{digits(ratio + 1)} ×"


def conditions(report: Report) -> list[tuple[str, str]]:
    """What the figure depends on, flat, in the order that the document keeps them."""
    return _flat({**report.conditions.parts(), "started": report.conditions.started})


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{title(str(key))}"
        if isinstance(item, Mapping):
            rows += _flat(item, f"{name}: ")
        elif isinstance(item, (list, tuple)):
            rows.append((name, ", ".join(str(x) for x in item) or "–"))
        else:
            rows.append((name, "unknown" if item is None else str(item)))
    return rows


def tokens(report: Report) -> list[tuple[str, str]]:
    """Tokens and requests as text."""
    counts, asked = report.tokens, report.requests
    mismatch = _mismatch(report) if counts.mismatch_ratio is None else percent(counts.mismatch_ratio, 2)
    ends = ", ".join(f"{name} {count}" for name, count in asked.by_outcome.items()) or "–"
    return [
        ("output tokens in the window", f"{counts.output:,}"),
        ("prompt tokens served", f"{counts.prompt:,}"),
        ("prompt tokens from cache", _cached(counts)),
        ("prompt tokens computed", "unknown" if counts.prompt_computed is None else f"{counts.prompt_computed:,}"),
        ("usage against server counters", mismatch),
        ("note", counts.note or "–"),
        ("requests sent, ok, retried", f"{asked.sent}, {asked.ok}, {asked.retries}"),
        ("how they ended", ends),
    ]


def _cached(counts: Tokens) -> str:
    if counts.prompt_cached is None:
        return "unknown"
    beyond = f" ({counts.cached_unexplained:,} over the load unexplained)" if counts.cached_unexplained else ""
    return f"{counts.prompt_cached:,}{beyond}"


def headline(report: Report) -> str:
    """The run's title: model on device."""
    stated = report.conditions
    return f"{stated.model_name or 'unknown model'} on {stated.device or 'unknown hardware'}"


def subtitle(report: Report) -> str:
    """Server, load and date in one line."""
    conditions = report.conditions
    parts = [
        " ".join(str(conditions.server[k]) for k in ("kind", "version") if conditions.server.get(k)),
        conditions.load_text,
        conditions.started or "",
        "" if report.status == "complete" else f"run {report.status}: {report.status_reason or ''}",
    ]
    return " · ".join(p for p in parts if p)


def slo_text(report: Report) -> str:
    """The latency targets and what share of requests met them, in words."""
    slo = report.latency.slo
    targets = [f"{n} ≤ {s * 1000:g} ms" for n, s in (("TTFT", slo.ttft_s), ("TPOT", slo.tpot_s)) if s]
    if not targets:
        return "No latency targets were stated: every finished request counts as good."
    return f"Targets: {', '.join(targets)}; met by {percent(slo.attained_ratio, 1)} of requests."


def load_lines(report: Report) -> list[str]:
    """What to know of latencies: the targets, how the load began, and the command that makes the run again."""
    load = report.conditions.load
    named = [f"{n}: {load[k]}" for n, k in (("load", "start"), ("again", "command")) if load.get(k)]
    return [slo_text(report), *named]


def stated(report: Report) -> list[tuple[str, Figure]]:
    """What an imported file states, by name and source; a caveat stands in the figure's reason."""
    return [(f"{s.name} ({s.figure.source})", s.figure) for s in report.stated]


def meters(report: Report) -> list[tuple[str, str]]:
    """Meters, client validity and the machine's quiet as text."""
    listed = [(m.meter, f"{m.scope}, {m.quantity}, {m.device}: {m.basis}") for m in report.meters]
    client = report.client
    quiet = {True: "quiet", False: "busy with other work", None: "unknown"}[client.machine_quiet]
    return [
        *(listed or [("meters", "none")]),
        ("client", _client(report)),
        ("machine", "; ".join([quiet, *client.quiet_notes])),
        ("site", f"{report.site.name}, as its file states it" if report.site.name else "not stated"),
    ]


def _client(report: Report) -> str:
    client = report.client
    if not client.valid:
        return "the BOTTLENECK: " + "; ".join(client.reasons)
    return f"late, which its latencies hold: {'; '.join(client.late)}" if client.late else "on time"


def _mismatch(report: Report) -> str:
    """Why usage and counters were not compared: there are none, or they hold requests that are not the load's."""
    if report.tokens.by_metrics.get("output_tok") is None:
        return "no counters to check against"
    return "not compared: a request was under way when the load began or ended, so the counters hold part of it"
