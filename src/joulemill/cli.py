"""The command line: a table of commands, and what they have in common (errors, exit codes, Ctrl-C, SIGTERM, streams).

Only the command that is asked for is imported, so ``--help`` stays instant. An error is one line on stderr; with
``--json`` it is the one JSON document on stdout as well: ``{"error": {"kind", "message", "exit_code"}}``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from joulemill.commands import ending
from joulemill.commands.flags import in_flags
from joulemill.errors import EXIT_INTERRUPTED, InputError, JoulemillError, MachineError, ServerError
from joulemill.streams import GuardedStream, guarded, print_json, tell
from joulemill.suggestions import meant, nearest
from joulemill.version import __version__

#: group → command → what it does
GROUPS: dict[str, dict[str, str]] = {
    "measure": {
        "bench": "drive a server, meter it, find the active constraint, write a run folder, report",
        "sweep": "a bench run at each of several concurrencies, rates or lengths",
        "probe": "a bench run with each setting changed alone, to find what limits the rate",
        "find-rate": "the highest request rate that meets the latency targets",
        "report": "show a recorded run again: text, --html, --json, --markdown, --latex, --export",
        "compare": "runs side by side; conditions that differ come first",
    },
    "predict": {
        "predict": "rate, J/token, power, latency and bottleneck of a deployment before running it",
        "simulate": "traffic through a deployment: tokens, latency and power over time, at every scope",
        "levers": "rank what would lower the joules per token of a deployment or a measured run",
        "levers measure": "measure levers in A/B runs on the embedded server",
        "explore": "a local page to compare deployments on, live; --export writes it as a static site",
    },
    "plan": {
        "plan": "what to buy and run where under power, cooling, carbon and latency; shadow prices",
    },
    "check predictions": {
        "validate": "prediction error against a table of measured runs",
        "calibrate": "fit this machine's coefficients from a few of its own runs",
    },
    "decide": {
        "diagnose": "the bottleneck of a recorded run: evidence for every constraint, and what would overturn it",
        "gate": "pass, fail or undecided for CI: did J/token rise at the same quality and latency?",
        "baseline": "save runs as the baseline for comparisons",
        "audit": "audit a report for missing information and say how to add it",
    },
    "operate": {
        "monitor": "meter running servers continuously: tokens, joules and gaps of every target",
        "advise": "savings that a monitor's history shows: idle replicas, power caps, load shifting",
        "chargeback": "allocate energy, carbon and cost by model, label or route",
        "history": "query a monitor's history by SQL, or export it as Parquet",
    },
    "data and machine": {
        "import": "results of other tools into a run folder and a report, joined with a meter's file",
        "show": "a device, model or site of the catalog, every fact with its source",
        "doctor": "what this machine and these endpoints can meter, and how to add what is missing",
    },
}
COMMANDS: dict[str, str] = {name: about for group in GROUPS.values() for name, about in group.items()}
#: Commands whose module has another name: Python keeps the word for itself, or it is two words.
_MODULES = {"import": "import_results", "levers measure": "lever_experiment"}
EXIT_INTERNAL = 1
#: Set, it shows the traceback of an internal error.
TRACEBACK_VARIABLE = "JOULEMILL_TRACEBACK"
_NEGATIVE_QUANTITY = re.compile(r"-\.?\d")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with a suggestion for a misspelt option or command."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        # Python reads ２ and 1_000 as numbers; who typed them meant something else, or pasted it.
        self.register("type", int, _plain(int))
        self.register("type", float, _plain(float))
        self.register("action", None, _Store)
        self.register("action", "store", _Store)
        self._words: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does, with the words kept for messages about them."""
        self._words = [] if args is None else list(args)
        parsed: tuple[argparse.Namespace, list[str]] = super().parse_known_args(args, namespace)
        return parsed

    def _get_values(self, action: argparse.Action, words: list[str]) -> Any:
        """No value is empty: it is a variable of the shell that was not set, and would count as not given."""
        if "" in words and action.nargs != argparse.PARSER:  # a command's own parser looks at its words
            raise argparse.ArgumentError(action, "is empty; give a value, or leave it out")
        return super()._get_values(action, words)

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing the usage and ending the process."""
        raise InputError(f"{self._suggested(message)}; see `{self.prog} --help`")

    def _suggested(self, message: str) -> str:
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if unknown:
            near = self._flag_meant(unknown.group(1))
            return message + (f"; did you mean {near}?" if near else "")
        command = re.match(r"argument COMMAND: invalid choice: '([^']*)'", message)
        if command:
            return f"no command {command.group(1)!r}; {meant(command.group(1), COMMANDS)}"
        choice = re.match(r"(argument [^:]+): invalid choice: '([^']*)' \(choose from (.*)\)", message, re.DOTALL)
        if choice:
            what, word, listed = choice.groups()
            return f"{what} cannot be {word!r}; {meant(word, (c.strip(chr(39)) for c in listed.split(', ')))}"
        if message.startswith("the following arguments are required: "):
            return self._slip_among(self._words) or message
        return message

    def _flag_meant(self, word: str) -> str | None:
        """The flag that a word that is none may have meant; dashes at its front are no likeness."""
        flags = {f.lstrip("-"): f for f in self._option_string_actions if f.startswith("--")}
        return next((flags[n] for n in nearest(word.lstrip("-"), flags)), None)

    def _slip_among(self, words: Sequence[str]) -> str | None:
        """A flag that no option is called, where a required one is missing: it was given, with a slip."""
        for word in (w.partition("=")[0] for w in words if w.startswith("--")):
            known = any(f.startswith(word) for f in self._option_string_actions)
            if not known and (near := self._flag_meant(word)):
                return f"unrecognized argument: {word}; did you mean {near}?"
        return None


class _Store(argparse.Action):
    """Keeps an option's value; the last one counts, and one that another replaces is noted for `_outcome` to report."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep ``values``, and note what they replace."""
        before = getattr(self, "_kept", values)
        if self.option_strings and before != values:
            note = f"{self.option_strings[-1]} is given as {before} and as {values}: the last counts"
            namespace.replaced = (*getattr(namespace, "replaced", ()), note)
        self._kept = values
        setattr(namespace, self.dest, values)


def _plain(kind: type[int] | type[float]) -> Callable[[str], float]:
    """``kind`` of plain digits only."""

    def read(text: str) -> float:
        if not text.isascii() or "_" in text:
            raise ValueError(text)
        return kind(text)

    read.__name__ = kind.__name__
    return read


def _module(command: str) -> Any:
    return importlib.import_module(f"joulemill.commands.{_MODULES.get(command, command.replace('-', '_'))}")


def _described() -> str:
    """The commands in their groups, for 80 columns."""
    lines = ["From joules to tokens: measure, explain, predict and plan the energy of LLM", "inference."]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:"]
        for name, about in commands.items():
            first, *rest = textwrap.wrap(about, 58)
            lines += [f"    {name:<16}{first}", *(" " * 20 + more for more in rest)]
    return "\n".join(lines)


def _parser(command: str | None) -> tuple[Parser, Parser | None]:
    """The whole parser, and the one of ``command``."""
    parser = Parser(
        prog="joulemill",
        usage="joulemill COMMAND [options]",
        description=_described(),
        epilog="Exit codes: 0 done, 1 the server or a check failed, 2 bad usage or input,\n"
        f"3 undecided, {EXIT_INTERRUPTED} interrupted. See `joulemill COMMAND --help`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"joulemill {__version__}")
    parsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, help=argparse.SUPPRESS, prog="joulemill"
    )
    chosen = None
    for name, about in COMMANDS.items():
        sub = parsers.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        if name == command:
            chosen = sub
            _module(name).add_arguments(sub)
            sub.usage = sub.usage or _usage(sub)
    return parser, chosen


#: How many words a positional takes → how the usage shows it.
_COUNTED = {"?": "[{}]", "*": "[{} …]", "+": "{} …"}


def _usage(parser: argparse.ArgumentParser) -> str:
    """What a command needs, in a line; its options are listed below it."""
    needed = []
    for action in parser._actions:
        name = action.metavar or "|".join(action.choices or ()) or action.dest
        if not action.option_strings:
            needed.append(_COUNTED.get(str(action.nargs), "{}").format(name))
        elif action.required:
            needed.append(f"{action.option_strings[-1]} {name}")
    return " ".join([parser.prog, *needed, "[options]"])


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of the command in ``words``. Raises InputError for what cannot be parsed."""
    words = _as_command(words)
    parser, chosen = _parser(_command(words))
    args, unknown = parser.parse_known_args(_joined(words))
    if unknown:
        (chosen or parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _as_command(words: Sequence[str]) -> list[str]:
    """The words, with a command of two words (`levers measure`) as one."""
    two = " ".join(words[:2])
    return [two, *words[2:]] if two in COMMANDS else list(words)


def _command(words: Sequence[str]) -> str | None:
    return next((w for w in words if not w.startswith("-")), None)


def _joined(words: Sequence[str]) -> list[str]:
    """``--slo-tpot -5ms`` as ``--slo-tpot=-5ms``: argparse would take -5ms for an option and not name the value."""
    joined: list[str] = []
    for word in words:
        if _NEGATIVE_QUANTITY.match(word) and joined and re.fullmatch(r"--[a-z0-9-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with ``argv``; returns the exit code. Errors are one line on stderr, never a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    with guarded() as out:
        try:
            code = _outcome(words, out)
            out.flush()
        except MachineError as fault:  # stdout itself cannot be written
            tell(f"joulemill: {fault}")
            code = fault.exit_code
        except BaseException:
            with suppress(MachineError):
                out.flush()
            raise
    return code


def _outcome(words: Sequence[str], out: GuardedStream) -> int:
    """The exit code of one run; every error has been reported."""
    command = _command(_as_command(words))
    try:
        with _ended_by_sigterm(), ending.reported_by(lambda why: _ended(words, command, why, out)):
            args = _parsed(words)
            code = int(_module(args.command).run(args))
            for note in getattr(args, "replaced", ()):
                tell(f"joulemill {command}: {note}")
            return code
    except JoulemillError as fault:
        return _reported(words, command, _kind(fault), str(fault), fault.exit_code, out)
    except KeyboardInterrupt as stop:
        return _reported(words, command, "interrupted", str(stop) or "interrupted", EXIT_INTERRUPTED, out)
    except Exception as fault:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        if isinstance(fault, MemoryError):
            why = "this machine has not enough memory for it; ask for less at once: fewer requests, a shorter time"
            return _reported(words, command, "machine", why, MachineError.exit_code, out)
        why = f"internal error ({type(fault).__name__}: {fault}); please report it; {TRACEBACK_VARIABLE}=1 shows where"
        return _reported(words, command, "internal", why, EXIT_INTERNAL, out)


def _kind(fault: JoulemillError) -> str:
    if isinstance(fault, ServerError):
        return "server"
    return "machine" if isinstance(fault, MachineError) else "input"


def _reported(words: Sequence[str], command: str | None, kind: str, why: str, code: int, out: GuardedStream) -> int:
    """One line on stderr; with ``--json`` the document of the error on stdout, unless one is there."""
    message = in_flags(" ".join(why.split()))
    tell(f"joulemill {command}: {message}" if command in COMMANDS else f"joulemill: {message}")
    if "--json" in words and not out.wrote:
        print_json({"error": {"kind": kind, "message": message, "exit_code": code}})
    return code


def _ended(words: Sequence[str], command: str | None, why: str, out: GuardedStream) -> None:
    """Say why the process ends, from another thread than the command's."""
    _reported(words, command, "interrupted", why, EXIT_INTERRUPTED, out)
    out.flush()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does; one that waits for something is ended after ``ending.TERMINATION_S``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, _frame: object) -> NoReturn:
    why = f"stopped by {signal.Signals(number).name}"
    ending.begin(why)
    raise KeyboardInterrupt(why)
