"""A simulated run as the record of a run: what a report, a comparison, a gate and a diagnosis read.

Requests have the times and counts that the engine loop gave them. Energy stands in counters, one of the devices of each
replica and one of all their nodes, read every second, whose basis is ``modelled``: a report says so with each figure.
The client is the simulation itself, which is never late.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from joulemill.arrays import Array
from joulemill.catalog.stated_device import expected_counts
from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.ledger.manifest import Manifest
from joulemill.ledger.record import (
    Channel,
    Phase,
    Quantity,
    Reading,
    RequestOutcome,
    RequestRecord,
    RunRecord,
    Scope,
    ServerSample,
)
from joulemill.recording.writer import SCHEMA_VERSION
from joulemill.simulation.bins import Bins
from joulemill.simulation.outcomes import REASONS
from joulemill.simulation.run import PlayedTraffic
from joulemill.simulation.series import timeline_columns
from joulemill.simulation.traffic import NS_IN_S
from joulemill.version import __version__

#: Steps of the counters [s], and requests up to which a record is made: an account keeps every one.
STEP_S, MOST_REQUESTS = 1.0, 200_000
#: Counters of the server → column of the timeline.
COUNTERS = {
    "prompt_computed_tok_total": "prefill_tok",
    "prompt_cached_tok_total": "cached_tok",
    "output_tok_total": "output_tok",
}


def simulated_record(run: PlayedTraffic, stated: Manifest) -> RunRecord:
    """The record of ``run``; ``stated`` are options, model, device, site, and what simulated it.

    Raises InputError where the run has too many requests for one.
    """
    if run.traffic.requests_count > MOST_REQUESTS:
        raise InputError(f"{run.traffic.requests_count:,} requests are more than a record holds ({MOST_REQUESTS:,})")
    bins = Bins(STEP_S, run.duration_s)
    channels, readings = _energy(run, bins)
    return RunRecord(
        manifest=_manifest(stated, run.notes),
        channels=channels,
        readings=readings,
        requests=tuple(_requests(run)),
        server=tuple(_samples(run, bins)),
        phases=(Phase("load", 0.0, 0.0, run.duration_s),),
        events=({"kind": "warning", "text": "simulated: no server was asked, and every joule is of a model"},),
    )


def _manifest(stated: Manifest, notes: tuple[str, ...]) -> Manifest:
    return replace(
        stated,
        schema_version=SCHEMA_VERSION,
        joulemill_version=__version__,
        versions={"simulated by": f"joulemill {__version__}"},
        expected=expected_counts(stated.device),
        warnings=notes,
    )


def _energy(run: PlayedTraffic, bins: Bins) -> tuple[tuple[Channel, ...], tuple[Reading, ...]]:
    """Counters of the devices and, where it is known, of the nodes."""
    scopes = [("device", Scope.DEVICE), ("node", Scope.NODE)]
    known = [(name, scope) for name, scope in scopes if run.power.at_scope(name) is not None]
    channels, readings = [], []
    for name, scope in known:
        identity = f"simulated:{name}:energy"
        low, high = run.bounds(name)
        channels.append(
            Channel(
                id=identity,
                meter="simulated",
                device=f"all {name}s",
                scope=scope,
                quantity=Quantity.ENERGY,
                basis=Basis.MODELLED,
                resolution=0.0,
                update_period_s=STEP_S,
                rel_error=max(high - 1.0, 1.0 - low),
                source="joulemill simulate",
            )
        )
        counter = _counter(run.power.at_scope(name), run, bins)
        readings += [
            Reading(identity, t, t, value) for t, value in zip(bins.edges_s.tolist(), counter.tolist(), strict=True)
        ]
    readings.sort(key=lambda r: r.t_mono_s)
    return tuple(channels), tuple(readings)


def _counter(energy_j: Array | None, run: PlayedTraffic, bins: Bins) -> Array:
    """Joules since the start at the edges of ``bins``."""
    reached = np.concatenate([[0.0], np.cumsum(energy_j if energy_j is not None else 0.0)])
    return np.asarray(np.interp(bins.edges_s, run.power.bins.edges_s, reached))


def _requests(run: PlayedTraffic) -> Iterator[RequestRecord]:
    traffic, o = run.traffic, run.outcomes
    history = _history(run)
    columns = (o.arrival_ns, o.first_token_ns, o.finish_ns, traffic.input_tok, o.cached_tok, o.generated_tok, history)
    for i, row in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        arrival, first, finish, prompt, cached, answer, earlier = row
        if arrival < 0:
            continue
        done = finish >= 0
        yield RequestRecord(
            id=str(i),
            phase="load",
            scheduled_mono_s=arrival / NS_IN_S,
            dispatched_mono_s=arrival / NS_IN_S,
            first_byte_mono_s=_second(first),
            first_token_mono_s=_second(first),
            last_token_mono_s=_second(finish),
            end_mono_s=_second(finish),
            outcome=RequestOutcome.OK
            if done
            else RequestOutcome.HTTP_ERROR
            if o.rejected[i]
            else RequestOutcome.CANCELLED,
            prompt_tok=prompt,
            cached_tok=cached,
            output_tok=answer,
            asked_prompt_tok=prompt,
            asked_output_tok=int(traffic.output_tok[i]),
            error=None if done else REASONS[int(o.rejected_for[i])] or "the run ended before",
            history_tok=earlier or None,
        )


def _second(at_ns: int) -> float | None:
    return at_ns / NS_IN_S if at_ns >= 0 else None


def _history(run: PlayedTraffic) -> Array:
    """Tokens of the conversation before each request."""
    traffic = run.traffic
    if traffic.previous is None:
        return np.zeros(traffic.requests_count, dtype=np.int64)
    before = np.maximum(traffic.previous, 0)
    earlier = traffic.input_tok[before] + traffic.output_tok[before]
    return np.asarray(np.where(traffic.previous >= 0, earlier, 0))


def _samples(run: PlayedTraffic, bins: Bins) -> Iterator[ServerSample]:
    """The counters and gauges that a server would show, at the edges of ``bins``."""
    sums = timeline_columns(run.timeline, bins)
    counters = {name: np.concatenate([[0.0], np.cumsum(sums[column])]) for name, column in COUNTERS.items()}
    prompts = counters["prompt_computed_tok_total"] + counters["prompt_cached_tok_total"]
    gauges = {"running_req": sums["decode_req_s"], "waiting_req": sums["waiting_req_s"]}
    # A server's gauges are whole numbers of requests: what waits for a part of a step shows as none.
    means = {name: np.append(np.rint(column / bins.lengths_s), 0.0) for name, column in gauges.items()}
    for i, t in enumerate(bins.edges_s.tolist()):
        values = {name: float(column[i]) for name, column in {**counters, **means}.items()}
        yield ServerSample(t, t, {**values, "prompt_tok_total": float(prompts[i])})
