"""What a reader must know before the first figure of a run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from joulemill.analysis import report as doc
from joulemill.analysis.facts import status as run_status
from joulemill.figure import Basis
from joulemill.ledger.account import Account
from joulemill.ledger.client_check import is_closed
from joulemill.ledger.continuity import outages
from joulemill.ledger.record import Quantity, RequestOutcome, RunRecord, Scope
from joulemill.ledger.serving_state import overload
from joulemill.physics.production.ceilings import BindingValue
from joulemill.wording import percent, title

#: Usage and the server's own counters may part by this much before it is told (requests that straddle a scrape).
MISMATCH_RATIO = 0.01
#: The window of a closed loop may end this much of the load, and so long, before its end without a word. Assumed.
LOST_RATIO, LOST_S = 0.2, 5.0
#: How a meter's notice begins that repeats what the report says of a node without a sensor.
NO_SENSOR_NOTICE = "no energy sensor can be read here"
#: Ceilings that no server can break through, and the slack below which one is told as broken: 1.2 times it. Assumed,
#: for the work of a token is an estimate.
HARDWARE, BROKEN_SLACK_RATIO = ("compute", "memory_bandwidth"), 1 / 1.2 - 1
#: Boards that a warning names.
NAMED_BOARDS = 8
_ENDED = {"failed": "failed", "interrupted": "was interrupted"}
#: Share of one core that metering may take before it is told: it draws power on the machine that it measures.
METERING_CORE_RATIO = 0.01


def warnings(
    record: RunRecord, counted: Account, client: doc.Client, energy: doc.Energy, bound: BindingValue
) -> tuple[str, ...]:
    """Every caveat of the run, the gravest first."""
    # What meters miss is no caveat where there are none: of a simulated run another one says so.
    metered = () if record.manifest.simulated else (*_of_energy(energy), *_of_boards(record, energy))
    texts = (
        *(*_of_run(record, counted), *broken_ceilings(bound), *_of_client(client), *metered),
        *(*_of_tokens(counted), *_server_warnings(record)),
    )
    return tuple(dict.fromkeys(text for text in texts if not _again(text, texts)))


def _again(text: str, texts: tuple[str, ...]) -> bool:
    """Whether a notice of the meters only repeats that no sensor measured the node."""
    return text.startswith(NO_SENSOR_NOTICE) and any(t.startswith("No sensor measured") for t in texts)


def _of_run(record: RunRecord, counted: Account) -> Iterator[str]:
    status, reason = run_status(record)
    if status != "complete":
        ended = _ENDED.get(status, f"was {status}")
        yield f"The run {ended}: {reason or 'no reason given'}. What was measured is kept."
    broken = outages(record)
    if broken and status == record.status:
        yield f"The server was not one and the same all the time: {'; '.join(o.text for o in broken)}."
    caching_finding = counted.tokens.caching.finding() if counted.tokens and counted.tokens.caching else None
    if caching_finding is not None:
        yield f"The load met a cache of its own prompts: {caching_finding.detail}."
    yield from _of_load(record, counted)
    failed = {k: v for k, v in counted.load_latency.by_outcome.items() if k != RequestOutcome.OK and v}
    if failed:
        yield "Some requests failed: " + ", ".join(f"{v} {k}" for k, v in failed.items()) + "."
    if counted.window is not None and counted.window.steady is False:
        yield f"The window was not steady: {counted.window.note}."


def _of_load(record: RunRecord, counted: Account) -> Iterator[str]:
    """What the load was to the server: too much, or only for a part of the time."""
    window, phase = counted.window, record.phase("load")
    excess = overload(record, window)
    if excess is not None:
        yield (
            f"The server was overloaded: {excess.offered_req_s:.3g} requests per second were due and "
            f"{excess.served_req_s:.3g} ended, so the queue grew, and latencies with it: they are of this run's length."
        )
    if window is None or phase is None or phase.end_mono_s is None or not is_closed(record):
        return
    length_s = phase.end_mono_s - phase.start_mono_s
    if phase.end_mono_s - window.end_s > LOST_RATIO * length_s and phase.end_mono_s > window.end_s + LOST_S:
        yield (
            f"The window ends {window.end_s - phase.start_mono_s:.1f} s into {length_s:.1f} s of load: "
            "from then on not all slots were busy."
        )


def broken_ceilings(bound: BindingValue) -> Iterator[str]:
    """A rate above what the hardware can do: something is stated that was not there."""
    slack = dict(bound.slack)
    for name in bound.refuted:
        left = slack[name].value if name in slack else None
        if name in HARDWARE and left is not None and left < BROKEN_SLACK_RATIO:
            yield (
                f"The rate is {1 / (1 + left):.3g} times the ceiling of {title(name)}, which is impossible: the "
                "device, the model or the precision that served is not the one that is stated, the ceiling was "
                "measured too low, or a step makes several tokens (speculative decoding)."
            )


def _of_client(client: doc.Client) -> Iterator[str]:
    reasons = "; ".join(client.reasons)
    if not client.valid:
        yield f"The client was the bottleneck; rate and latencies are not the server's: {reasons}."
    elif client.late:
        reasons = "; ".join(client.late)
        share = "" if client.lateness_ratio is None else f" ({percent(client.lateness_ratio, 1)} of a request's time)"
        yield f"The client was late, and latencies include its delay; the rate is the server's{share}: {reasons}."
    if client.machine_quiet is False:
        yield "The machine was not quiet: " + "; ".join(client.quiet_notes) + ". A CPU server can slow down many-fold."


def _of_energy(energy: doc.Energy) -> Iterator[str]:
    node = energy.node_j_tok
    parts = [n for n, f in (("devices", energy.device_j_tok), ("CPU packages", energy.cpu_j_tok)) if f.known]
    if node.value is None:
        yield (
            f"Energy per token is unknown: {node.reason}."
            if not parts
            else f"The node's energy is unknown: {node.reason}."
        )
    elif parts and node.basis is Basis.MODELLED:
        yield f"Only {' and '.join(parts)} are metered; the rest of the node (its host, fans, conversion) is modelled."
    elif node.basis is not Basis.MEASURED:
        yield "No sensor measured this node: its energy comes from a stated power model and is not a measurement."


def _of_boards(record: RunRecord, energy: doc.Energy) -> Iterator[str]:
    """Boards that nobody metered cannot be seen from those that were: only a stated number tells."""
    if not energy.device_j_tok.known or (record.manifest.expected or {}).get(Scope.DEVICE.value):
        return
    metered = (Quantity.ENERGY, Quantity.POWER)
    boards = sorted({c.device for c in record.channels if c.scope is Scope.DEVICE and c.quantity in metered})
    listed = ", ".join(boards[:NAMED_BOARDS]) + (", …" if len(boards) > NAMED_BOARDS else "")
    yield (
        f"Metered {'is one board' if len(boards) == 1 else f'are {len(boards)} boards'} ({listed}); nothing states how "
        "many serve. --device NAME:COUNT refuses the sum where they differ."
    )


def _of_tokens(counted: Account) -> Iterator[str]:
    mismatch = counted.tokens.mismatch_ratio if counted.tokens else None
    if mismatch is not None and mismatch > MISMATCH_RATIO:
        yield f"Usage and the server's counters differ by {percent(mismatch, 1)} in output tokens."


def _server_warnings(record: RunRecord) -> Iterator[str]:
    """Warnings that the run wrote down itself as events, and what its metering cost where that is much."""
    for event in record.events:
        cpu_s, elapsed_s = event.get("cpu_s"), event.get("elapsed_s")
        if event.get("kind") == "metering" and cpu_s and elapsed_s and cpu_s > METERING_CORE_RATIO * elapsed_s:
            yield f"Metering itself took {percent(cpu_s / elapsed_s, 1)} of one core; read the meters less often."
        if event.get("kind") == "unwritable":
            yield f"A line of {event.get('file')} could not be kept ({event.get('error')}): figures may lack it."
        if event.get("kind") in ("warning", "notice") and event.get("text"):
            yield str(event["text"])
