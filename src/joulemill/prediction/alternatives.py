"""The same devices under other parallelism: what each that shares links and fits would do at the same load."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from joulemill.errors import InputError
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.production.prediction import Prediction
from joulemill.physics.serving.batch import most_that_fit_req, swept
from joulemill.physics.serving.clock import at_locked_clock
from joulemill.physics.serving.continuous_batching import Rates
from joulemill.physics.serving.deployed import shard_of
from joulemill.physics.serving.deployment import Deployment, Parallelism
from joulemill.physics.serving.workload import Workload
from joulemill.prediction.question import ParallelismOption

#: Devices that share links where neither the device nor a node says how many (assumed: a server of eight).
USUAL_DOMAIN = 8.0


def domain_count(device: Device, node: Node | None) -> float:
    """Devices that tensor parallelism is taken over where nothing is stated: those of one link domain."""
    return device.link_domain_count or (float(node.device_count) if node else USUAL_DOMAIN)


def alternatives(
    deployment: Deployment, workload: Workload, prediction: Prediction, rates: Rates
) -> tuple[ParallelismOption, ...]:
    """Every parallelism of the deployment's devices that shares links and fits, its own one first: tensor parallelism,
    and of experts also data-parallel attention with them spread over its ranks. None has pipeline stages.

    As many requests are in flight over all devices as are predicted; a replica over fewer devices has fewer of them.
    """
    taken = deployment.parallelism
    if deployment.device_count == 1 or taken.pipeline > 1 or deployment.prefill:
        return ()
    deployment, rates = at_locked_clock(deployment, rates)
    all_req = prediction.batch.concurrency * taken.replicas
    domain = domain_count(deployment.device, deployment.node)
    options = _options(deployment.device_count, int(min(deployment.device_count, domain)), deployment.architecture)
    different = [o for o in options if o != taken]
    options_tried = (
        _option(replace(deployment, parallelism=parallelism), workload, all_req, rates)
        for parallelism in (taken, *different)
    )
    return tuple(option for option in options_tried if option is not None)


def _options(devices: int, domain: int, architecture: Architecture) -> list[Parallelism]:
    """Parallelism over ``devices``, each replica within a link domain."""
    each = [n for n in range(1, domain + 1) if devices % n == 0]
    tensor = [Parallelism(n, 1, 1, devices // n) for n in each]
    if not architecture.is_moe:
        return tensor
    return tensor + [Parallelism(n, m // n, m, devices // m) for m in each for n in each if n < m and m % n == 0]


def _option(deployment: Deployment, workload: Workload, all_req: float, rates: Rates) -> ParallelismOption | None:
    """None where the heads are not divided so, or the model does not fit with so many requests."""
    parallelism = deployment.parallelism
    if not deployment.architecture.divides_over(parallelism.tensor):
        return None
    share = shard_of(deployment)
    each = max(all_req / parallelism.replicas, 1.0)
    try:
        if each > most_that_fit_req(deployment, workload, share, rates) * (1.0 + 1e-9):
            return None
    except InputError:
        return None
    steady_state = swept(deployment, workload, share, rates, np.array([each]))
    rate, joule = float(steady_state.rate_tok_s[0]) * parallelism.replicas, float(steady_state.energy_j_tok[0])
    return ParallelismOption(parallelism, rate, joule) if math.isfinite(rate) and math.isfinite(joule) else None
