"""How InferenceX cut the deployments of its first campaigns, whose columns state neither expert parallelism nor
data-parallel attention.

Points without a release were measured in October and November 2025. Source: ``.github/configs/master.yaml`` and
``nvidia-master.yaml`` of InferenceMAX at that time, ``ep`` and ``dp-attn`` by lengths and requests in flight.
"""

from __future__ import annotations

from joulemill.physics.serving.deployment import Parallelism
from joulemill.validation.inferencex_settings import LaunchKey


def first_parallelism(run: LaunchKey, stated: Parallelism) -> Parallelism:
    """The cut of a point: as ``stated``, or as configured where the columns hold tensor parallelism alone."""
    if run.version or stated.data > 1 or stated.expert > 1 or stated.tensor not in (4, 8):
        return stated
    if run.engine == "trtllm" and "DeepSeek" in run.model:
        return _deepseek(run, stated.tensor)
    return stated


def _deepseek(run: LaunchKey, devices: int) -> Parallelism:
    long, users = run.prompt_tok > 4096.0, run.in_flight_req
    if run.precision == "fp4":
        apart = users > 32.0 if long else users >= 256.0
        spread = long if devices == 4 else False
        spread = spread or users > (32.0 if devices == 4 or long else 8.0 if run.answer_tok < 4096.0 else 16.0)
    else:
        most = {"b200": 64.0 if long or run.answer_tok > 4096.0 else 32.0}.get(run.device, 32.0 if long else 64.0)
        apart, spread = users > most, True
    experts = devices if apart or spread else 1
    return Parallelism(1, devices, experts) if apart else Parallelism(devices, 1, experts)
