"""How requests arrive, as people write it: ``poisson``, ``gamma:0.5+diurnal:60%``, ``agents:12:3s:400`` … Pure.

Parts are joined by ``+``. One says how regular: ``constant`` · ``poisson`` · ``gamma:SHAPE`` (the shape of the gaps;
below 1 is burstier). One says how the rate moves, as multiples of the rate that is asked for:
``diurnal:SWING[:PEAK]`` (a day: mean · (1 ± SWING), peak at an hour of the day, 14:00) · ``ramp:FROM:TO`` ·
``spike:TIMES:AT:LENGTH`` · ``stages:RATExTIME,…`` (requests per second, e.g. ``stages:2x60s,5x2min``).
``agents:TURNS:WAIT[:ADDED]`` makes each arrival a session: so many turns, a mean wait between them, tokens that a turn
after the first adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from joulemill.errors import InputError
from joulemill.simulation.demand import Sessions
from joulemill.statistics.arrivals import RateProfile, diurnal, ramp, spike, stages
from joulemill.statistics.lengths import Lengths, parse_lengths
from joulemill.suggestions import meant
from joulemill.units import parse_quantity, parse_ratio

NAME = "`arrivals`"
PROCESSES = ("constant", "poisson", "gamma")
SHAPES = ("diurnal", "ramp", "spike", "stages")
KINDS = (*PROCESSES, *SHAPES, "agents")
PEAK_HOUR = 14.0


@dataclass(frozen=True, slots=True)
class ArrivalSpec:
    """Parts of a specification: of each kind its arguments."""

    text: str
    process: tuple[str, ...] = ("poisson",)
    shape: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()

    @property
    def burstiness_ratio(self) -> float:
        """Shape of the gaps: infinite is constant, 1 Poisson."""
        if self.process[0] == "constant":
            return math.inf
        if self.process[0] == "poisson":
            return 1.0
        return parse_quantity(self.process[1], "", name=f"{NAME} gamma", above=0.0, most=1e6)

    @property
    def states_rates(self) -> bool:
        """Whether rates and their times are stated here, so that none is asked for beside."""
        return self.shape[:1] == ("stages",)

    def sessions(self, lengths: Lengths) -> Sessions | None:
        """The sessions that arrivals begin; ``lengths``: what a turn adds where that is not stated."""
        if not self.agents:
            return None
        turns, wait = self.agents[1:3]
        added = parse_lengths(self.agents[3], f"{NAME} agents") if len(self.agents) > 3 else lengths
        wait_s = parse_quantity(wait, "s", name=f"{NAME} agents", least=0.0)
        return Sessions(parse_lengths(turns, f"{NAME} agents"), added, wait_s)

    def profile(self, rate_req_s: float | None, duration_s: float | None, start_s: float = 0.0) -> RateProfile:
        """The rate over time, around ``rate_req_s`` for ``duration_s``, from ``start_s`` after midnight on."""
        if self.states_rates:
            return _stages(self.shape[1])
        if rate_req_s is None or duration_s is None:
            raise InputError(
                "a rate and a length are needed: `rate_req_s` with `duration_s` or `requests`, or stages of `arrivals`"
            )
        args = self.shape[1:]
        if not self.shape:
            return ramp(rate_req_s, rate_req_s, duration_s)
        if self.shape[0] == "diurnal":
            swing = parse_ratio(args[0], name=f"{NAME} diurnal")
            peak_s = _hour_s(args[1]) if len(args) > 1 else PEAK_HOUR * 3600.0
            return diurnal(rate_req_s, duration_s, swing_ratio=swing, peak_s=peak_s - start_s)
        if self.shape[0] == "ramp":
            low, high = (parse_quantity(a, "", name=f"{NAME} ramp", least=0.0) for a in args[:2])
            return ramp(low * rate_req_s, high * rate_req_s, duration_s)
        times = parse_quantity(args[0], "", name=f"{NAME} spike", least=0.0)
        at_s, length_s = (parse_quantity(a, "s", name=f"{NAME} spike", least=0.0) for a in args[1:3])
        return spike(rate_req_s, times, duration_s, at_s=at_s, length_s=length_s)


#: Kind → (least, most) arguments, and how they are written.
_ARGUMENTS = {
    "constant": (0, 0, ""),
    "poisson": (0, 0, ""),
    "gamma": (1, 1, ":SHAPE, e.g. gamma:0.5"),
    "diurnal": (1, 2, ":SWING[:PEAK], e.g. diurnal:60%:14h"),
    "ramp": (2, 2, ":FROM:TO, e.g. ramp:0.5:2"),
    "spike": (3, 3, ":TIMES:AT:LENGTH, e.g. spike:5:10min:60s"),
    "stages": (1, 1, ":RATExTIME,…, e.g. stages:2x60s,5x60s"),
    "agents": (2, 3, ":TURNS:WAIT[:ADDED], e.g. agents:12:3s:400"),
}


def parse_arrivals(text: str) -> ArrivalSpec:
    """Read a specification. Raises InputError that says how its part is written."""
    process: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    for part in (_part(p) for p in text.split("+")):
        if part[0] in PROCESSES and not process:
            process = part
        elif part[0] in SHAPES and not shape:
            shape = part
        elif part[0] == "agents" and not agents:
            agents = part
        else:
            raise InputError(f"{NAME} {text!r}: one part says how regular, one how the rate moves; drop {part[0]}")
    spec = ArrivalSpec(text, process or ("poisson",), shape, agents)
    _checked(spec)
    return spec


def _part(text: str) -> tuple[str, ...]:
    part = tuple(p.strip() for p in text.strip().split(":"))
    if part[0] not in KINDS:
        raise InputError(f"{NAME} {text!r} is not known; {meant(part[0], KINDS)}")
    least, most, form = _ARGUMENTS[part[0]]
    if not least <= len(part) - 1 <= most:
        raise InputError(f"{NAME} {text!r}: write {part[0]}{form}")
    return part


def _checked(spec: ArrivalSpec) -> None:
    """InputError for an argument that cannot be, before anything is drawn."""
    if not spec.burstiness_ratio > 0:
        raise InputError(f"{NAME} {spec.text!r}: the shape must be above 0")
    spec.sessions(Lengths("fixed", 1))
    if spec.shape[:1] != ("spike",):
        spec.profile(1.0, 1.0)


def _stages(text: str) -> RateProfile:
    rates, lengths = [], []
    for stage in text.split(","):
        rate, cross, time = stage.partition("x")
        if not cross:
            raise InputError(f"{NAME} stages: {stage!r} is no stage; write RATExTIME, e.g. 2x60s")
        rates.append(parse_quantity(rate, "req/s", name=f"{NAME} stages", least=0.0))
        lengths.append(parse_quantity(time, "s", name=f"{NAME} stages", above=0.0))
    return stages(np.array(rates), np.array(lengths))


def _hour_s(text: str) -> float:
    """Seconds after midnight of ``14h``, ``14:30`` is written ``14.5h``."""
    return parse_quantity(text, "s", name=f"{NAME} diurnal", least=0.0, most=86400.0)
