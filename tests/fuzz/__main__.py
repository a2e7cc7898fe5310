"""Feeds mutated inputs to every parser: nothing but a JoulemillError may come out, in bounded time and memory.

    python -m tests.fuzz                            every parser, 60 s in all
    python -m tests.fuzz --inputs 200000            so many inputs for each parser, however long it takes
    python -m tests.fuzz config_json gguf --seed 7  these parsers alone

Inputs that failed are kept in tests/corpus/<parser>/ and are tests from then on. Exit code 1 where any failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys

from tests.fuzz.feeding import RequestCounts, fuzz
from tests.fuzz.targets import TARGETS

COLUMNS = ("inputs", "read", "refused", "uncaught", "over 2 s", "slowest s", "peak MB")


def line(name: str, tally: RequestCounts) -> str:
    """A row of the table, and below it where exceptions came from."""
    counts = (tally.inputs, tally.read, tally.refused, tally.uncaught.total(), tally.slow)
    row = name.ljust(18) + "".join(f"{n:>11,}" for n in counts)
    row += f"{tally.slowest_s:>11.2f}{tally.rss_byte / 1e6:>11.0f}"
    return "\n".join([row, *(f"    {count:>6} × {place}" for place, count in tally.uncaught.most_common(12))])


def main() -> int:
    """Run every parser in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parsers", nargs="*", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--inputs", type=int, help="inputs of each parser (default: as many as fit into --seconds)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of all parsers together (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = args.parsers or list(TARGETS)
    wrong = [n for n in names if n not in TARGETS]
    if wrong:
        parser.error(f"no parser {wrong[0]!r}; there are {', '.join(TARGETS)}")
    each_s = 1e9 if args.inputs else args.seconds / len(names)
    print("parser".ljust(18) + "".join(f"{c:>11}" for c in COLUMNS))
    sound, total = True, 0
    for name in names:  # a process each: its peak memory is its own
        with multiprocessing.get_context("fork").Pool(1) as pool:
            tally = pool.apply(fuzz, (name, args.seed, args.inputs or 10**9, each_s))
        sound, total = sound and tally.sound, total + tally.inputs
        print(line(name, tally), flush=True)
    print(f"{total:,} inputs; {'nothing uncaught, slow or large' if sound else 'FAULTS, kept in tests/corpus'}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
