"""One offline HTML file of a report: no script, nothing fetched, every text from outside escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joulemill.analysis import rows
from joulemill.analysis.report import OPEN, Report
from joulemill.figure import Figure
from joulemill.reports.html.page import Card, rendered, safe, safe_cards
from joulemill.reports.svg import run as pictures
from joulemill.wording import interval, percent, quantity, title


def render(report: Report, extra_cards: Sequence[Card] = ()) -> str:
    """The whole page. ``extra_cards``: {title, body} cards, ``body`` is safe markup; ``wide`` ones span the page."""
    view = _view(report)
    for name in ("ceilings_picture", "joules", "timeline"):
        view[name] = safe(view[name])
    view["latencies"] = [safe(p) for p in view["latencies"]]
    return rendered("report.html.j2", {**view, "extra_cards": safe_cards(extra_cards)})


def _view(report: Report) -> dict[str, Any]:
    return {
        "headline": rows.headline(report),
        "subtitle": rows.subtitle(report),
        "warnings": report.warnings,
        "tiles": _tiles(report),
        **_pictures(report),
        **_tables(report),
        "schema_version": report.schema_version,
        "run_id": report.run_id,
    }


def _tile(name: str, figure: Figure, note: str = "") -> dict[str, str]:
    between = interval(figure)
    return {
        "name": name,
        "value": quantity(figure.value, figure.unit),
        "range": between if between else "",
        "basis": str(figure.basis) if figure.basis else "",
        "note": note or (figure.reason or "" if figure.value is None else ""),
    }


def _tiles(report: Report) -> list[dict[str, str]]:
    quality, latency = report.quality, report.latency
    accuracy = _tile(
        "accuracy", quality.accuracy, f"{quality.task}, {quality.questions} questions" if quality.task else ""
    )
    if quality.accuracy.value is not None:
        accuracy["value"] = percent(quality.accuracy.value)
        accuracy["range"] = interval(quality.accuracy.scaled(100.0, "%"))
    undecided = report.binding.name in OPEN
    following = f"{'likeliest' if undecided else 'next'}: {title(report.binding.next_name or '')}"
    binding = {
        "name": "active constraint",
        "value": title(report.binding.name),
        "range": "",
        "basis": "" if undecided else str(report.binding.rate_tok_s.basis or ""),
        "note": following if report.binding.next_name else "",
    }
    ttft, tpot = (rows.milliseconds(p) for p in (latency.ttft_s, latency.tpot_s))
    speed = {
        "name": "TTFT · TPOT, p50 (p99)",
        "value": f"{ttft[0]} · {tpot[0]} ms" if latency.ttft_s.n else "unknown",
        "range": f"{ttft[2]} · {tpot[2]} ms" if latency.ttft_s.n else "",
        "basis": "measured" if latency.ttft_s.n else "",
        "note": "" if latency.ttft_s.n else "no request of the load ended well",
    }
    return [
        _tile(*rows.main_energy(report)),
        binding,
        _tile("PUE-adjusted power", report.power.site_w),
        _tile("utilization-adjusted output", report.output.utilization_adjusted_tok_s),
        _tile("energy per output token, site", report.energy.site_j_tok),
        _tile("output rate", report.output.rate_tok_s),
        speed,
        accuracy,
    ]


def _pictures(report: Report) -> dict[str, Any]:
    histograms, slo = report.series.histograms, report.latency.slo
    wanted = (("TTFT", histograms.ttft_s, slo.ttft_s), ("TPOT", histograms.tpot_s, slo.tpot_s))
    return {
        "ceilings_picture": pictures.barrel(report.ceilings, report.binding.name, report.output.rate_tok_s.value),
        "joules": pictures.joules(report.waterfall),
        "timeline": pictures.timeline(report),
        "latencies": [pictures.histogram(*picture) for picture in wanted],
    }


def _tables(report: Report) -> dict[str, Any]:
    window, binding = report.window, report.binding
    steady = "steady" if window.steady else "not steady"
    return {
        "binding_title": title(binding.name),
        "binding_text": binding.explanation
        + (f" What would decide: {binding.would_decide}" if binding.would_decide else ""),
        "unknown_ceilings": ", ".join(title(n) for n in binding.unknown),
        "joules_note": "; ".join(report.energy.reasons),
        "window_text": f"Window {window.start_s:.1f}–{window.end_s:.1f} s, {steady}: "
        + "; ".join(filter(None, (window.rule, window.note))),
        "slo_text": rows.slo_text(report),
        "latency_rows": [{"name": n, "cells": rows.milliseconds(p)} for n, p in rows.latencies(report)],
        "ceiling_rows": [rows.ceiling_row(c, binding.name) for c in report.ceilings],
        "figure_rows": [_figure_row(n, f) for n, f in rows.figures(report)],
        "impact_rows": [{"name": n, "cells": c} for n, c in rows.impacts(report)],
        "impact_columns": rows.IMPACT_COLUMNS,
        "impact_text": rows.impact_sources(report),
        "condition_rows": rows.conditions(report),
        "token_rows": rows.tokens(report),
        "meter_rows": rows.meters(report),
        "stated_rows": [{**_figure_row(n, f), "note": f.reason or ""} for n, f in rows.stated(report)],
    }


def _figure_row(name: str, figure: Figure) -> dict[str, Any]:
    return {
        "name": name,
        "known": figure.value is not None,
        "value": quantity(figure.value, figure.unit) if figure.value is not None else f"unknown: {figure.reason or ''}",
        "range": interval(figure),
        "basis": str(figure.basis) if figure.basis else "",
    }
