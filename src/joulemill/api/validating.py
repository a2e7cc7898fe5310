"""``joulemill.validate`` and ``joulemill.calibrate``: predictions against measurements, and coefficients from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from joulemill.analysis.calibration import calibrate_runs
from joulemill.analysis.calibration_match import refuse_other_runs
from joulemill.analysis.calibration_scales import scales_of_runs, scales_of_table
from joulemill.api.comparing import Recorded, _path
from joulemill.api.frames import frame_of
from joulemill.api.results import Result
from joulemill.errors import InputError, MachineError
from joulemill.physics.hardware.device import Device
from joulemill.prediction.calibration_file import FittedCoefficients, save_calibration
from joulemill.prediction.scale_file import ScaleFile, save_scales, scale_table
from joulemill.reports.table_files import write_table
from joulemill.reports.text.validation import coefficients_text, scales_text, text
from joulemill.validation.calibrated_scores import validate_calibrated
from joulemill.validation.scores import TEMPLATE, Score, Validation, document, validate_table
from joulemill.wording import percent, signed_percent

#: More rows than this to calibrate on are a slip.
MOST_CALIBRATING = 1_000_000


@dataclass(frozen=True, repr=False)
class PredictionErrors(Result):
    """Errors of predictions against a table of measured runs."""

    validation: Validation

    @property
    def scores(self) -> Mapping[str, Score]:
        """Quantity → median and p90 of the relative error, bias, and the share inside the 80 % interval."""
        return self.validation.scores

    @property
    def by(self) -> Mapping[str, Mapping[str, Mapping[str, Score]]]:
        """Column → value → quantity → score."""
        return self.validation.by

    @property
    def skipped(self) -> Sequence[Mapping[str, object]]:
        """Rows that could not be predicted, and why."""
        return self.validation.skipped

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill validate --json``."""
        return document(self.validation)

    def to_frame(self, backend: str | None = None) -> Any:
        """One row per quantity: n, median, p90, bias, coverage."""
        rows = [{"quantity": q, **asdict(s)} for q, s in self.scores.items()]
        names = ("quantity", *(f for f in Score.__dataclass_fields__))
        return frame_of({name: [row[name] for row in rows] for name in names}, backend)

    def rows_to_frame(self, backend: str | None = None) -> Any:
        """One row per row of the table and quantity: measured, predicted with its 80 % interval, and their ratio.

        ``row`` is the line of the file, where the names are line 1; rows that were skipped are in ``skipped``.
        """
        return frame_of(self.validation.predicted.columns(), backend)

    def save_rows(self, path: str | Path) -> None:
        """Write these rows as CSV, or as Parquet by the name of ``path``. MachineError where it cannot be written."""
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_table(self.validation.predicted.columns(), Path(path))
        except OSError as fault:
            raise MachineError(f"{path}: cannot be written ({fault.strerror or fault}); choose another file") from fault

    def text(self) -> str:
        """Every table of errors."""
        return text(self.validation)

    def _line(self) -> str:
        best = next(iter(self.scores.items()), None)
        shown = (
            ""
            if best is None
            else f": {best[0]} median error {percent(best[1].median, 1)}, {percent(best[1].coverage)} in 80 %"
        )
        return f"{self.validation.rows} rows predicted, {len(self.skipped)} skipped{shown}"

    def _rows(self) -> Iterable[tuple[str, str]]:
        for quantity, s in self.scores.items():
            errors = f"median {percent(s.median, 1)}, p90 {percent(s.p90, 1)}, bias {signed_percent(s.bias)}"
            yield quantity, f"{errors}, {percent(s.coverage)} in 80 % ({s.n})"


def validate(
    path: str | Path,
    *,
    models: str | Path | None = None,
    calibrate_with: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> PredictionErrors:
    """Predict every row of a CSV of measured runs, and compare.

    models     a folder of Hugging Face configs named ``Org--Name.json``, for models that the catalog lacks
    calibrate_with, seed   so many random rows of each deployment calibrate, and the others are scored
    progress   hears how far it is
    Raises InputError where the table cannot be read.
    """
    for name, number, least, most in (("calibrate_with", calibrate_with, 1, MOST_CALIBRATING), ("seed", seed, 0, None)):
        whole = isinstance(number, Integral) and int(number) >= least and (most is None or int(number) <= most)
        if number is not None and not whole:
            bound = f"{least} or more" if most is None else f"between {least} and {most:,}"
            raise InputError(f"`{name}` is {number!r}; it must be a whole number, {bound}")
    if models is not None and not Path(models).is_dir():
        raise InputError(f"`models` {models} is not a folder")
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; name a CSV file")
    if not Path(path).exists():
        raise InputError(f"{path}: no such file; name a CSV file")
    folder, tell = None if models is None else Path(models), progress or (lambda _: None)
    if calibrate_with is not None:
        return PredictionErrors(validate_calibrated(Path(path), calibrate_with, seed, folder, tell))
    return PredictionErrors(validate_table(Path(path), folder, tell))


@dataclass(frozen=True, repr=False)
class Calibration(Result):
    """Coefficients of a machine, fitted on its own runs; ``save`` it for ``predict(…, calibration=path)``."""

    calibrated: FittedCoefficients

    @property
    def coefficients(self) -> Mapping[str, float]:
        """Every coefficient by name, those that were not fitted included."""
        return self.calibrated.coefficients

    @property
    def widths(self) -> Mapping[str, float]:
        """Half-width of the 80 % interval of each quantity, as a logarithm."""
        return self.calibrated.widths

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        save_calibration(Path(path), self.calibrated)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill calibrate --json``, but for the file."""
        return asdict(self.calibrated)

    def text(self) -> str:
        """Every coefficient, interval and note."""
        return coefficients_text(self.coefficients, self.calibrated.stderr, self.widths, self.calibrated.notes)

    def _line(self) -> str:
        fitted = len(self.calibrated.stderr)
        return f"{fitted} coefficients of {self.calibrated.device} fitted on {len(self.calibrated.runs)} runs"

    def _rows(self) -> Iterable[tuple[str, str]]:
        for name, error in self.calibrated.stderr.items():
            yield name, f"{self.coefficients[name]:.4g} ± {percent(error)}"
        yield from ((name, f"80 % interval ± {percent(width)}") for name, width in self.widths.items())


def calibrate(
    runs: Recorded | Sequence[Recorded],
    model: str,
    device: str | Device,
    *,
    devices: int = 1,
    precision: str | None = None,
    force: bool = False,
) -> Calibration:
    """Fit a machine's few free coefficients to its own runs: folders, or report documents.

    force   fit though a run names another model or device, or is not sound
    Raises InputError where a run cannot serve, and why.
    """
    paths = _served(runs, model, device, devices, force=force)
    return Calibration(calibrate_runs(paths, model, device, devices, precision))


@dataclass(frozen=True, repr=False)
class Scales(Result):
    """What measurements of one's own say of the prediction's errors, of each deployment that was measured.

    ``save`` them as TOML for ``predict(…, calibration=path)``.
    """

    file: ScaleFile

    def save(self, path: str | Path) -> None:
        """Write them as TOML."""
        save_scales(Path(path), self.file)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill calibrate --json``, but for the file."""
        cells = [
            cell._asdict() | {"scales": {q: scale_table(s) for q, s in scales.items()}}
            for cell, scales in self.file.cells.items()
        ]
        return {"cells": cells, "made_from": list(self.file.made_from), "notes": list(self.file.notes)}

    def text(self) -> str:
        """Every scale of every deployment."""
        return scales_text(self.file)

    def _line(self) -> str:
        return f"scales of {len(self.file.cells)} deployments"

    def _rows(self) -> Iterable[tuple[str, str]]:
        for cell, scales in self.file.cells.items():
            yield str(cell), ", ".join(f"{q} × {scale_table(s)['scale']:.3f}" for q, s in scales.items())


def fit_scales(
    measured: Recorded | Sequence[Recorded],
    model: str | None = None,
    device: str | None = None,
    *,
    devices: int = 1,
    precision: str | None = None,
    models: str | Path | None = None,
    force: bool = False,
) -> Scales:
    """Scales of each deployment, from one row on: of a CSV table of measured rows, or of runs.

    model, device, devices, precision, force   of runs, as of ``calibrate``
    models   of a table: a folder of Hugging Face configs named ``Org--Name.json``
    """
    if isinstance(measured, str | Path) and Path(measured).suffix.lower() == ".csv":
        return Scales(scales_of_table(Path(measured), None if models is None else Path(models)))
    if not model or not device:
        raise InputError(f"`{'device' if model else 'model'}` is needed: runs do not always name it")
    paths = _served(measured, model, device, devices, force=force)
    return Scales(scales_of_runs(paths, model, device, devices, precision))


def _served(
    runs: Recorded | Sequence[Recorded], model: str, device: str | Device, devices: int, *, force: bool
) -> list[Path]:
    """The paths of ``runs``, which served ``model`` on ``device``. InputError where they cannot serve."""
    several = [runs] if isinstance(runs, Recorded) else list(runs)
    paths = [_path(run) for run in several]
    if not paths or len({p.resolve() for p in paths}) < len(paths):
        raise InputError("`runs` must name one run or more, each once: a run counts once")
    if devices < 1:
        raise InputError(f"`devices` is {devices}; it must be at least 1")
    if not force and not isinstance(device, Device):
        refuse_other_runs(paths, model, device, devices)
    return paths


def table_template() -> str:
    """The columns of a table of one's own measurements, and a row, as CSV."""
    return TEMPLATE
