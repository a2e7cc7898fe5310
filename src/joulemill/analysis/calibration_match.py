"""Were these runs made with the model and on the device that they are to calibrate? Reads files, else pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from joulemill.analysis.conditions import Facts
from joulemill.analysis.load import load_run
from joulemill.analysis.measurement import Measurement
from joulemill.analysis.report import Report
from joulemill.analysis.samples import faults_of
from joulemill.analysis.warnings import broken_ceilings
from joulemill.catalog.devices import find_device
from joulemill.catalog.model_files import model_from_config
from joulemill.catalog.models import find_model
from joulemill.errors import InputError


def refuse_other_runs(runs: Sequence[Path], model: str, device: str, devices: int) -> None:
    """Refuse runs that name another model, device or number of devices, and runs that are not sound.

    A run that names none is taken on trust. Raises InputError naming the run, what it says and what was asked.
    """
    for path in runs:
        report, run = load_run(path)
        hardware, config = report.conditions.device, None if run is None else run.record.manifest.architecture
        other = _other_model(report.conditions.model, model, config) or _other_device(report, hardware, device, devices)
        if other:
            raise InputError(
                f"{path}: {other}; a calibration is of one model on one device: name the run's own, "
                "or `force` to fit it anyway"
            )
        faults = [
            *faults_of(report),
            *(() if run is None else (*_drafting(run), *broken_ceilings(run.ceilings.binding))),
        ]
        if faults:
            raise InputError(f"{path}: {faults[0]}; calibrate on sound runs")


def _drafting(run: Measurement) -> Iterator[str]:
    """A step of a server that drafts yields several tokens: what is fitted to it would hold of no other."""
    if run.intensity.load is not None and run.intensity.load.drafts is not None:
        yield "its server drafts tokens (speculative decoding), which a calibration does not describe"


def _other_model(model_table: Facts, asked: str, config: Mapping[str, Any] | None) -> str | None:
    """What the run says where its model is not the one that was asked for; ``config``: as it was stated to the run."""
    names = [str(model_table[k]) for k in ("name", "path", "file") if model_table.get(k)]
    if not names or any(_same_name(n, asked) for n in names):
        return None
    served = None if config is None else model_from_config(config)[0]
    if served is None:
        served = next((m for n in names if (m := _architecture(n)) is not None), None)
    if served is not None and served == _architecture(asked):
        return None
    return f"the run served {names[0]}, not {asked}"


def _same_name(a: str, b: str) -> bool:
    """The same name but for its publisher, its ending and how it is spelled."""
    return _core(a) == _core(b)


def _core(name: str) -> str:
    last = re.split(r"[/\\]", name.lower())[-1]
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\.(gguf|json)$", "", last))


def _architecture(name: str) -> Any:
    try:
        return find_model(name).architecture
    except InputError:
        return None


def _other_device(report: Report, device_text: str | None, asked: str, devices: int) -> str | None:
    """What the run says where its device, or how many there were, is not what was asked for."""
    if not device_text:
        return None
    count, _, name = device_text.partition(" x ")
    if not name:
        embedded = bool(report.conditions.embedded)
        return (
            f"the run was on this machine's processor ({device_text}), not on {asked}"
            if embedded and _is_gpu(asked)
            else None
        )
    wanted = find_device(asked)
    if _canonical(name) != wanted.name:
        return f"the run was on {device_text}, not on {asked}"
    return f"the run was on {device_text}, not on {devices}" if count.isdecimal() and int(count) != devices else None


def _canonical(name: str) -> str:
    try:
        return find_device(name).name
    except InputError:
        return name


def _is_gpu(asked: str) -> bool:
    return find_device(asked).kind != "cpu"
