"""How wide a prediction's interval is: from errors on model families that the fit had not seen.

The half-width is the 80 % quantile of |ln(predicted ÷ measured)| on left-out families, dense and
mixture-of-experts models
apart. What was never measured widens it: the logarithms' variances add.
"""

from __future__ import annotations

import math
from functools import cache

from joulemill.catalog.serving import spreads
from joulemill.physics.model.architecture import Architecture

#: Devices whose runs the fits have seen, by what was measured on them.
SEEN_ENERGY = ("h100", "b200")
SEEN_LATENCY = ("h100", "h200", "b200", "gb200")
#: Added half-widths [ln, 80 %] (assumed): a device of another generation; energy of an engine other than
#: that measured.
OTHER_DEVICE, OTHER_ENGINE, NODE = 0.25, 0.15, 0.08
ENERGY = ("energy_j_tok", "power_w", "node_power_w", "node_energy_j_tok")


@cache
def half_width_ratio(quantity: str, engine: str, device: str, *, is_moe: bool = False, pools: str = "") -> float:
    """Half-width of the 80 % interval of ``quantity``, as a logarithm: [x·e^−w, x·e^w]. ``pools``: "disaggregated",
    "unstated pools" or "drafted" where a deployment is one of these."""
    parts = [_base(quantity, engine, pools or ("moe" if is_moe else "dense"), is_moe)]
    energy = quantity in ENERGY
    seen = SEEN_ENERGY if energy or engine == "vllm-0.11" else SEEN_LATENCY
    if not device.startswith(seen):
        parts.append(OTHER_DEVICE)
    if engine != "vllm-0.11" and (energy or quantity == "rate_tok_s"):
        parts.append(OTHER_ENGINE)
    if quantity.startswith("node"):
        parts.append(NODE)
    return math.sqrt(sum(p * p for p in parts))


def _base(quantity: str, engine: str, kind: str, is_moe: bool) -> float:
    found = spreads()
    name = {"node_power_w": "power_w", "node_energy_j_tok": "energy_j_tok"}.get(quantity, quantity)
    if (engine == "vllm-0.11" and quantity == "tpot_s") or (name, "all") in found:
        name = "itl_s" if quantity == "tpot_s" else name
        return found[name, "moe" if is_moe else "dense"].half_width_ratio
    for stratum in (f"{engine} {kind}", f"latency {kind}", "latency"):
        if (name, stratum) in found:
            return found[name, stratum].half_width_ratio
    return 0.7


#: Half-width [ln, 80 %] that a model not understood adds: a factor of three either way. Read as plain decoders, four of
#: five catalogued models come out within 3 % and the worst 1.6 times off; but a model that is not understood is not
#: drawn from these, and the worst plain reading known (Mamba-2 taken for attention) has three times the parameters.
NOT_UNDERSTOOD_LN = math.log(3.0)


def widened_ratio(half_width_ratio: float, architecture: Architecture) -> float:
    """Half-width of an interval as a logarithm, wider where the architecture was not understood."""
    return math.hypot(half_width_ratio, NOT_UNDERSTOOD_LN) if architecture.doubts else half_width_ratio
