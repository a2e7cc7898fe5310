"""From what a user says about a deployment to its prediction, and from that to text and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from joulemill.catalog.sites import load_site
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.site import Site
from joulemill.physics.production.prediction import Prediction
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.workload import Workload


@dataclass(frozen=True)
class Question:
    """What is asked, as the command line says it. None: not said.

    facility, hardware   a run's own site, after ``site``; a run's own device, before ``device``
    clock_ratio          locked core clock over the highest
    approximate          whether a model file that is not understood is read as a plain decoder
    """

    model: str
    device: str
    devices: int = 1
    tp: int | None = None
    ep: int | None = None
    dp: int | None = None
    precision: str | None = None
    kv_dtype: str | None = None
    engine: str = "vllm"
    input_tok: float = 512.0
    output_tok: float = 512.0
    output_spread_ratio: float = 0.0
    cached_ratio: float = 0.0
    batch_req: float | None = None
    batch_limit_req: float | None = None
    rate_req_s: float | None = None
    ttft_limit_s: float | None = None
    tpot_limit_s: float | None = None
    power_cap_w: float | None = None
    clock_ratio: float = 1.0
    memory_use_ratio: float = 0.9
    prefill_budget_tok: float = 8192.0
    site: str | None = None
    calibration: str | None = None
    facility: Site | None = None
    hardware: Device | None = None
    approximate: bool = False

    def place(self) -> Site | None:
        """The site, read. Raises InputError where the file is none."""
        return load_site(self.site) if self.site else self.facility

    def document(self) -> dict[str, Any]:
        """What was said, as JSON."""
        return {k: v for k, v in asdict(self).items() if k not in ("facility", "hardware")}


@dataclass(frozen=True)
class Answer:
    """A prediction with the deployment and workload that it is of, and what had to be assumed."""

    question: Question
    deployment: Deployment
    workload: Workload
    profile: str
    prediction: Prediction
    notes: tuple[str, ...]
    short_by: tuple[Shortfall, ...] = ()

    @property
    def meets(self) -> bool:
        """Whether all that was asked is met: latency, load, and what the site delivers."""
        return not self.short_by

    @property
    def every_note(self) -> tuple[str, ...]:
        """What must be read with it, each once."""
        more = of_context(self)
        return tuple(dict.fromkeys((*self.notes, *self.prediction.notes, *((more,) if more else ()))))


def of_context(found: Answer) -> str | None:
    """A note where a request is longer than the model's context."""
    most, asked = found.deployment.architecture.max_context, found.question.input_tok + found.question.output_tok
    if not most or asked <= most:
        return None
    return (
        f"{asked:,.0f} tokens a request are more than the model's context of {most:,.0f}: engines refuse it as released"
    )


@dataclass(frozen=True)
class Shortfall:
    """One limit that is missed. ``asked`` of it, ``available``, both in ``unit``; ``text`` says it to people."""

    limit: str
    unit: str
    asked: float
    available: float
    text: str

    @property
    def short_by(self) -> float:
        """How much is missing, above 0."""
        return abs(self.asked - self.available)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"short_by": self.short_by}
