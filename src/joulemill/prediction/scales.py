"""Scales of a deployment: what its own measured rows say of a prediction's error, shrunk toward none.

The logarithm of measured ÷ predicted is, in one cell (model, device, devices, precision, engine, kind), a shrunk mean
and a slope in ln(requests in flight) (``statistics/shrinkage.py``). How far cells differ, how far rows of one cell do,
and how far slopes do is fitted on published runs (``catalog/data/serving_variances.csv``). Cells differ at least as
much as the interval of the prediction says: what was never measured is corrected more boldly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from joulemill.catalog.models import find_model
from joulemill.catalog.serving import Variance, variance_of
from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.prediction.spread import Kind, half_width_ratio, widened_ratio
from joulemill.statistics.normal import Z_80
from joulemill.statistics.shrinkage import CellPosterior, Variances, shrunk

QUANTITIES = ("rate_tok_s", "energy_j_tok", "power_w", "tpot_s", "itl_s", "ttft_s")
#: A measured value further than this factor from its prediction [ln] is a slip of a unit, not an error of the model.
MOST_ERROR_LN = math.log(100.0)


class Cell(NamedTuple):
    """What was deployed, as far as a scale holds for it.

    kind  aggregated, disaggregated, unstated pools, or drafted (speculative decoding)
    """

    model: str
    device: str
    devices: int
    precision: str
    engine: str
    kind: str

    def __str__(self) -> str:
        return f"{self.model} on {self.devices} × {self.device}, {self.precision}, {self.engine}, {self.kind}"


@dataclass(frozen=True)
class Scale:
    """A quantity's scale: the posterior of ln(measured ÷ predicted), and half-widths (80 %) per standard deviation."""

    posterior: CellPosterior
    z_80: float

    def factor(self, concurrency: float) -> float:
        """What the prediction is multiplied by at a batch."""
        return math.exp(self.posterior.at(math.log(concurrency))[0])

    def half_width_ratio(self, concurrency: float) -> float:
        """Half-width (80 %) of the scaled prediction, as a logarithm."""
        return self.z_80 * math.sqrt(self.posterior.at(math.log(concurrency))[1])


Scales = Mapping[str, Scale]


@dataclass(frozen=True)
class Prior:
    """What is known of a quantity's error before a row of the cell: variances, and z of its 80 % interval."""

    variances: Variances
    z_80: float


def prior_of(quantity: str, kind: Kind, architecture: Architecture) -> Prior:
    """Variances of the published runs that the cell is like, wider where its prediction is less sure."""
    width = widened_ratio(half_width_ratio(quantity, kind), architecture)
    stratum = kind.pools or ("moe" if kind.is_moe else "dense")
    known: Variance = variance_of(quantity, stratum)
    within = known.within_sd_ln**2
    between = max(known.between_sd_ln**2, (width / Z_80) ** 2 - within)
    return Prior(Variances(between, within, known.slope_sd_ln**2), known.z_80)


def scale_of(batches_req: Sequence[float], errors_ln: Sequence[float], prior: Prior) -> Scale:
    """The scale that rows at ``batches_req`` with ln(measured ÷ predicted) ``errors_ln`` make."""
    return Scale(shrunk([math.log(b) for b in batches_req], errors_ln, prior.variances), prior.z_80)


def check_error(error_ln: float, quantity: str, where: str) -> None:
    """InputError where ln(measured ÷ predicted) can be no error of the model."""
    if not (math.isfinite(error_ln) and abs(error_ln) <= MOST_ERROR_LN):
        raise InputError(
            f"{where}: {quantity} is {math.exp(error_ln):.3g} times what is predicted; is it in another unit?"
        )


def canonical_model(name: str) -> str:
    """The catalog's name of a model, its own where the catalog has none."""
    try:
        return find_model(name).name
    except InputError:
        return name


def matching(cells: Mapping[Cell, Scales], asked: Cell, where: str) -> Scales:
    """The scales of ``asked``. InputError says which cells the file holds."""
    if asked in cells:
        return cells[asked]
    raise InputError(f"`calibration` {where} has no rows of {asked}; it has those of {_listed(cells)}")


def _listed(cells: Iterable[Cell]) -> str:
    names = [str(c) for c in cells]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return "; ".join(names[:3]) + more


def figure_factor(scales: Scales, quantity: str, concurrency: float) -> float:
    """What a predicted quantity is multiplied by. Power is J/token × rate wherever both were measured: figures of one
    prediction must agree. TPOT and median ITL stand for one another where only one was measured."""

    def of(name: str) -> float:
        return scales[name].factor(concurrency) if name in scales else 1.0

    if quantity == "power_w" and "power_w" not in scales:
        return of("energy_j_tok") * of("rate_tok_s")
    if quantity == "power_w" and {"energy_j_tok", "rate_tok_s"} <= scales.keys():
        return of("energy_j_tok") * of("rate_tok_s")
    if quantity == "energy_j_tok" and quantity not in scales:
        return of("power_w") / of("rate_tok_s")
    return of(_stand_in(scales, quantity) or quantity)


def figure_width(scales: Scales, quantity: str, concurrency: float) -> float | None:
    """Half-width of a scaled quantity, None where nothing measured tells it."""
    name = _stand_in(scales, quantity)
    return scales[name].half_width_ratio(concurrency) if name else None


def told_by(scales: Scales) -> frozenset[str]:
    """Quantities that the scales correct."""
    return frozenset(q for q in QUANTITIES if _stand_in(scales, q))


def _stand_in(scales: Scales, quantity: str) -> str | None:
    other = {"tpot_s": "itl_s", "itl_s": "tpot_s"}.get(quantity, quantity)
    return next((n for n in (quantity, other) if n in scales), None)
