"""The command line: a table of verbs, and what they have in common (errors, exit codes, Ctrl-C).

Only the verb that is asked for is imported, so ``--help`` stays instant.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from joulemill import __version__
from joulemill.errors import JoulemillError

#: verb → (module in joulemill.verbs, what it does)
VERBS: dict[str, str] = {
    "bench": "drive a server, meter it, find what binds, write a run folder and print the report",
    "report": "a recorded run again: terminal, --html, --json, --markdown, --latex",
    "diagnose": "what bound a recorded run: every constraint with its evidence, and what would overturn it",
    "predict": "what a deployment nobody has run would do: rate, J/token, power, latency, what binds",
    "levers": "what would lower the joules of a token, ranked, with what binds next; and combinations",
    "validate": "prediction error against a table of measured runs",
    "calibrate": "fit this machine's coefficients from its own runs",
    "import": "results of other tools into a run folder and a report, joined with a meter's file",
    "check": "how complete a report is, point by point, ours or another tool's; how to fill each hole",
    "gate": "pass, fail or undecided: has J/token risen, at the same quality and latency? For CI",
    "baseline": "keep a run as the baseline that later runs are shown against",
    "show": "a device, model or site of the catalogue, every fact with its source",
    "monitor": "watch servers and meters as they run: tokens, joules and gaps of every target, no load of its own",
    "chargeback": "whose joules, carbon and money a kept history shows, by day and model, label or route",
    "history": "what the monitor kept: its tables and targets, by SQL, or as Parquet files",
    "advise": "what a kept history says could be saved: idle replicas, power caps, load in time; it changes nothing",
    "doctor": "what this machine and these endpoints can meter, and how to get the rest",
}
#: Verbs whose module has another name, since Python keeps the word for itself.
_MODULES = {"import": "import_results"}
EXIT_INTERRUPTED = 2


def _module(verb: str) -> Any:
    return importlib.import_module(f"joulemill.verbs.{_MODULES.get(verb, verb)}")


def _parser(verb: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="joulemill",
        description="From joules to tokens: measure, explain, predict and plan the energy of LLM inference.",
        epilog="Exit codes: 0 done, 1 the server or a check failed, 2 bad usage or input, 3 undecided. "
        "`joulemill VERB --help` tells a verb's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"joulemill {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    for name, about in VERBS.items():
        sub = verbs.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        if name == verb:
            _module(name).add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb with ``argv``; returns the exit code. Errors are one line on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    verb = next((w for w in words if not w.startswith("-")), None)
    args = _parser(verb).parse_args(words)
    try:
        return int(_module(args.verb).run(args))
    except JoulemillError as fault:
        sys.stderr.write(f"joulemill {args.verb}: {fault}\n")
        return fault.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        sys.stderr.write(f"joulemill {args.verb}: interrupted\n")
        return EXIT_INTERRUPTED
