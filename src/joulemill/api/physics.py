"""``joulemill.physics``: the Token Production Function on arrays, in and out; resources on the last axis."""

from joulemill.physics.hardware.node import node_power
from joulemill.physics.production.token_production import (
    activity_times,
    binding_resource,
    ceiling_rates,
    elasticities,
    shadow_prices,
    shared_rate,
    theta,
    token_rate,
)

__all__ = [
    "activity_times",
    "binding_resource",
    "ceiling_rates",
    "elasticities",
    "node_power",
    "shadow_prices",
    "shared_rate",
    "theta",
    "token_rate",
]
