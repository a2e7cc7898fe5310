"""What a deployment falls short of: the site's power and cooling, latency targets, the offered rate, memory.

A limit that is missed is said first; the figures are of what the limits leave. Pure but for the catalog.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.hardware.site import Site, it_limit_figure
from joulemill.physics.production.prediction import Prediction
from joulemill.physics.serving.batch import MemoryShort
from joulemill.prediction.question import PredictionRequest, PredictionResult, Shortfall
from joulemill.units import say_quantity
from joulemill.wording import count, digits

#: Rounding of sums; no shortfall.
NEAR = 1.0 + 1e-6
#: Cuts that are tried, from few to many, for one that holds the model.
TENSOR_COUNTS = (*range(1, 65), 72, 80, 96, 128, 144, 160, 192, 256)
FEWER_BITS = ("fp8", "int4")
#: More devices than this are named in no advice.
MOST_NAMED = 1_000_000


def of_latency(result: PredictionResult) -> Iterator[Shortfall]:
    """Targets that are missed at the batch that was asked for, or that no batch meets."""
    q, p = result.question, result.prediction
    for name, limit_s, figure in (("ttft", q.slo_ttft_s, p.ttft_s), ("tpot", q.slo_tpot_s, p.tpot_s)):
        took = figure.value
        if limit_s is None or took is None or took <= limit_s * NEAR:
            continue
        what = "to the first token" if name == "ttft" else "per output token"
        how = (
            f"{p.batch.concurrency:g} concurrent requests per replica take"
            if p.batch.concurrency != 1
            else "even a single request takes"
        )
        missed = f"{how} {say_quantity(took, 's')} {what}, the target is {say_quantity(limit_s, 's')}"
        over = say_quantity(took - limit_s, "s")
        yield Shortfall(name, "s", limit_s, took, f"the {name.upper()} target is missed by {over}: {missed}")


def of_load(result: PredictionResult) -> Iterator[Shortfall]:
    """Requests that were asked for, in flight or a second, and that cannot be."""
    q, p = result.question, result.prediction
    asked = q.concurrency
    if asked is not None and asked > p.batch.most_req * NEAR:
        text = (
            f"a concurrency of {asked:g} does not fit: beside the weights, memory holds {count(p.batch.most_req)} "
            "requests of this length per replica"
        )
        yield Shortfall("concurrency", "req", asked, p.batch.most_req, text)
    offered, served = q.rate_req_s, p.request_rate_req_s.value
    if offered is not None and served is not None and offered > served * NEAR:
        yield Shortfall("rate", "req/s", offered, served, _rate_text(result, offered, served))


def _rate_text(result: PredictionResult, offered: float, served: float) -> str:
    text = (
        f"overload, the rate is short by {digits(offered - served)} req/s: {say_quantity(offered, 'req/s')} are "
        f"offered, {digits(served)} req/s are sustainable"
    )
    if result.prediction.held_ratio < 1.0:
        return f"{text}, since the site delivers no more"
    each = max(1, result.deployment.device_count // result.deployment.parallelism.replicas)
    replicas = math.ceil(offered / (served / result.deployment.parallelism.replicas))
    text += f" on {result.deployment.device_count} devices"
    enough = max(replicas, result.deployment.parallelism.replicas + 1) * each
    return text if enough > MOST_NAMED else f"{text}; about {enough:,} devices would suffice"


def of_site(p: Prediction, site: Site | None, devices: int, each: int) -> Iterator[Shortfall]:
    """Power and cooling of the site, against what all devices would draw at full load."""
    drawn = p.full_node_power_w.value
    if site is None or drawn is None:
        return
    for name, limit, what in (
        ("power", it_limit_figure(site).value, "the site delivers"),
        ("cooling", site.cooling_limit_w, "the site's cooling removes"),
    ):
        if limit is None or drawn <= limit * NEAR:
            continue
        fitting = math.floor(devices * limit / drawn / each) * each
        rest = f"about {fitting} devices fit" if fitting else "not even one replica fits"
        text = (
            f"short of {name} by {say_quantity(drawn - limit, 'W')}: all {devices} devices at full load draw "
            f"{say_quantity(drawn, 'W')} at the node, {what} {say_quantity(limit, 'W')}; {rest}"
        )
        yield Shortfall(name, "W", drawn, limit, text)


def within_targets(question: PredictionRequest) -> PredictionRequest:
    """The same with the batch as a limit, so that the most that meet the latency targets are taken."""
    return replace(question, concurrency=None, max_num_seqs=question.concurrency)


def does_not_fit(
    question: PredictionRequest, fault: MemoryShort, holds: Callable[[PredictionRequest], bool]
) -> MemoryShort:
    """The fault with what would really fit: each number of devices and each precision named was tried by ``holds``."""
    reason = str(fault).partition("; ")[0]
    advice = "; ".join(_advice(question, holds)) or (
        f"no tensor parallelism over {TENSOR_COUNTS[-1]} devices or fewer holds it, in no precision; use a device with "
        "more memory"
    )
    return MemoryShort(f"{reason}; {advice}", fault.needed_byte, fault.room_byte)


def _advice(question: PredictionRequest, holds: Callable[[PredictionRequest], bool]) -> Iterator[str]:
    least = next((n for n in TENSOR_COUNTS if _fits(holds, _over(question, n))), None)
    if least is not None:
        several = max(question.devices // least, 1) * least
        more = "" if several == question.devices else f"`devices={several}`, "
        yield f"spread the model over {least} devices per replica ({more}{_parallelism_words(question, least)})"
    for precision in FEWER_BITS:
        if _fits(holds, replace(question, precision=precision)):
            yield f"or `precision={precision}`, which fits as asked"
            return
    if least is None:
        for precision in FEWER_BITS:
            few = next(
                (n for n in TENSOR_COUNTS if _fits(holds, replace(_over(question, n), precision=precision))), None
            )
            if few is not None:
                yield f"spread the model over {few} devices per replica with `precision={precision}`"
                return


def _over(question: PredictionRequest, devices: int) -> PredictionRequest:
    return replace(question, devices=devices, tp=devices, dp=None, ep=None)


def _parallelism_words(question: PredictionRequest, least: int) -> str:
    return f"`tp={least}` without `dp` and `ep`" if question.dp or question.ep else f"`tp={least}`"


def _fits(holds: Callable[[PredictionRequest], bool], question: PredictionRequest) -> bool:

    try:
        return holds(question)
    except InputError:
        return False


def short_document(fault: MemoryShort) -> list[dict[str, Any]]:
    """``short_by`` of a deployment that does not fit at all."""
    return [Shortfall("memory", "byte", fault.needed_byte, fault.room_byte, str(fault)).document()]
