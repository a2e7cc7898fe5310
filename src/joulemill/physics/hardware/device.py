"""A device: an accelerator or CPU socket, as its data sheet and its driver describe it. Pure values.

Peaks are *dense*: vendors print figures for 2:4 sparsity beside them, twice as high, which no served model reaches.
What the hardware has no unit for runs on the next wider one: weights in 4 bits on a device without 4-bit units are
unpacked and multiplied in 8 or 16 bits. ``compute_dtype`` says on which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from joulemill.errors import InputError

#: Where work in a dtype runs when the device has no unit for it: the next wider ones, in order of preference.
WIDER: dict[str, tuple[str, ...]] = {
    "fp4": ("fp8", "bf16", "fp16", "fp32"),
    "fp6": ("fp8", "bf16", "fp16", "fp32"),
    "int4": ("int8", "bf16", "fp16", "fp32"),
    "fp8": ("bf16", "fp16", "fp32"),
    "int8": ("bf16", "fp16", "fp32"),
    "bf16": ("fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
    "tf32": ("fp32",),
    "fp32": (),
}

#: Idle power over TDP where a device's is not known (assumed; those in the catalog: 10–15 % of data-center boards).
IDLE_RATIO = 0.12
#: What an open context adds to it, over TDP, where it was not measured (assumed; measured: 5–9 % of boards with HBM).
CONTEXT_RATIO = 0.07
KINDS = ("gpu", "tpu", "cpu", "accelerator")
#: Bandwidth that only stacks of HBM reach [byte/s] (assumed; data sheets: GDDR7 up to 1.8e12, HBM3e from 3.2e12).
HBM_BYTE_S = 3e12


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device. None is unknown, never 0.

    peak_flop_s   dense peak by dtype [flop/s]; for integer dtypes an operation counts as a flop
    memory_byte   what the driver offers [byte]
    memory_bandwidth_byte_s      peak of the main memory [byte/s]
    link_bandwidth_byte_s        to the other devices of its scale-up domain, per direction [byte/s]
    link_domain_count            devices in that domain
    scale_out_bandwidth_byte_s   to other nodes, per direction [byte/s]
    tdp_w, idle_w   board power limit as sold, and idle board power with no work loaded [W]
    loaded_idle_w   idle board power with a model loaded: a context is open and the clocks are up [W]
    rated_w         what shares of power count from: the limit of the board whose silicon and memory it has [W];
                    None: its own
    max_clock_hz    highest clock of its cores [Hz]
    l2_byte         last cache before the main memory [byte]
    sm_count        streaming multiprocessors (NVIDIA)
    """

    name: str
    label: str
    vendor: str
    kind: str
    peak_flop_s: Mapping[str, float]
    memory_byte: float
    memory_bandwidth_byte_s: float
    link_bandwidth_byte_s: float | None = None
    link_domain_count: float | None = None
    scale_out_bandwidth_byte_s: float | None = None
    tdp_w: float | None = None
    max_clock_hz: float | None = None
    idle_w: float | None = None
    loaded_idle_w: float | None = None
    rated_w: float | None = None
    l2_byte: float | None = None
    sm_count: float | None = None

    def __post_init__(self) -> None:
        check_device(self)

    @property
    def bare_w(self) -> float | None:
        """Idle power with nothing loaded [W]; where it is not known 12 % of TDP (assumed), None where that is not."""
        return self.idle_w or (IDLE_RATIO * self.tdp_w if self.tdp_w else None)

    @property
    def resting_w(self) -> float | None:
        """Idle power of a board with a model loaded [W]; not measured: that of the bare board and 7 % of TDP (assumed).

        None where neither is known.
        """
        if self.loaded_idle_w is not None or self.bare_w is None:
            return self.loaded_idle_w
        context_w = CONTEXT_RATIO * self.tdp_w if self.tdp_w and self.kind == "gpu" else 0.0
        return self.bare_w + context_w

    @property
    def is_newest(self) -> bool:
        """Whether what was found on B200 (shares of bandwidth, peak and power, over H200) is taken to hold.

        It has 4-bit units, and HBM that feeds them. A board with GDDR has a quarter of the bytes per second and
        multiprocessor to keep in flight: it is taken to be as older devices are.
        """
        return "fp4" in self.peak_flop_s and self.memory_bandwidth_byte_s > HBM_BYTE_S

    @property
    def power_scale_w(self) -> float | None:
        """What shares of power count from [W]."""
        return self.rated_w or self.tdp_w


def check_device(device: Device) -> None:
    """Refuse a device that cannot exist: no peak, a non-positive capacity, a TDP below idle.

    Raises InputError naming the device and the fact.
    """
    if device.kind not in KINDS:
        raise InputError(f"device {device.name}: kind {device.kind!r} is not one of {', '.join(KINDS)}")
    if not device.peak_flop_s:
        raise InputError(f"device {device.name}: it needs at least one peak in flop/s, e.g. bf16")
    unknown = set(device.peak_flop_s) - set(WIDER)
    if unknown:
        raise InputError(
            f"device {device.name}: dtype {', '.join(sorted(unknown))} is not known; use {', '.join(WIDER)}"
        )
    facts = {f"peak {k}": v for k, v in device.peak_flop_s.items()}
    facts |= {n: v for n, v in vars(device).items() if isinstance(v, (int, float))}
    for name, value in facts.items():
        if not 0 < value < float("inf"):
            raise InputError(f"device {device.name}: {name} is {value}; it must be positive and finite")
    if device.tdp_w is not None and device.idle_w is not None and device.tdp_w < device.idle_w:
        raise InputError(f"device {device.name}: TDP {device.tdp_w} W is below idle {device.idle_w} W")
    if (device.loaded_idle_w or math.inf) < (device.idle_w or 0.0):
        raise InputError(
            f"device {device.name}: idle with a model loaded, {device.loaded_idle_w} W, is below idle without, "
            f"{device.idle_w} W"
        )


def compute_dtype(device: Device, dtype: str) -> str:
    """The dtype in which ``device`` multiplies when operands are given in ``dtype``.

    ``dtype`` itself where the device has units for it, else the next wider one that it has (weight-only
    quantization). Raises InputError where ``dtype`` is unknown or the device has nothing wide enough.
    """
    if dtype not in WIDER:
        raise InputError(f"dtype {dtype!r} is not known; use one of {', '.join(WIDER)}")
    for candidate in (dtype, *WIDER[dtype]):
        if candidate in device.peak_flop_s:
            return candidate
    raise InputError(
        f"device {device.name} has no peak for {dtype} or wider; it states {', '.join(device.peak_flop_s)}"
    )


def peak_flop_s(device: Device, dtype: str) -> float:
    """Dense peak [flop/s] at which ``device`` works on operands in ``dtype`` (see ``compute_dtype``)."""
    return device.peak_flop_s[compute_dtype(device, dtype)]


def balance_flop_byte(device: Device, dtype: str) -> float:
    """Machine balance [flop/byte]: peak ÷ memory bandwidth. Work with less flop per byte is bound by memory."""
    return peak_flop_s(device, dtype) / device.memory_bandwidth_byte_s
