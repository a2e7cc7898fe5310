"""A simulated run as people read it: what it was, joules and power, latency, requests, policies beside one another.

Views of the document that ``--json`` prints, so that both say the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from joulemill.figure import Figure
from joulemill.reports.text.page import add_row, plain_table, prose
from joulemill.wording import digits, percent, quantity, say

if TYPE_CHECKING:
    from rich.console import Console

Document = Mapping[str, Any]
_SCOPES = (("device", "devices"), ("node", "nodes"), ("site", "site"))
#: Rows of a Pareto front that are printed.
MOST_FRONT = 20
_LATENCIES = (("ttft_s", "TTFT"), ("tpot_s", "TPOT"), ("e2e_s", "end to end"), ("queue_s", "wait for a place"))


def figure_of(part: Mapping[str, Any]) -> Figure:
    """A figure of the document."""
    return Figure(**part)


def rows(document: Document) -> Iterator[tuple[str, str]]:
    """Names and texts of the main figures."""
    energy, power, carbon = document["energy"], document["power"], document["carbon"]
    for key, label in _SCOPES:
        yield f"energy per token, {label}", say(figure_of(energy[f"{key}_j_tok"]))
    yield "per prompt token computed", say(figure_of(energy["by_token"]["input_j_tok"]))
    yield "per output token decoded", say(figure_of(energy["by_token"]["output_j_tok"]))
    yield "output rate", say(figure_of(document["output"]["rate_tok_s"]))
    yield "rate within the targets", say(figure_of(document["output"]["good_tok_s"]))
    yield "utilization U", say(figure_of(document["output"]["utilization"]))
    for key, label in _SCOPES:
        yield f"power, {label}", _power(power[f"{key}_w"])
    if power.get("headroom"):
        yield "room under the feed", _headroom(power["headroom"])
    yield from _replicas(document["replicas"])
    yield from _quality(document["quality"])
    yield "carbon", say(figure_of(carbon["gco2e_tok"]))
    yield "energy cost", say(figure_of(carbon["cost_currency_tok"]))


def _replicas(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where replicas were loaded or woken: how many served, and what that took."""
    if part["transitions"]:
        took = f"{quantity(part['transition_s'], 's')} and {quantity(part['transition_j'], 'J')} of the devices"
        times = f"{part['transitions']:,} times" if part["transitions"] > 1 else "once"
        yield "replicas that serve", f"mean {digits(part['serving_mean'], 3)}; loaded or woken {times}, {took}"


def _quality(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cascade = part["cascade"]
    if cascade:
        joules = f"{quantity(cascade['first_j'], 'J')} of the devices, beside {quantity(cascade['second_j'], 'J')}"
        lost = f"{cascade['escalated_req']:,} requests escalate, {cascade['discarded_tok']:,} tokens are thrown away"
        yield f"first answered by {cascade['model']}", f"{lost}; {joules}"
    if part["accuracy"]["value"] is not None:
        yield "correct answers", say(figure_of(part["accuracy"]))
        yield "energy per correct answer", say(figure_of(part["correct_j"]))


def _power(part: Mapping[str, Any] | None) -> str:
    if part is None:
        return "unknown"
    mean, peak, p95 = (quantity(part[k], "W") for k in ("mean", "peak", "p95"))
    return f"mean {mean}, p95 {p95}, peak {peak}; load factor {digits(part['load_factor'], 2)}"


def _headroom(room: Mapping[str, Any]) -> str:
    risk = percent(room["violation_ratio"], 1)
    if room["extra_ratio"] is None:
        return "unknown"
    return (
        f"{percent(room['extra_ratio'])} more such plants where the nameplate says "
        f"{quantity(room['nameplate_w'], 'W')}, broken {risk} of the time"
    )


def show(document: Document, console: Console, line: str) -> None:
    """Print the run: one line, figures, latencies, requests, policies, doubts and notes."""
    prose(console, line, "")
    table = plain_table("", "", fold=1)
    for label, text in rows(document):
        add_row(table, label, text)
    console.print(table)
    prose(console, "")
    console.print(_latencies(document["latency"]))
    prose(console, "", requests_line(document))
    if document["policies"]:
        prose(console, "")
        for part in _policies(document["policies"]):
            console.print(part)
    prose(console, *(f"DOUBT: {doubt}" for doubt in document["doubts"]), style="bold yellow")
    prose(console, *(f"note: {note}" for note in document["notes"]))
    speed = document["simulation"]
    prose(console, f"simulated in {quantity(speed['wall_s'], 's')}: {speed['requests_per_s']:,.0f} requests per second")


def _latencies(part: Document) -> Any:
    table = plain_table("latency", "mean", "p50", "p90", "p99", "80 % interval of the mean", right={1, 2, 3, 4})
    for key, label in _LATENCIES:
        of = part[key]
        bounds = (of.get("interval") or {}).get("mean")
        between = f"{_seconds(bounds[0])}–{_seconds(bounds[1])}" if bounds else ""
        add_row(table, label, *(_seconds(of[p]) for p in ("mean", "p50", "p90", "p99")), between)
    return table


def _seconds(value: float | None) -> str:
    return quantity(value, "s")


def requests_line(document: Document) -> str:
    """What became of the requests, in one line."""
    r, slo = document["requests"], document["latency"]["slo"]
    parts = [f"{r['offered']:,} requests: {r['completed']:,} completed"]
    parts += [f"{n:,} {what}" for what, n in r["rejected_for"].items()]
    parts += [f"{r['unfinished']:,} unfinished"] if r["unfinished"] else []
    parts += [f"{r['preempted']:,} preempted"] if r["preempted"] else []
    if slo["ttft_s"] is not None or slo["tpot_s"] is not None:
        parts.append(f"{percent(slo['attained_ratio'], 1)} within the targets")
    return ", ".join(parts)


def _policies(policies: Sequence[Document]) -> Iterator[Any]:
    """What each policy does to power and users, and what it costs."""
    first = policies[0]
    headings = ("policy", "power", "limit kept", "tokens", "TTFT p99", "TPOT p99", "in targets")
    table = plain_table(*headings, right={1, 3, 4, 5, 6})
    for row in policies:
        drawn = quantity(row["window_w"], "W") if row["window_w"] is not None else "–"
        met = "–" if row["attained_ratio"] is None else percent(row["attained_ratio"], 1)
        late = (_seconds(row[name]) for name in ("ttft_p99_s", "tpot_p99_s"))
        cells = (row["policy"], drawn, kept(row), change(row["output_tok"], first["output_tok"]), *late, met)
        add_row(table, *cells)
    yield table
    yield ""
    table = plain_table("policy", "energy", "CO2e", "cost", "refused", "come later", right={1, 2, 3, 4, 5})
    for row in policies:
        costs = (change(row[name], first[name]) for name in ("energy_j", "carbon_gco2e", "cost_currency"))
        add_row(table, row["policy"], *costs, f"{row['rejected_req']:,.0f}", f"{row['deferred_req']:,.0f}")
    yield table


def kept(row: Document) -> str:
    """Whether a policy kept the limit; else how far it got.

    >>> kept({"kept": True, "cut_ratio": 0.26}), kept({"kept": False, "cut_ratio": 0.14}), kept({"kept": None})
    ('yes', 'NO, cuts 14 %', '–')
    """
    if row["kept"] is None:
        return "–"
    if row["kept"]:
        return "yes"
    cut = row["cut_ratio"]
    return "NO" if cut is None or cut <= 0.0005 else f"NO, cuts {percent(cut, 1 if cut < 0.0995 else 0)}"


def change(value: float | None, of: float | None) -> str:
    """A relative change for people; of the first row itself nothing.

    >>> change(90.0, 100.0), change(1.0, 1.0), change(None, 1.0)
    ('−10 %', '=', '?')
    """
    if value is None or of is None or not of:
        return "?"
    if value == of:
        return "="
    percent_change = 100.0 * (value / of - 1.0)
    return f"{percent_change:+.{0 if abs(percent_change) >= 9.95 else 1}f} %".replace("-", "−")


def show_sweep(document: Document, console: Console) -> None:
    """Print a sweep: how many points, the Pareto front, which input moves the result most, and where the table is."""
    goals, inputs = document["pareto"]["goals"], document["inputs"]
    failed = f", {document['failed']:,} could not be simulated" if document["failed"] else ""
    front = document["pareto"]["rows"]
    prose(
        console, f"{document['points']:,} points{failed}; {len(front):,} are Pareto-optimal in {' and '.join(goals)}:"
    )
    table = plain_table(*inputs, *goals, right=set(range(len(inputs), len(inputs) + len(goals))))
    for row in front[:MOST_FRONT]:
        add_row(table, *(_input(row[name]) for name in inputs), *(digits(row[goal]) for goal in goals))
    console.print(table)
    if len(front) > MOST_FRONT:
        prose(console, f"… and {len(front) - MOST_FRONT:,} more")
    prose(console, *moving_lines(document))
    prose(console, f"table: {document['table']}")


def _input(value: Any) -> str:
    return digits(value) if isinstance(value, float) else str(value)


def moving_lines(document: Document) -> list[str]:
    """Which input moves the result most: by the sensitivity analysis where there is one, else by main effects."""
    of, sensitivity = document["effects"]["of"], document["sensitivity"]
    if sensitivity is None:
        shares = {name: share for name, share in document["effects"]["shares"].items() if share is not None}
        ranked = sorted(shares, key=lambda name: -shares[name])
        texts = ", ".join(f"{name} {percent(shares[name])}" for name in ranked)
        return [f"what moves {of} (share of its variance): {texts or 'nothing that varies'}"]
    morris = sensitivity["method"] == "morris"
    key, say_one = ("mu_star", _morris_text) if morris else ("total", _sobol_text)
    known = {name: row for name, row in sensitivity["inputs"].items() if row is not None and row[key] is not None}
    ranked = sorted(known, key=lambda name: -known[name][key])
    what = "Morris, mean factor over the whole range" if morris else "Sobol', share of its variance"
    used = f"{sensitivity['draws_used']:,} of {sensitivity['draws']:,} draws, ± 95 %"
    lines = [f"what moves {of} ({what}; {used}):", *(f"  {name}: {say_one(known[name])}" for name in ranked)]
    return lines if known else [f"{lines[0]} nothing that varies, or too few draws with a result"]


def _morris_text(row: Document) -> str:
    low, high = (math.exp(max(row["mu_star"] + sign * row["mu_star_half_width"], 0.0)) for sign in (-1.0, 1.0))
    return f"× {digits(math.exp(row['mu_star']))} ({digits(low)}–{digits(high)})"


def _sobol_text(row: Document) -> str:
    total, alone = (
        f"{percent(row[name])} ± {percent(row[f'{name}_half_width'])}" if row[name] is not None else "unknown"
        for name in ("total", "first")
    )
    return f"{total}, by itself {alone}"
