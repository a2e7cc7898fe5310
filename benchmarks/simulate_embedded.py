"""The embedded server as measured, and the same load simulated with coefficients that were fitted to other loads.

    python benchmarks/simulate_embedded.py [--seconds 20] [--keep DIR]

On this machine, with the bundled model: closed loops of 1, 2 and 4 users calibrate (``joulemill calibrate``). Then two
loads that the fit has not seen are measured and simulated: a closed loop of 3 users with other lengths, and Poisson
arrivals at half the rate of 4 users. Both are seeded; the simulation is asked the measured run's own requests, at
the times at which they were sent. Requests after the warm-up count, the same ones on either side.

Exit code 0: output rate within 10 %, medians of TTFT and TPOT within 20 % of the measured ones, on both loads. 1: not.
It needs a quiet machine of its own: what else runs is measured too. One core is left to the client. Joules are not
compared: nothing meters them here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import joulemill as jm
from joulemill.bench.machine.microbenchmark import measure_ceilings
from joulemill.ledger.record import RequestOutcome, RequestRecord
from joulemill.servers.bundled import find_bundled_gguf
from joulemill.simulation.traffic import NS_IN_S, Traffic

#: Slots of the server, and tokens of one of its steps: llama.cpp's ``n_batch``.
SLOTS, STEP_TOK = 4, 2048
WARMUP_S = 4.0
THREADS = max(1, len(os.sched_getaffinity(0)) - 1)
LIMITS = {"output rate [tok/s]": 0.10, "TTFT, median [s]": 0.20, "TPOT, median [s]": 0.20}
#: Users → prompt lengths of the loads that calibrate. Narrow, since the fit takes a load's mean lengths with the
#: medians of its latencies, and differing, so that it tells a prompt's cost from what a request costs anyway.
CALIBRATING_TOK = {1: "88-104", 2: "40-56", 4: "56-72"}
#: Share of the rate of 4 users at which requests come in the open loop.
OPEN_RATIO = 0.5
#: Short, so that a small machine answers some tens of requests in the time.
ANSWER_TOK = "14-26"
OTHER = {"input_tokens": "24-160", "output_tokens": "6-40"}
#: Fewer requests than this give no median worth comparing.
LEAST_REQUESTS = 10
Column = NDArray[np.float64]


@dataclass(frozen=True)
class Requests:
    """Requests by column, in the order in which they were sent [s from the first]; NaN where it never came to that."""

    sent_s: Column
    first_s: Column
    last_s: Column
    output_tok: Column

    def figures(self, counted: NDArray[np.bool_]) -> dict[str, float]:
        """Rate and medians of the ``counted`` ones."""
        sent, first, last, output = (c[counted] for c in (self.sent_s, self.first_s, self.last_s, self.output_tok))
        several = output > 1
        values = (
            output.sum() / (last.max() - sent.min()),
            np.median(first - sent),
            np.median((last - first)[several] / (output[several] - 1)),
        )
        return dict(zip(LIMITS, map(float, values), strict=True))


def device_file(folder: Path) -> Path:
    """This machine as a device: what its cores and memory do, measured. Its watts are assumed, and compared nowhere."""
    ceilings = measure_ceilings(THREADS)
    rates = {k: ceilings[k]["value"] for k in ("memory_bandwidth_byte_s", "compute_flop_s", "compute_int8_flop_s")}
    bandwidth, fp32, int8 = rates.values()
    path = folder / "this-machine.toml"
    path.write_text(
        f'name = "this-machine"\nkind = "cpu"\nmemory = "16 GiB"\nmemory_bandwidth = "{bandwidth / 1e9:.3f} GB/s"\n'
        f'peak_fp32 = "{fp32 / 1e9:.2f} Gflop/s"\npeak_int8 = "{int8 / 1e9:.2f} Gflop/s"\ntdp = "60 W"\n'
    )
    return path


def measured_run(device: Path, out: Path, seconds: float, load: Mapping[str, Any]) -> jm.Run:
    """One load on a server of its own."""
    began = time.monotonic()
    run = jm.bench(
        device=str(device),
        slots=SLOTS,
        threads=THREADS,
        duration_s=seconds,
        warmup_s=WARMUP_S,
        idle_s=0.5,
        quality=None,
        out=out,
        **load,
    )
    print(f"measured {out.name} in {time.monotonic() - began:.0f} s: {run.rate_tok_s}", file=sys.stderr)
    return run


def asked(run: jm.Run) -> list[RequestRecord]:
    """Requests of the load that were answered, in the order in which they were sent."""
    rows = [r for r in run.record.requests if r.phase == "load" and r.outcome is RequestOutcome.OK]
    return sorted(rows, key=lambda r: r.dispatched_mono_s or 0.0)


def served(rows: list[RequestRecord]) -> Requests:
    """The measured requests as columns."""
    sent, first, last = (
        np.array([getattr(r, name) or np.nan for r in rows])
        for name in ("dispatched_mono_s", "first_token_mono_s", "last_token_mono_s")
    )
    return Requests(sent - sent[0], first - sent[0], last - sent[0], np.array([float(r.output_tok or 0) for r in rows]))


def traffic_of(rows: list[RequestRecord], *, closed: bool) -> Traffic:
    """The same requests to be simulated; in a closed loop each waits for the one whose end let it be sent.

    Prompts are what the server computed of them: it keeps the chat template, which all share, in its cache.
    """
    seen = served(rows)
    sent_ns = np.rint(seen.sent_s * NS_IN_S).astype(np.int64)
    columns: dict[str, Any] = {
        "input_tok": np.array([max((r.prompt_tok or 1) - (r.cached_tok or 0), 1) for r in rows]),
        "output_tok": np.array([max(r.output_tok or 1, 1) for r in rows]),
    }
    if not closed:
        return Traffic(arrival_ns=sent_ns, **columns)
    previous, think_ns = chains(rows)
    arrival_ns = np.where(previous < 0, sent_ns, 0)
    return Traffic(arrival_ns=np.maximum.accumulate(arrival_ns), previous=previous, think_ns=think_ns, **columns)


def chains(rows: list[RequestRecord]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which request each one followed in its slot, and how long the client took to send it [ns]."""
    ended = sorted((r.end_mono_s or np.inf, i) for i, r in enumerate(rows))
    previous, think_ns = np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    free: list[tuple[float, int]] = []
    for i, row in enumerate(rows):
        sent = row.dispatched_mono_s or 0.0
        while ended and ended[0][0] <= sent:
            free.append(ended.pop(0))
        if free:
            end, previous[i] = free.pop()
            think_ns[i] = round((sent - end) * NS_IN_S)
    return previous, think_ns


def simulated(traffic: Traffic, gguf: Path, device: Path, calibration: Path) -> Requests:
    """The same requests as the simulation serves them."""
    run = jm.simulate(
        gguf,
        device,
        trace=traffic,
        calibration=calibration,
        max_num_seqs=SLOTS,
        max_num_batched_tokens=STEP_TOK,
        scenarios=0,
    ).run
    o = run.outcomes
    sent, first, last = (np.where(t >= 0, t / NS_IN_S, np.nan) for t in (o.arrival_ns, o.first_token_ns, o.finish_ns))
    return Requests(sent, first, last, o.generated_tok.astype(np.float64))


def compared(name: str, theirs: Requests, ours: Requests) -> bool:
    """Print both side by side; whether ours is within the limits."""
    counted = (theirs.sent_s >= WARMUP_S) & np.isfinite(theirs.last_s) & np.isfinite(ours.last_s)
    if counted.sum() < LEAST_REQUESTS:
        print(f"{name}: only {int(counted.sum())} requests were answered; raise --seconds, or wait for a quiet machine")
        return False
    measured, played = theirs.figures(counted), ours.figures(counted)
    print(f"{name}: {int(counted.sum())} requests")
    held = True
    for figure, limit in LIMITS.items():
        apart = played[figure] / measured[figure] - 1.0
        held = held and abs(apart) <= limit
        verdict = "holds" if abs(apart) <= limit else "DOES NOT HOLD"
        print(
            f"  {figure:22} measured {measured[figure]:9.4f}  simulated {played[figure]:9.4f}  {apart:+6.1%}  "
            f"within {limit:.0%}: {verdict}"
        )
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=16.0, help="of a closed loop after its warm-up (default: 16)")
    parser.add_argument("--keep", type=Path, help="keep the runs and the calibration in this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        return 0 if all(loads(folder, arguments.seconds)) else 1


def loads(folder: Path, seconds: float) -> list[bool]:
    """Calibrate, measure the other loads, simulate them: whether each holds."""
    gguf, device = find_bundled_gguf(), device_file(folder)
    fitted = [
        measured_run(
            device,
            folder / f"users-{n}",
            seconds,
            {"concurrency": n, "seed": 10 + n, "input_tokens": lengths, "output_tokens": ANSWER_TOK},
        )
        for n, lengths in CALIBRATING_TOK.items()
    ]
    calibration = folder / "calibration.json"
    # Quarters of so short a load differ, which calibrate would refuse; the fit's widths hold it.
    jm.calibrate(fitted, str(gguf), str(device), force=True).save(calibration)
    full_req_s = float(fitted[-1].report.output.request_rate_req_s.value or 1.0)
    others = {
        "closed loop of 3 users": {"concurrency": 3, "seed": 77},
        "Poisson arrivals": {"rate_req_s": OPEN_RATIO * full_req_s, "seed": 78},
    }
    held = []
    for name, load in others.items():
        closed = "concurrency" in load
        length_s = seconds if closed else 2.0 * seconds  # fewer requests come a second
        rows = asked(measured_run(device, folder / name.replace(" ", "-"), length_s, {**load, **OTHER}))
        traffic = traffic_of(rows, closed=closed)
        held.append(compared(name, served(rows), simulated(traffic, gguf, device, calibration)))
    return held


if __name__ == "__main__":
    sys.exit(main())
