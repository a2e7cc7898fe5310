"""What the facility draws beyond its nodes: PUE as a function of load and of the weather. Pure.

For nodes that draw P of a design power P_d, at an outdoor temperature T:

    overhead = (PUE − 1) · [ f · P_d + (1 − f) · P ] · (1 + k · max(0, T − T₀))        site = P + overhead

PUE is that at the design load and up to T₀, to which the air outside cools by itself; f is the share of the overhead
then that does not follow the load (fans of the hall, lights, transformers at idle); k is what a degree more costs.
With f = 0 and no weather, site = P · PUE at all loads, as in ``physics.hardware.site``. A schedule of PUE itself
overrules all of this for its time. Left out: the heat that walls and water store, and humidity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.simulation.schedule import Schedule

#: Up to this temperature outdoor air cools without compressors (assumed; ASHRAE's A classes allow more at the inlet).
FREE_COOLING_C = 20.0
#: What a degree above it adds to the overhead (assumed: a chiller's work grows by 2 to 4 % a degree).
PER_DEGREE_RATIO = 0.03


@dataclass(frozen=True, kw_only=True, slots=True)
class FacilityModel:
    """Symbols as in the header of this file; ``design_w`` is needed only where ``fixed_ratio`` is above 0."""

    pue_ratio: float
    fixed_ratio: float = 0.0
    design_w: float | None = None
    outdoor_c: Schedule | None = None
    free_cooling_c: float = FREE_COOLING_C
    per_degree_ratio: float = PER_DEGREE_RATIO
    stated_pue: Schedule | None = None

    def __post_init__(self) -> None:
        if not 1.0 <= self.pue_ratio < np.inf:
            raise InputError(f"pue is {self.pue_ratio:g}; facility ÷ IT energy is at least 1")
        if not 0.0 <= self.fixed_ratio <= 1.0:
            raise InputError(f"the fixed share of the overhead is {self.fixed_ratio:g}; it must lie between 0 and 1")
        if self.fixed_ratio > 0.0 and self.design_w is None:
            raise InputError("a fixed share of the overhead needs the design power: state it_power_limit in the site")

    def overhead_w(self, node_w: Array, edges_s: Array) -> Array:
        """Power beyond the nodes' ``node_w`` in bins between ``edges_s``; it is 0 W at a PUE of 1."""
        load_w = (1.0 - self.fixed_ratio) * node_w + self.fixed_ratio * (self.design_w or 0.0)
        overhead = (self.pue_ratio - 1.0) * load_w
        if self.outdoor_c is not None:
            above = np.maximum(0.0, self.outdoor_c.means(edges_s) - self.free_cooling_c)
            overhead = overhead * (1.0 + self.per_degree_ratio * np.nan_to_num(above))
        if self.stated_pue is not None:
            stated = self.stated_pue.means(edges_s)
            overhead = np.where(np.isnan(stated), overhead, (stated - 1.0) * node_w)
        return np.asarray(overhead)

    def node_limit_w(self, site_w: Array, edges_s: Array) -> Array:
        """What the nodes may draw where the whole site may draw ``site_w``: overhead is linear in their power."""
        fixed = self.overhead_w(np.zeros_like(site_w), edges_s)
        slope = self.overhead_w(np.ones_like(site_w), edges_s) - fixed
        return np.asarray(np.maximum(0.0, (site_w - fixed) / (1.0 + slope)))
