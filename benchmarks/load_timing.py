"""How much the load engine itself adds: TTFT and ITL against a loopback server whose timing is known exactly.

    python -m benchmarks.load_timing [--concurrency 1 32 128]

The server is simulated/mock_server.py in a process of its own (TTFT 101 ms, ITL 20 ms, 50 tokens, absolute deadlines).
TTFT is first token − dispatch, and beside it first token − scheduled time; ITL is (last − first token) / (tokens − 1)
of each request; medians over the requests after the warm-up. Beside each run stands a control, the overshoot of plain
sleeps just before, which tells a busy machine from a slow client.
"""

from __future__ import annotations

import argparse

from simulated.mock_server import MockPlan, mock_process
from simulated.streams import ITL_S, TOKENS, TTFT_S, drive, runner, sleep_overshoot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument("--burst", action="store_true", help="start all slots at once, as most tools do")
    args = parser.parse_args()
    print(f"truth: TTFT {TTFT_S * 1e3:.0f} ms, ITL {ITL_S * 1e3:.0f} ms, {TOKENS} tokens")
    print("  conc  reqs   TTFT p50    p95  from schedule   ITL p50   lag p99   client CPU   control")
    with mock_process(MockPlan(ttft_s=TTFT_S, itl_s=ITL_S)) as url, runner() as run:
        for concurrency in args.concurrency:
            control = run.run(sleep_overshoot())
            t = run.run(drive(url, concurrency, ramp_s=0.0 if args.burst else None))
            print(
                f"{t.concurrency:6d}{t.requests:6d}{t.ttft_p50_s * 1e3:9.1f}{t.ttft_p95_s * 1e3:8.1f}"
                f"{t.scheduled_p50_s * 1e3:12.1f} ms"
                f"{t.itl_p50_s * 1e3:7.2f} ms{t.lag_p99_s * 1e3:7.1f} ms{t.client_cpu_s / t.wall_s:10.0%}"
                f"{control * 1e3:9.2f} ms"
            )


if __name__ == "__main__":
    main()
