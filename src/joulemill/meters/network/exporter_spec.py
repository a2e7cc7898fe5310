"""What a SPEC asks of an exporter or a Prometheus server: which dialects, labels and boards, and how many. Pure.

``where=gpu:0+gpu:1+Hostname:n1``: a label that is named several times may have any of its values; different labels must
all fit. ``gpus=0+1`` (index or UUID) takes these boards and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from joulemill.catalog.exporter_dialects import ExporterDialect, exporter_dialect, exporter_dialects
from joulemill.errors import InputError, MachineError
from joulemill.formats.prometheus_text import TextSample
from joulemill.ledger.identity import listed
from joulemill.ledger.record import Quantity, Scope
from joulemill.meters.meter import Spec
from joulemill.meters.network.exporter_series import SeriesChoice, SeriesSample, names, select

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)


@dataclass(frozen=True)
class ExporterQuery:
    """What the user's SPEC asks for; ``several`` once it is known whether more than one host answers."""

    spec: Spec
    dialects: tuple[ExporterDialect, ...]
    choice: SeriesChoice
    prefix: str
    host: str
    several: bool | None = None

    @staticmethod
    def of(spec: Spec, host: str) -> ExporterQuery:
        """What ``spec`` asks of ``host``. Raises InputError for what cannot be asked."""
        wanted, prefix = spec.option("dialect", ""), spec.option("prefix", "")
        if prefix and not _NAME.fullmatch(prefix):
            raise InputError(f"`meter` {spec.text}: prefix={prefix} cannot begin a metric's name")
        dialects = (exporter_dialect(wanted),) if wanted else exporter_dialects()
        return ExporterQuery(spec, dialects, SeriesChoice(_where(spec), spec.several("gpus")), prefix, host)

    def select(self, samples: Sequence[TextSample]) -> dict[str, SeriesSample]:
        """The channels in ``samples``."""
        return select(self.dialects, self.named(samples), self.host, choice=self.choice, several=self.several)

    def named(self, samples: Sequence[TextSample]) -> list[TextSample]:
        """``samples`` without the site's prefix, and without those that lack it."""
        if not self.prefix:
            return list(samples)
        return [replace(s, name=s.name.removeprefix(self.prefix)) for s in samples if s.name.startswith(self.prefix)]

    def wanted(self) -> Callable[[str], bool]:
        """Whether a metric of a name may hold anything that is asked for; to be made once, for it is asked often."""
        every = [(d.any_case, n) for d in self.dialects for m in d.metrics for n in m.names]
        exact = frozenset(self.prefix + n for _, n in every)
        any_case = frozenset(self.prefix + n for any_case, n in every if any_case)
        at = len(self.prefix)
        return lambda name: name in exact or name[:at] + name[at:].lower() in any_case

    def matchers(self) -> str:
        """The labels as PromQL writes them, a comma before each."""
        return "".join(f',{label}=~"{_any_of(values)}"' for label, values in self.choice.where.items())

    def check(self, samples: Sequence[TextSample], channels: Mapping[str, SeriesSample]) -> None:
        """Raise where what is asked for is not among ``samples``, or not as often as expected.

        InputError for a label or board that nothing has, MachineError for another number of boards, or no power at all.
        """
        every = select(self.dialects, self.named(samples), self.host, several=self.several)
        self._check_labels(every)
        self._check_boards(every, channels)
        powered = [f for f in channels.values() if _energetic(f)]
        if powered and all(f.value is None for f in powered):
            raise MachineError(f"`meter` {self.spec.text}: no power there can be used ({powered[0].error})")
        boards = {f.device for f in powered if f.metric.scope == Scope.DEVICE}
        count = self.spec.count()
        if count is not None and count != len(boards):
            shown = f"{len(boards)} shown ({listed(boards)})" if boards else "none shown"
            raise MachineError(f"`meter` {self.spec.text}: {count} devices expected, {shown}; is one lost or hidden?")

    def _check_labels(self, every: Mapping[str, SeriesSample]) -> None:
        for label, values in self.choice.where.items():
            there = {f.sample.labels.get(label, "") for f in every.values()}
            missing = [v for v in values if v not in there]
            if missing:
                have = f"is one of {listed(there - {''})}" if there - {""} else "is no label there"
                raise InputError(f"`meter` {self.spec.text}: nothing has {label}={missing[0]!r}; {label} {have}")

    def _check_boards(self, every: Mapping[str, SeriesSample], channels: Mapping[str, SeriesSample]) -> None:
        boards = [f for f in every.values() if f.metric.scope == Scope.DEVICE and _energetic(f)]
        named = {n for f in boards for n in names(f.dialect, f.sample)}
        missing = [b for b in self.choice.boards if b not in named]
        if missing:
            have = ", ".join(dict.fromkeys("=".join(names(f.dialect, f.sample)) for f in boards)) or "none"
            raise InputError(f"`meter` {self.spec.text}: no board {', '.join(missing)}; there are {have[:400]}")
        for board in self.choice.boards:
            of = {f.device for f in channels.values() if board in names(f.dialect, f.sample)}
            if len(of) > 1:
                raise InputError(
                    f"`meter` {self.spec.text}: several boards are called {board} ({listed(of)}); "
                    "say of which host with where=instance:HOST or where=Hostname:HOST"
                )


def unknown_devices(channels: Iterable[SeriesSample]) -> list[str]:
    """A sentence for each thing whose power or energy cannot be used now, with what the exporter shows."""
    return [
        f"{f.device}: {f.error}; it is unknown, and so is every sum that needs it"
        for f in channels
        if f.value is None and _energetic(f)
    ]


def _energetic(series: SeriesSample) -> bool:
    return series.metric.quantity in (Quantity.ENERGY, Quantity.POWER)


def _any_of(values: tuple[str, ...]) -> str:
    """A regular expression of PromQL that is any of ``values``, inside double quotes."""
    parts = [re.sub(r"([.+*?()\[\]{}|^$\\])", r"\\\1", v) for v in values]
    return "|".join(parts).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _where(spec: Spec) -> dict[str, tuple[str, ...]]:
    wanted: dict[str, tuple[str, ...]] = {}
    for part in spec.several("where"):
        label, colon, value = part.partition(":")
        if not colon or not _LABEL.fullmatch(label):
            raise InputError(
                f"`meter` {spec.text}: where={part} must be LABEL:VALUE, several joined by +; of a label that is named "
                "twice any of the values will do"
            )
        wanted[label] = (*wanted.get(label, ()), value)
    return wanted
