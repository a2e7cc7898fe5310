"""How complete an energy-to-token report is, point by point: the standard of ``docs/report.md`` as code. Pure.

A point is ``stated``, ``open`` (its value is unknown, which is said, and the effect at a cited reference is shown),
``not applicable`` (with why), ``partial`` (something is there that cannot be compared) or ``missing``. A report is
complete when every point is one of the first three: an honest "unknown" of what no one on the spot can know does not
make it incomplete, silence does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from joulemill.analysis.imported_figures import value_of
from joulemill.analysis.report import Percentiles, Report
from joulemill.figure import Figure
from joulemill.wording import percent, quantity, title


class Status(StrEnum):
    """How one point stands, best first."""

    STATED = "stated"
    OPEN = "open"
    NOT_APPLICABLE = "not applicable"
    PARTIAL = "partial"
    MISSING = "missing"


GOOD = (Status.STATED, Status.OPEN, Status.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class AuditPoint:
    """One point of the standard: what was found, and how to fill the hole (None where there is none)."""

    name: str
    group: str
    status: Status
    found: str
    fill: str | None = None


@dataclass(frozen=True, slots=True)
class Completeness:
    """All points of one report."""

    points: tuple[AuditPoint, ...]

    @property
    def complete(self) -> bool:
        """Whether no point is partial or missing."""
        return all(p.status in GOOD for p in self.points)

    @property
    def counts(self) -> tuple[int, int]:
        """Points that are in order, and all points."""
        return sum(p.status in GOOD for p in self.points), len(self.points)


PointResult = tuple[Status, str]
#: A number format in a model's name: Q4_1, FP8, INT4, BF16, AWQ, GPTQ, MXFP4, NVFP4, w4a16 …
_FORMAT = re.compile(r"\b(i?q\d_\w+|bf16|f?p?16|f16|f32|fp\d+|int\d|awq|gptq|mxfp\d|nvfp\d|w\d+a\d+)\b", re.IGNORECASE)


def grade(report: Report) -> Completeness:
    """Grade ``report`` against every point of the standard."""
    points = []
    for group, name, look, fill in POINTS:
        status, aspects = look(report)
        points.append(AuditPoint(name, group, status, aspects, None if status in GOOD else fill))
    return Completeness(tuple(points))


def _figure(figure: Figure, report: Report, *stated_names: str) -> PointResult:
    """A figure with basis and, where it is no exact count, an interval; else what an imported file states."""
    if figure.value is not None:
        text = f"{quantity(figure.value, figure.unit)} ({figure.basis})"
        if figure.low is None or figure.high is None:
            return Status.PARTIAL, f"{text}, without an interval"
        return Status.STATED, text
    stated_value = value_of(report.stated, *stated_names)
    if stated_value is not None:
        value = quantity(stated_value.value, stated_value.unit)
        text = f"{value} as {stated_value.source} states it: no interval, no basis"
        return Status.PARTIAL, f"{text}; {stated_value.reason}" if stated_value.reason else text
    return Status.MISSING, figure.reason or "unknown, and no reason given"


def _device(report: Report) -> PointResult:
    metered = _figure(report.energy.device_j_tok, report, "energy.device_j_tok")
    if metered[0] is Status.MISSING and not _accelerated(report) and report.energy.node_j_tok.known:
        return Status.NOT_APPLICABLE, "no accelerator: the node is what computes"
    return metered


def _accelerated(report: Report) -> bool:
    """Whether the report tells of an accelerator, or cannot tell that there is none."""
    if any(m.scope == "device" for m in report.meters):
        return True
    return not report.conditions.embedded or bool(
        re.match(r"\d+ x ", report.conditions.text("hardware", "device") or "")
    )


def _node(report: Report) -> PointResult:
    return _figure(report.energy.node_j_tok, report, "energy.node_j_tok")


def _at_reference(report: Report, figure: Figure, *stated_names: str) -> PointResult:
    """A site figure; where only the PUE is unknown, its effect at cited references counts."""
    base_finding = _figure(figure, report, *stated_names)
    if base_finding[0] is Status.MISSING and report.site.at_reference and report.energy.node_j_tok.known:
        return Status.OPEN, "PUE unknown, and said so; shown at " + "; ".join(report.site.at_reference)
    return base_finding


def _pue(report: Report) -> PointResult:
    pue = report.site.pue
    if pue.value is not None:
        return Status.STATED, f"{pue.value:g} ({pue.basis})"
    stated_pue = value_of(report.stated, "site.pue")
    if stated_pue is not None:
        return Status.PARTIAL, f"{stated_pue.value:g} as {stated_pue.source} states it"
    return _at_reference(report, pue)


def _constraint(report: Report) -> PointResult:
    binding = report.binding
    known = [c for c in report.ceilings if c.rate_tok_s.known]
    if binding.name == "client":
        return Status.PARTIAL, "the client itself was the bottleneck: the server's constraint was not seen"
    if binding.name == "unknown" or not known:
        return Status.MISSING, binding.explanation or "no ceiling is known"
    if binding.name == "undecided":
        if not binding.would_decide:
            return Status.PARTIAL, "undecided, and what would decide is not said"
        return Status.STATED, f"undecided; what would decide it: {binding.would_decide}"
    return Status.STATED, f"{title(binding.name)}: {binding.explanation}"


def _rate(figure: Figure, report: Report, *names: str) -> PointResult:
    """A counted rate or share: an interval is welcome and not demanded."""
    if figure.value is not None:
        return Status.STATED, f"{quantity(figure.value, figure.unit)} ({figure.basis})"
    return _figure(figure, report, *names)


def _quality(report: Report) -> PointResult:
    quality = report.quality
    if quality.accuracy.value is not None and not quality.task:
        return Status.PARTIAL, f"{quality.accuracy.value:.3g}, and not said on what"
    status, text = _figure(quality.accuracy, report, "quality.accuracy")
    return status, f"{text} on {quality.task}" if status is Status.STATED else text


def _latency(report: Report) -> PointResult:
    wanted: tuple[tuple[str, Percentiles], ...] = (
        ("ttft", report.latency.ttft_s),
        ("tpot", report.latency.tpot_s),
        ("e2e", report.latency.e2e_s),
    )
    known = [n for n, p in wanted if p.p50 is not None and p.p99 is not None]
    if len(known) == len(wanted):
        return Status.STATED, f"TTFT, TPOT, end to end with percentiles, of {report.latency.e2e_s.n} requests"
    missing = [
        n for n, _ in wanted if value_of(report.stated, *(f"latency.{n}_s.{k}" for k in ("p50", "mean"))) is not None
    ]
    if known or missing:
        return Status.PARTIAL, f"computed: {', '.join(known) or 'none'}; only stated: {', '.join(missing) or 'none'}"
    return Status.MISSING, "no latency is given"


def _condition_in(*places: tuple[str, ...]) -> Callable[[Report], PointResult]:
    """A condition that stands in one of ``places``."""

    def look(report: Report) -> PointResult:
        text = next((t for p in places if (t := report.conditions.text(*p)) is not None), None)
        return (Status.MISSING, "not said") if text is None else (Status.STATED, text)

    return look


def _hardware(report: Report) -> PointResult:
    """What served: the machine of the client counts only where the server was our own, or an import names it so."""
    device = report.conditions.text("hardware", "device")
    cpu = report.conditions.text("hardware", "cpu") or report.conditions.text("hardware", "cpu_model")
    here = report.conditions.embedded
    if here is False and device is None:
        return Status.MISSING, f"not said ({cpu} is the client's)" if cpu else "not said"
    named = [t for t in (device, cpu if here is not False else None) if t and t != "CPU"]
    return (Status.STATED, "; ".join(named)) if named else (Status.MISSING, "not said")


def _precision(report: Report) -> PointResult:
    keys = ("precision", "dtype", "quantization", "quant", "file_type", "weight_type")
    text = next((t for k in keys if (t := report.conditions.text("model", k))), None)
    if text:
        return Status.STATED, text
    match = _FORMAT.search(report.conditions.text("model", "name") or "") or _FORMAT.search(
        report.conditions.text("model", "file") or ""
    )
    return (Status.STATED, f"{match.group(0)} (in the name)") if match else (Status.MISSING, "not said")


def _lengths(report: Report) -> PointResult:
    means = [report.conditions.load_mean(n) for n in ("output [tok]", "prompt computed [tok]")]
    if report.requests.ok and report.tokens.output and report.tokens.prompt:
        return Status.STATED, f"{report.tokens.prompt} prompt and {report.tokens.output} output tokens in the window"
    stated_counts = [value_of(report.stated, f"tokens.{n}", f"tokens.{n}_mean") for n in ("prompt", "output")]
    if all(stated_counts) or all(m is not None for m in means):
        return Status.STATED, "mean lengths"
    return (Status.PARTIAL, "one of the two") if any(stated_counts) else (Status.MISSING, "not said")


def _load(report: Report) -> PointResult:
    text = report.conditions.text("load", "text") or ""
    if re.search(r"concurrency \d|req/s|trace |\d requests at once", text):
        return Status.STATED, text
    return Status.MISSING, "no batch, concurrency or rate is stated"


def _framework(report: Report) -> PointResult:
    kind, version = (report.conditions.text("server", k) for k in ("kind", "version"))
    if kind and version:
        return Status.STATED, f"{kind} {version}"
    return (Status.PARTIAL, f"{kind}, no version") if kind else (Status.MISSING, "not said")


def _method(report: Report) -> PointResult:
    metered = [m for m in report.meters if m.quantity in ("energy_j", "power_w")]
    if metered:
        first = f"{metered[0].meter} at scope {metered[0].scope} ({metered[0].basis})"
        return Status.STATED, first + (f" and {len(metered) - 1} more" if len(metered) > 1 else "")
    return Status.MISSING, "no meter is named"


def _window(report: Report) -> PointResult:
    window = report.window
    if window.duration_s > 0 and window.rule:
        return Status.STATED, f"{window.duration_s:.1f} s, {'steady' if window.steady else 'NOT steady'}: {window.rule}"
    return Status.MISSING, "no window is given"


def _uncertainty(report: Report) -> PointResult:
    figure = next((f for f in (report.energy.node_j_tok, report.energy.device_j_tok) if f.known), None)
    if figure is not None and figure.value and figure.low is not None and figure.high is not None:
        half = (figure.high - figure.low) / 2 / figure.value
        return Status.STATED, f"±{percent(half, 1)} on energy per token ({figure.basis})"
    return Status.MISSING, "energy per token has no interval"


_METER = "meter the run: `joulemill bench --meter`, or `joulemill import FILE --meter-file POWER.csv`"
_SITE = "state the PUE with its period and category in a site file: --site FILE"
#: Group, name, how it is found, how to fill the hole.
POINTS: tuple[tuple[str, str, Callable[[Report], PointResult], str], ...] = (
    ("figure", "J/token, device", _device, _METER),
    ("figure", "J/token, node", _node, f"{_METER}; a node needs its wall power, or its parts with a stated rest"),
    (
        "figure",
        "J/token, site",
        lambda r: _at_reference(r, r.energy.site_j_tok, "energy.site_j_tok"),
        f"{_SITE}, beside a metered node",
    ),
    (
        "figure",
        "active constraint",
        _constraint,
        "name the hardware and the model (--device NAME:COUNT, --model NAME), so that its ceilings can be computed",
    ),
    (
        "figure",
        "PUE-adjusted power",
        lambda r: _at_reference(r, r.power.site_w, "power.site_w"),
        f"{_SITE}, beside a metered node",
    ),
    (
        "figure",
        "utilization-adjusted output",
        lambda r: _rate(r.output.utilization_adjusted_tok_s, r, "output.utilization_adjusted_tok_s"),
        "measure the rate at full load too (a closed loop with all slots busy), and state U over the period",
    ),
    ("figure", "quality", _quality, "also ask a verifiable question set: `joulemill bench --quality FILE`"),
    ("figure", "latency", _latency, "give per-request times (TTFT, TPOT, end to end), not only means"),
    (
        "figure",
        "throughput",
        lambda r: _rate(r.output.rate_tok_s, r, "output.rate_tok_s"),
        "give per-request token counts by the server's usage and their times",
    ),
    ("condition", "hardware", _hardware, "name it: --device NAME[:COUNT]"),
    ("condition", "model", _condition_in(("model", "name")), "name it: --model NAME"),
    (
        "condition",
        "model revision",
        _condition_in(("model", "revision"), ("model", "sha256"), ("model", "commit")),
        "state the commit or the sha256 of the weights",
    ),
    ("condition", "precision", _precision, "state the number formats of weights, activations and KV cache"),
    ("condition", "input and output lengths", _lengths, "state both, in tokens by the server's usage"),
    ("condition", "batch or load", _load, "state concurrency, request rate or trace"),
    (
        "condition",
        "utilization",
        lambda r: _rate(r.utilization, r, "utilization"),
        "state U: the rate of the period over the rate at full load",
    ),
    ("condition", "framework and version", _framework, "state the server and its version (its /version page says)"),
    ("condition", "PUE and its basis", _pue, _SITE),
    ("condition", "method and scope", _method, _METER),
    ("condition", "window", _window, "give per-request times, so that a steady window can be found"),
    ("condition", "uncertainty", _uncertainty, "meter with known resolution and error, and run long enough"),
)
