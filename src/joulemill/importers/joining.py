"""A recording and a meter's file as one record of a run, joined by wall time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulemill.catalog.stated_device import expected_counts
from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.importers.recording import Recording
from joulemill.ledger.manifest import (
    ClientMachine,
    ImportedFile,
    ImportedFrom,
    Manifest,
    ModelDescription,
    RunOptions,
    ServerDescription,
    StatedDevice,
    SummaryTotals,
    Table,
    part_of,
)
from joulemill.ledger.record import Channel, Phase, Reading, RunRecord
from joulemill.meters.files.logs import open_meter
from joulemill.meters.meter import Clock, MeterContext, parse_spec
from joulemill.recording.writer import SCHEMA_VERSION
from joulemill.version import __version__

#: A "now" later than any file: whatever a power file holds is then in the past, as it is for a run that has ended.
_FAR_FUTURE_S = 1e10
#: Zones differ by quarters of an hour, UTC-12 to UTC+14 at most (IANA time zone database).
ZONE_STEP_S = 900.0
MOST_ZONE_S = 26 * 3600.0


@dataclass(frozen=True)
class AddedFacts:
    """What the user states beside the files: the server's hardware, the model's name, the site's file as it is."""

    device: StatedDevice | None = None
    model: str | None = None
    site: Table | None = None


def to_record(
    recording: Recording, documents: Sequence[Document], meter_file: str | None, added: AddedFacts
) -> RunRecord:
    """The record of ``recording``; ``meter_file`` is a path with options as in ``--meter file:``.

    added   what the user states beside the files
    Raises InputError where the meter's file cannot be joined to the requests.
    """
    notices: list[str] = []
    channels, readings = _metered(recording, meter_file, notices) if meter_file else ((), ())
    warnings = [_whose(recording, bool(readings)), *recording.warnings, *notices]
    phases: tuple[Phase, ...] = ()
    if recording.load is not None:
        begin, end = recording.load
        phases = (Phase("load", begin, (recording.origin_wall_s or 0.0) + begin, end),)
    return RunRecord(
        manifest=_manifest(recording, documents, warnings, added),
        channels=channels,
        readings=readings,
        requests=recording.requests,
        phases=phases,
        events=tuple({"kind": "warning", "text": text} for text in warnings),
    )


def _whose(recording: Recording, metered: bool) -> str:
    named = " ".join(x for x in (recording.tool, recording.tool_version) if x)
    if not recording.requests and recording.totals and metered:
        return (
            f"imported: a summary by {named}: joules are of the meter's file over the run's stated span, with ramp "
            "and drain; tokens are the totals that it states, and nothing else could be recomputed"
        )
    if recording.requests:
        return (
            f"imported: every time and count is {named}'s; Joulemill computed the figures and measured nothing itself"
        )
    return f"imported: a summary by {named}; its figures are shown as stated, and nothing could be recomputed"


def _manifest(
    recording: Recording, documents: Sequence[Document], warnings: Sequence[str], added: AddedFacts
) -> Manifest:
    named = {} if added.model is None else {"name": added.model}
    return Manifest(
        schema_version=SCHEMA_VERSION,
        joulemill_version=__version__,
        created_wall_s=recording.origin_wall_s,
        imported=ImportedFrom(
            tool=recording.tool,
            tool_version=recording.tool_version,
            files=tuple(ImportedFile(name=d.name, sha256=d.sha256) for d in documents),
            members=None,
        ),
        options=part_of(RunOptions, recording.options),
        model=part_of(ModelDescription, {**recording.model, **named}),
        server=part_of(ServerDescription, recording.server),
        machine=part_of(ClientMachine, recording.hardware),
        versions={"imported from": " ".join(x for x in (recording.tool, recording.tool_version) if x)},
        device=added.device,
        expected=expected_counts(added.device),
        site=added.site,
        stated=tuple(s.entry() for s in recording.stated),
        totals=part_of(SummaryTotals, recording.totals) if recording.totals else None,
        simulated={"by": recording.tool} if recording.simulated else None,
        warnings=tuple(warnings),
    )


def _metered(
    recording: Recording, meter_file: str, notices: list[str]
) -> tuple[tuple[Channel, ...], tuple[Reading, ...]]:
    origin, load = recording.origin_wall_s, recording.load
    if origin is None or load is None:
        raise InputError(
            f"`meter_file`: {recording.tool}'s file has no wall-clock times of requests, so no meter can be joined"
        )
    clock = Clock(mono=lambda: _FAR_FUTURE_S - origin, wall=lambda: _FAR_FUTURE_S)
    meter = open_meter(parse_spec(f"file:{meter_file}"), MeterContext(clock=clock, notice=notices.append))
    readings = meter.read()
    begin, end = min(r.t_mono_s for r in readings), max(r.t_mono_s for r in readings)
    if end < load[0] or begin > load[1]:
        raise InputError(
            f"`meter_file` {meter_file}: its readings lie {begin:.0f} to {end:.0f} s from the first request, the load "
            f"0 to {load[1]:.0f} s: {_elsewhere((begin, end), load)}{''.join(f'; {n}' for n in notices)}"
        )
    return meter.channels(), readings


def _elsewhere(readings_s: tuple[float, float], load_s: tuple[float, float]) -> str:
    """Why readings and load do not meet, both as begin and end [s]: a clock of another zone, if one makes them meet."""
    (begin, end), (start, stop) = readings_s, load_s
    shift_s = round(((start + stop) - (begin + end)) / 2 / ZONE_STEP_S) * ZONE_STEP_S
    if 0 < abs(shift_s) <= MOST_ZONE_S and begin + shift_s <= stop and end + shift_s >= start:
        return f"of another time zone, by {shift_s / 3600:+g} h, or not of the same run (write FILE,tz=UTC)"
    return "not of the same run, or cut"
