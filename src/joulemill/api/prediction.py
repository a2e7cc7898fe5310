"""``joulemill.predict``: what a deployment would do, before anyone has run it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.api.frames import frame_of
from joulemill.api.results import Result
from joulemill.api.scopes import ByScope
from joulemill.catalog.stated_device import named_count
from joulemill.errors import InputError
from joulemill.figure import Figure, unknown
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.site import Site
from joulemill.physics.serving.batch import MemoryShort
from joulemill.prediction.document import document
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest, PredictionResult, Shortfall
from joulemill.wording import title

__all__ = ["MemoryShort", "PredictedDeployment", "named_count", "predict"]

if TYPE_CHECKING:
    from joulemill.api.levers import LeverStudy

_NO_SITE = "no site is given"
#: Name of a figure → what a page calls it.
_LABELS = {
    "rate_tok_s": "token rate",
    "request_rate_req_s": "request rate",
    "device_j_tok": "energy, devices",
    "node_j_tok": "energy, nodes",
    "site_j_tok": "energy, site",
    "device_power_w": "power, devices",
    "node_power_w": "power, nodes",
    "site_power_w": "power, site",
    "ttft_s": "time to first token",
    "tpot_s": "time per output token",
    "phi": "Φ, rate over the lowest ceiling",
}


def predict(
    model: str | Path,
    device: str | Path | Device,
    *,
    devices: int = 1,
    tp: int | None = None,
    dp: int | None = None,
    ep: int | None = None,
    pp: int | None = None,
    prefill_devices: int | None = None,
    prefill_tp: int | None = None,
    prefill_dp: int | None = None,
    prefill_ep: int | None = None,
    precision: str | None = None,
    kv_dtype: str | None = None,
    engine: str = "vllm",
    concurrency: float | None = None,
    rate_req_s: float | None = None,
    input_tokens: float = 512,
    output_tokens: float = 512,
    output_spread_ratio: float = 0.0,
    cached_ratio: float = 0.0,
    max_num_seqs: float | None = None,
    max_num_batched_tokens: float = 8192,
    gpu_memory_utilization: float = 0.9,
    chunked_prefill: bool = True,
    enforce_eager: bool = False,
    two_batch_overlap: bool | None = None,
    eplb: bool | None = None,
    speculative_tokens: int = 0,
    acceptance_rate: float | None = None,
    draft_model: str | None = None,
    power_cap_w: float | None = None,
    clock_ratio: float = 1.0,
    clock_hz: float | None = None,
    node: str | None = None,
    slo_ttft_s: float | None = None,
    slo_tpot_s: float | None = None,
    site: str | Path | Site | None = None,
    calibration: str | Path | None = None,
    approximate: bool = False,
) -> PredictedDeployment:
    """Predict token rate, energy, power, latency and the active constraint of a deployment at full load.

    model, device      names of the catalog, or files: a ``config.json`` or GGUF file, a TOML file of a device
    devices            in all; ``tp``, ``dp``, ``ep``, ``pp`` are a replica's parallelism: tensor, data,
                       expert, pipeline parallelism (default: tensor parallelism)
    prefill_devices    compute prompts, beside ``devices``, which then decode alone (disaggregated serving);
                       ``prefill_tp``, ``prefill_dp``, ``prefill_ep`` are their parallelism
    precision, kv_dtype   bf16, fp8, nvfp4, int4 …; default: as released
    engine             vllm-0.11 (the one with measured energy), vllm-0.19, sglang, trtllm; vllm: the first of these,
                       with a wider interval
    concurrency        requests in flight per replica; default: as many as fit and meet the targets, or as
                       ``rate_req_s`` needs
    rate_req_s         requests offered per second, to all replicas together
    output_spread_ratio   standard deviation over mean of output lengths;  cached_ratio   share of the prompt tokens
                       that a prefix cache serves
    max_num_seqs, max_num_batched_tokens, gpu_memory_utilization   limits of the engine, by vLLM's names
    chunked_prefill, enforce_eager   its switches: prompts in parts beside decoding sequences; no captured graphs
    two_batch_overlap, eplb   of wide expert parallelism: two micro-batches that overlap, expert load balancing
                       (default: both from 32 expert-parallel ranks on, where rows are sent to their experts alone)
    speculative_tokens   drafted a sequence and step by ``draft_model`` ("ngram": looked up in the prompt; default: the
                       model's own drafting layers), each accepted with ``acceptance_rate``
    power_cap_w, clock_ratio   power limit of one device [W]; its locked core clock over the highest, or ``clock_hz``
    node               server that holds the devices, by name (``catalog.nodes()``): boards, cooling, links, NICs
    slo_ttft_s, slo_tpot_s   targets of the time to the first token and per output token [s]
    site               a site file (TOML) or a ``Site``: PUE, limits, carbon, price
    calibration        a file that ``joulemill.calibrate`` wrote
    approximate        take a model file that is not understood for a plain decoder, with wide intervals

    Raises InputError for a name, number or combination that cannot be; MemoryShort, one of these, where the devices
    do not hold the model, with what would fit.
    """
    own = device if isinstance(device, Device) else None
    _check_names({"model": model, "device": own.name if own else device})
    _check_names({"site": None if isinstance(site, Site) else site, "calibration": calibration}, needed=False)
    question = PredictionRequest(
        model=str(model),
        device=own.name if own else str(device),
        devices=devices,
        tp=tp,
        dp=dp,
        ep=ep,
        pp=pp,
        prefill_devices=prefill_devices,
        prefill_tp=prefill_tp,
        prefill_dp=prefill_dp,
        prefill_ep=prefill_ep,
        precision=precision,
        kv_dtype=kv_dtype,
        engine=engine,
        concurrency=concurrency,
        rate_req_s=rate_req_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        output_spread_ratio=output_spread_ratio,
        cached_ratio=cached_ratio,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        gpu_memory_utilization=gpu_memory_utilization,
        chunked_prefill=chunked_prefill,
        enforce_eager=enforce_eager,
        two_batch_overlap=two_batch_overlap,
        eplb=eplb,
        speculative_tokens=speculative_tokens,
        acceptance_rate=acceptance_rate,
        draft_model=draft_model,
        power_cap_w=power_cap_w,
        clock_ratio=clock_ratio,
        clock_hz=clock_hz,
        node=node,
        slo_ttft_s=slo_ttft_s,
        slo_tpot_s=slo_tpot_s,
        site=None if site is None or isinstance(site, Site) else str(site),
        calibration=None if calibration is None else str(calibration),
        facility=site if isinstance(site, Site) else None,
        hardware=own,
        approximate=approximate,
    )
    return PredictedDeployment(answer(question))


def _check_names(arguments: Mapping[str, Any], *, needed: bool = True) -> None:
    """InputError for a name or a path that is neither a text nor a ``Path``."""
    for name, value in arguments.items():
        if not isinstance(value, (str, Path)) and (needed or value is not None):
            raise InputError(f"`{name}` is {value!r}; it must be a name or the path of a file")


@dataclass(frozen=True, repr=False)
class PredictedDeployment(Result):
    """What a deployment would do. Figures carry 80 % intervals; energy is per output token, prefill's share included.

    ``answer`` holds all of it, as the library's own values.
    """

    answer: PredictionResult

    @property
    def energy(self) -> ByScope:
        """Joules per output token [J/tok]."""
        p = self.answer.prediction
        at_site = unknown("J/tok", _NO_SITE) if p.site is None else p.site.site_j_tok
        return ByScope(p.device_j_tok, p.node_j_tok, at_site)

    @property
    def power(self) -> ByScope:
        """Power of all devices, their nodes, the site [W]."""
        p = self.answer.prediction
        return ByScope(p.device_power_w, p.node_power_w, unknown("W", _NO_SITE) if p.site is None else p.site.site_w)

    @property
    def rate_tok_s(self) -> Figure:
        """Output tokens per second, of all replicas."""
        return self.answer.prediction.rate_tok_s

    @property
    def request_rate_req_s(self) -> Figure:
        """Requests per second, of all replicas."""
        return self.answer.prediction.request_rate_req_s

    @property
    def ttft_s(self) -> Figure:
        """Time to the first token."""
        return self.answer.prediction.ttft_s

    @property
    def tpot_s(self) -> Figure:
        """Time per output token after the first."""
        return self.answer.prediction.tpot_s

    @property
    def concurrency(self) -> float:
        """Requests in flight per replica: as asked, or as chosen."""
        return self.answer.prediction.batch.concurrency

    @property
    def phi(self) -> Figure:
        """Φ: rate at full load over the lowest hardware ceiling; at most 1."""
        return self.answer.prediction.phi

    @property
    def bottleneck(self) -> str:
        """Name of the active constraint: the lowest ceiling; "undecided" where the intervals do not decide."""
        return self.answer.prediction.binding.name

    @property
    def ceilings(self) -> dict[str, Figure]:
        """Limit → the token rate that it allows [tok/s]."""
        return {c.name: c.rate_tok_s for c in self.answer.prediction.ceilings}

    @property
    def sensitivities(self) -> dict[str, float | None]:
        """Resource → elasticity, d ln(rate) / d ln(capacity); None where it is not known."""
        return {m.resource: m.elasticity_ratio for m in self.answer.prediction.sensitivities}

    @property
    def shadow_prices(self) -> dict[str, Figure]:
        """Resource → extra tokens per second of one more unit of it."""
        return {m.resource: m.shadow_price for m in self.answer.prediction.sensitivities}

    @property
    def carbon_gco2e_tok(self) -> Figure:
        """Carbon of the site's energy, per output token."""
        site = self.answer.prediction.site
        return unknown("gCO2e/tok", _NO_SITE) if site is None else site.carbon_gco2e_tok

    @property
    def cost_currency_tok(self) -> Figure:
        """Price of the site's energy, per output token, in the site's currency."""
        site = self.answer.prediction.site
        return unknown("currency/tok", _NO_SITE) if site is None else site.cost_currency_tok

    @property
    def water_l_tok(self) -> Figure:
        """Water per output token."""
        site = self.answer.prediction.site
        return unknown("l/tok", _NO_SITE) if site is None else site.water_l_tok

    @property
    def meets(self) -> bool:
        """Whether all that was asked is met: latency, load, and what the site delivers."""
        return self.answer.meets

    @property
    def short_by(self) -> tuple[Shortfall, ...]:
        """Every limit that is missed, and by how much. The figures are of what the limits leave."""
        return self.answer.short_by

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, and what must be read with the figures."""
        return self.answer.every_note

    def levers(self, **settings: Any) -> LeverStudy:
        """What would lower the joules per token; the arguments are those of ``joulemill.levers``."""
        from joulemill.api.levers import levers_of_question  # it reads runs as well, which takes as long as predicting

        return levers_of_question(self.answer.question, **settings)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill predict --json``."""
        return document(self.answer)

    def figures(self) -> Mapping[str, Figure]:
        """Name → figure: rate, energy and power at each scope, latencies, Φ."""
        return {
            "rate_tok_s": self.rate_tok_s,
            "request_rate_req_s": self.request_rate_req_s,
            "device_j_tok": self.energy.device,
            "node_j_tok": self.energy.node,
            "site_j_tok": self.energy.site,
            "device_power_w": self.power.device,
            "node_power_w": self.power.node,
            "site_power_w": self.power.site,
            "ttft_s": self.ttft_s,
            "tpot_s": self.tpot_s,
            "phi": self.phi,
        }

    def to_frame(self, backend: str | None = None) -> Any:
        """``figures()`` as a dataframe, one row per figure: name, value, low, high, unit, basis.

        ``backend``: pandas, polars or pyarrow; None: the first of these that is installed.
        """
        named = self.figures()
        return frame_of(
            {
                "name": list(named),
                **{part: [getattr(f, part) for f in named.values()] for part in ("value", "low", "high", "unit")},
                "basis": [f.basis and str(f.basis) for f in named.values()],
            },
            backend,
        )

    def _line(self) -> str:
        energy = self.energy
        joules = f"{energy.node} at the node" if energy.node.known else f"{energy.device} at the devices"
        deployment = self.answer.deployment
        return (
            f"{self.answer.question.model} in {deployment.precision.name} on {deployment.device_count} × "
            f"{deployment.device.label}: {joules}, {self.rate_tok_s}, bottleneck {title(self.bottleneck)}"
        )

    def _rows(self) -> Iterable[tuple[str, str]]:
        yield from ((_LABELS[name], str(figure)) for name, figure in self.figures().items())
        yield "bottleneck", title(self.bottleneck)
        yield from (("note", note) for note in self.notes)
