"""What runs where: a model in a precision, on so many devices, their parallelism, the engine. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.speculation import Speculation
from joulemill.wording import percent

#: More devices than any one deployment has; more is a slip of a key.
MOST_DEVICES = 1_000_000
#: A model is split over no more devices than this.
MOST_PARALLEL = 4096
ENGINES = ("vllm", "sglang", "trtllm")
#: Lowest core clock over the highest: 210 of 1,980 MHz on H100 (``nvidia-smi -q -d SUPPORTED_CLOCKS``).
LEAST_CLOCK = 0.106


@dataclass(frozen=True, slots=True)
class Parallelism:
    """The parallelism of one replica.

    tensor    devices that share each attention head group and dense matrix
    data      ranks of data-parallel attention, each with its own requests (1: none)
    expert    devices that routed experts are spread over; the rest of the split of an expert is tensor-parallel
    replicas  copies of the whole, each with its own requests and weights
    pipeline  stages that the layers are split into, each on tensor × data devices
    """

    tensor: int = 1
    data: int = 1
    expert: int = 1
    replicas: int = 1
    pipeline: int = 1

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.stage_devices * self.pipeline

    @property
    def stage_devices(self) -> int:
        """Devices of one stage of a replica."""
        return self.tensor * self.data

    def __post_init__(self) -> None:
        for name in ("tensor", "data", "expert", "replicas", "pipeline"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} parallelism is {getattr(self, name)}; it must be at least 1")
        if self.expert > self.stage_devices:
            where = "a replica" if self.pipeline == 1 else "a stage"
            raise InputError(
                f"experts over {self.expert} devices, but {where} has {self.stage_devices} (tensor × data); lower `ep`"
            )


#: Ranks from which operators run wide: overlapped, balanced, rows sent to their experts alone (DeepSeek's prefill: 32).
WIDE_RANKS = 32


@dataclass(frozen=True)
class ExpertTraffic:
    """How rows and experts come together where experts are spread wide: in micro-batches that overlap, and with experts
    that are balanced."""

    overlapped: bool = True
    balanced: bool = True


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment.

    node          the server that holds the devices; None: device scope only
    batch_limit_req     requests that the engine runs at once in one replica; None: no limit but memory
    max_batched_tok  tokens of one step, decode and prefill together (vLLM max_num_batched_tokens)
    memory_use_ratio    share of device memory that the engine takes
    power_cap_w   board power limit in force; None: TDP
    clock_ratio   locked core clock over the highest
    prefill       prompts are computed on other devices, under this parallelism (disaggregated); None: in the same steps
    speculation   how tokens are drafted; None: they are not
    chunked_prefill     prompts go into steps in parts beside decoding sequences; else whole, in steps of their own
    traffic       experts are spread wide, and rows sent to them alone; None: gathered as engines do within a node
    eager         kernels are launched one by one in every step, without captured graphs
    """

    architecture: Architecture
    precision: Precision
    device: Device
    parallelism: Parallelism = Parallelism()
    engine: str = "vllm"
    node: Node | None = None
    batch_limit_req: float | None = None
    max_batched_tok: float = 8192.0
    memory_use_ratio: float = 0.9
    power_cap_w: float | None = None
    prefill: Parallelism | None = None
    clock_ratio: float = 1.0
    speculation: Speculation | None = None
    chunked_prefill: bool = True
    eager: bool = False
    traffic: ExpertTraffic | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"engine {self.engine!r} is not known; use one of {', '.join(ENGINES)}")
        if not 0.0 < self.memory_use_ratio <= 1.0:
            raise InputError(f"share of memory used is {self.memory_use_ratio}; it must be above 0 and at most 1")
        if self.power_cap_w is not None and not self.power_cap_w > 0.0:
            raise InputError(f"power cap is {self.power_cap_w} W; it must be positive")
        if self.prefill is not None and (self.parallelism.pipeline > 1 or self.prefill.pipeline > 1):
            raise InputError("pipeline stages and a prefill pool are not modelled together; leave `pp` out")
        if not LEAST_CLOCK <= self.clock_ratio <= 1.0:
            raise InputError(
                f"the locked clock is {percent(self.clock_ratio)} of the highest; "
                f"boards take {percent(LEAST_CLOCK)} to 100 %"
            )

    @property
    def device_count(self) -> int:
        """Devices of all replicas, and of those that compute prompts for them."""
        prefill = self.prefill
        return self.decode_device_count + (prefill.devices * prefill.replicas if prefill else 0)

    @property
    def decode_device_count(self) -> int:
        """Devices of all replicas that decode."""
        return self.parallelism.devices * self.parallelism.replicas


def parallelism_for(
    architecture: Architecture, devices: int, stated: Mapping[str, int | None], domain_count: float = MOST_PARALLEL
) -> Parallelism:
    """The parallelism that a user means by ``devices`` and what they ``stated`` of tp, dp, ep and pp.

    Nothing stated: tensor-parallel over all devices, or the most of them that the heads split over and that share
    a link domain (``domain_count``), never across nodes; experts with it, or spread over all ranks of data-parallel
    attention. Devices beyond tp·dp·pp become further replicas. InputError where the numbers do not divide, or the heads
    do not.
    """
    if not 1 <= devices <= MOST_DEVICES:
        raise InputError(f"`devices` is {devices}; it must lie between 1 and {MOST_DEVICES:,}")
    for name, value in stated.items():
        if value is not None and not 1 <= value <= MOST_PARALLEL:
            raise InputError(f"`{name}` is {value}; it must lie between 1 and {MOST_PARALLEL:,}")
    expert, dp, pp = stated.get("ep"), stated.get("dp") or 1, stated.get("pp") or 1
    if (expert or 1) > 1 and not architecture.is_moe:
        raise InputError(f"{architecture.name} has no routed experts to spread over {expert} devices; leave `ep` out")
    tp = stated.get("tp") or _widest(architecture, max(1, devices // (dp * pp)), domain_count)
    if not architecture.divides_over(tp):
        can = ", ".join(str(n) for n in range(1, 65) if architecture.divides_over(n))
        raise InputError(f"the heads of {architecture.name} cannot be split over `tp={tp}` devices; it can be {can}")
    each = tp * dp * pp
    if devices % each:
        stages = f" × pp {pp}" if pp > 1 else ""
        raise InputError(
            f"{devices} devices cannot be divided into replicas of tp {tp} × dp {dp}{stages}; give a multiple of {each}"
        )
    ep = expert or (tp * dp if architecture.is_moe and dp > 1 else 1)
    return Parallelism(tp, dp, ep, devices // each, pp)


def _widest(architecture: Architecture, most: int, domain_count: float) -> int:
    """Most of ``most`` devices that the heads can be split over and that share links."""
    widest = int(min(most, MOST_PARALLEL, max(domain_count, 1.0)))
    return [n for n in range(1, widest + 1) if most % n == 0 and architecture.divides_over(n)][-1]
