"""What this machine and the named endpoints can meter, what is missing, and the exact step that would give it.

``examine`` opens every meter that it can, reads all of them for a few seconds as a run would, and reports what came:
scope, resolution, how often the sensor really updates, the shortest window it can resolve, watts, errors, and what the
metering itself costs. It changes nothing on the machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.energy import window_energy
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.ledger.scopes import compose
from joulemill.ledger.trace import trace
from joulemill.meters.cadence import infer_update_period
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import candidates, open_meters, pci_gpus
from joulemill.meters.sampler import Sampler
from joulemill.wording import percent

#: A window should hold this many updates of the counter that it is measured with.
GOOD_PERIODS = 20.0
#: Metering should cost less than this share of one core.
OVERHEAD_RATIO = 0.01
#: Wall and monotonic clock may differ by this much over the check before the wall clock counts as stepped [s].
STEP_S = 0.01
#: What a sensor gives; anything else is a model.
SENSED = (Basis.MEASURED, Basis.CALIBRATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCheck:
    """One channel after the live check.

    update_period_s    seen live, else as the channel states it; None unknown
    shortest_window_s  twenty updates: windows below are coarse
    power_w            mean over the check, None where it could not be had; then ``error`` says why
    """

    id: str
    meter: str
    scope: Scope
    quantity: Quantity
    basis: Basis
    resolution: float | None
    rel_error: float | None
    update_period_s: float | None
    shortest_window_s: float | None
    power_w: float | None
    reads_count: int
    failed_count: int
    error: str | None
    source: str | None


@dataclass(frozen=True, slots=True)
class MissingMeter:
    """What is not metered, why, and the step that would give it."""

    what: str
    why: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """What ``examine`` found.

    coverage    a line for each scope: what meters it, what is missing
    core_ratio  share of one core that metering took;  clock_step_s  how far the wall clock jumped during the check
    """

    duration_s: float
    channels: tuple[ChannelCheck, ...]
    coverage: tuple[str, ...]
    missing: tuple[MissingMeter, ...]
    notices: tuple[str, ...]
    core_ratio: float | None
    clock_step_s: float

    @property
    def healthy(self) -> bool:
        """Whether something is really measured and every channel answered."""
        measured = any(c.basis in SENSED and c.power_w is not None for c in self.channels)
        return measured and not any(c.failed_count for c in self.channels)

    def answers(self, specs: Sequence[str]) -> bool:
        """Whether every meter of ``specs`` is there and reads; of none: whether something is really measured."""
        if not specs:
            return self.healthy
        absent = any(m.what in specs for m in self.missing)
        return bool(self.channels) and not absent and all(c.reads_count and not c.failed_count for c in self.channels)


def examine(
    context: MeterContext,
    specs: Sequence[str] = (),
    *,
    duration_s: float = 10.0,
    period_s: float = 0.1,
    begun: Callable[[int], None] = lambda meters: None,
) -> DoctorReport:
    """Check the meters ``specs`` (none: whatever this machine has) for ``duration_s``.

    ``begun`` is told how many meters are read once they are open.
    Raises InputError only for a SPEC that cannot be; a sensor that is not there is a finding, not an error.
    """
    notices: list[str] = []
    quiet_context = replace(context, notice=notices.append)
    meters, missing = _opened(tuple(specs) or candidates(quiet_context), quiet_context)
    if not meters and not specs:
        meters, more = _opened(("declared",), quiet_context)
        missing += more
    readings: list[Reading] = []
    sampler = Sampler(meters, period_s, readings.extend, quiet_context.clock)
    drift_s = quiet_context.clock.wall() - quiet_context.clock.mono()
    sampler.start()
    if meters:
        begun(len(meters))
        quiet_context.clock.sleep(duration_s)
    hung = sampler.stop()
    step_s = quiet_context.clock.wall() - quiet_context.clock.mono() - drift_s
    notices += [f"{name} did not answer in time and was skipped" for name in hung]
    channels = [c for m in meters for c in m.channels()]
    for meter in meters:
        meter.close()
    return DoctorReport(
        duration_s=duration_s,
        channels=tuple(_checked(c, [r for r in readings if r.channel == c.id], period_s) for c in channels),
        coverage=_coverage(channels),
        missing=tuple(missing + _uncovered(channels, quiet_context)),
        notices=tuple(dict.fromkeys(notices)),
        core_ratio=sampler.cost().core_ratio,
        clock_step_s=step_s if abs(step_s) > STEP_S else 0.0,
    )


def _opened(specs: Sequence[str], context: MeterContext) -> tuple[list[Meter], list[MissingMeter]]:
    meters: list[Meter] = []
    missing: list[MissingMeter] = []
    for spec in specs:
        try:
            meters += open_meters([spec], context)
        except MachineError as error:
            missing.append(_missing(spec, str(error)))
        except InputError:
            for meter in meters:
                meter.close()
            raise
        except Exception as error:  # a vendor's library in an unforeseen state must not end the examination
            logging.getLogger("joulemill.meters").debug("%s", spec, exc_info=True)
            missing.append(MissingMeter(spec, f"{type(error).__name__}: {error}", "please report this as a bug"))
    return meters, missing


def _missing(spec: str, text: str) -> MissingMeter:
    """An opening's error as what is wrong and what to do: it says one, then ";" or ":", then the other."""
    reason = text.removeprefix(f"`meter` {spec}").lstrip(" :")
    depth = 0
    for i, (character, after) in enumerate(pairwise(reason)):
        depth += (character == "(") - (character == ")")
        if depth == 0 and character in ";:" and after.isspace():
            return MissingMeter(spec, reason[:i], reason[i + 1 :].strip())
    return MissingMeter(spec, reason, "see the meter's line in docs/measuring.md")


def _checked(channel: Channel, readings: list[Reading], polled_s: float) -> ChannelCheck:
    good = [r for r in readings if r.value is not None]
    failed = [r for r in readings if r.value is None]
    seen_s = infer_update_period(readings) if channel.quantity is Quantity.ENERGY else None
    standing = seen_s is not None and seen_s > 1.5 * polled_s  # below that it may just be how often we looked
    period_s = seen_s if standing or channel.update_period_s is None else channel.update_period_s
    power_w, error = _power(channel, good)
    last = failed[-1].error if failed else error
    return ChannelCheck(
        id=channel.id,
        meter=channel.meter,
        scope=channel.scope,
        quantity=channel.quantity,
        basis=channel.basis,
        resolution=channel.resolution,
        rel_error=channel.rel_error,
        update_period_s=period_s,
        shortest_window_s=None if period_s is None else GOOD_PERIODS * period_s,
        power_w=power_w,
        reads_count=len(good),
        failed_count=len(failed),
        error=last,
        source=channel.source,
    )


def _power(channel: Channel, good: list[Reading]) -> tuple[float | None, str | None]:
    """Mean watts by the ledger's own rules, or why there are none."""
    if channel.quantity not in (Quantity.ENERGY, Quantity.POWER):
        return None, None
    if len(good) < 2:
        return None, "too few readings for a power"
    whole = trace(channel, good)
    start_s, end_s = (good[0].t_mono_s, good[-1].t_mono_s) if not whole.usable else (whole.t_s[0], whole.t_s[-1])
    if not end_s > start_s:
        return None, "no two readings at different times"
    result = window_energy(whole, float(start_s), float(end_s))
    fatal = [f.text for f in result.findings if f.fatal]
    return result.power_w, "; ".join(fatal) or None


def _coverage(channels: Sequence[Channel]) -> tuple[str, ...]:
    composed = compose(channels, {})
    return tuple(c.coverage for scope, c in composed.items() if c.channels or scope is Scope.NODE)


def _uncovered(channels: Sequence[Channel], context: MeterContext) -> list[MissingMeter]:
    """What a full picture of the node still lacks, with how to get it."""
    scopes = {
        c.scope for c in channels if c.quantity in (Quantity.ENERGY, Quantity.POWER) and c.basis.value != "declared"
    }
    missing = []
    gpus = pci_gpus(context)
    if gpus and Scope.DEVICE not in scopes:
        missing.append(
            MissingMeter(
                "GPU boards",
                f"{gpus} on the PCI bus, none metered",
                "install the driver; 'nvidia-smi' or 'amd-smi' must work",
            )
        )
    if Scope.NODE not in scopes:
        missing.append(
            MissingMeter(
                "whole node (fans, conversion, memory, network)",
                "no meter of the node's scope",
                "--meter redfish:https://BMC, --meter ipmi:BMC, --meter snmp:PDU,pdu=…,outlet=N, or a wall analyzer's "
                "file with --meter file:PATH",
            )
        )
    return missing


def summary(report: DoctorReport) -> list[str]:
    """The report as lines of text."""
    lines = [_line(c) for c in report.channels if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
    lines += [f"covered  {c}" for c in report.coverage]
    lines += [f"missing  {m.what}: {m.why}\n         → {m.step}" for m in report.missing]
    lines += [f"notice   {n}" for n in report.notices]
    if report.core_ratio is not None and report.channels:
        verdict = "fine" if report.core_ratio < OVERHEAD_RATIO else "more than 1 %: sample less often"
        lines.append(f"overhead {percent(report.core_ratio, 2)} of one core ({verdict})")
    if report.clock_step_s:
        lines.append(
            f"clock    the wall clock jumped by {report.clock_step_s:.3g} s during the check: let NTP settle first"
        )
    return lines


def _line(c: ChannelCheck) -> str:
    power = f"{c.power_w:.4g} W" if c.power_w is not None else f"no power ({c.error})"
    period = "unknown" if c.update_period_s is None else f"{c.update_period_s:.3g} s"
    window = "" if c.shortest_window_s is None else f", good for windows from {c.shortest_window_s:.3g} s"
    error = "unknown" if c.rel_error is None else f"±{percent(c.rel_error)}"
    failed = f", {c.failed_count} of {c.reads_count + c.failed_count} reads failed" if c.failed_count else ""
    return f"{c.scope.value:<8} {c.id}: {power}, {c.basis.value}, error {error}, updates every {period}{window}{failed}"


def as_document(report: DoctorReport) -> Mapping[str, object]:
    """The report for ``--json``: names as in the values, ``None`` where unknown."""
    from dataclasses import asdict

    return {**asdict(report), "healthy": report.healthy}
