"""Reads targets from a Prometheus-compatible store (Prometheus, Thanos, Mimir, VictoriaMetrics) instead of scraping.

Asked is for the raw samples of the servers' own series since the newest that was read, so that each scrape that the
store kept becomes one look at its target, with the store's time. What the store missed is a gap; what it kept while we
or it were away is read afterwards, once. How far was read is known from the samples' own times, so that our clock may
step; an answer is bounded in size, and a series of it that cannot be read is passed over and told.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from joulemill.catalog.server_dialects import Dialect, dialects
from joulemill.errors import InputError, JoulemillError
from joulemill.formats.plain_text import plain_text, secrets_of
from joulemill.formats.prometheus_text import TextSample
from joulemill.ledger.record import ServerSample
from joulemill.monitor.accounting.histograms import LATENCIES, bucket_series
from joulemill.monitor.config import StoreConfig, TargetConfig, fit
from joulemill.servers.boundary import body_of, from_source, read_in_thread, read_json, reason_of
from joulemill.servers.metrics import MetricsPage, Scrape, canonical, detect_dialect

#: The year 5138 [s]: no sample is from after it.
MOST_TIME_S = 1e11
#: One question reaches back at most so far [s]: a longer absence is asked for in several.
MOST_SPAN_S = 900.0
#: A sample may come into the store so late; younger ones are asked for again next time [s].
LATE_S = 2.0
#: Samples of one scrape carry one time; so close is the same scrape [s].
SAME_SCRAPE_S = 0.001
TIMEOUT_S = 30.0
#: An answer that waits for a reading thread is given up after this time [s] (assumed).
READ_S = 60.0
#: Bounds of one answer (assumed): 1,000 targets of 50 series every 10 s are 12 MB for 100 s.
MOST_BYTE = 64 << 20
MOST_ITEMS = 8_000_000
MOST_SERIES = 200_000
MOST_INSTANCES = 20_000
#: Where an answer was too long, less is asked for, down to this span [s].
LEAST_SPAN_S = 10.0
#: Labels that the store adds and the server does not have.
STORE_LABELS = ("__name__", "job", "instance")


@dataclass(frozen=True, slots=True)
class StoreTarget:
    """One target as the store knows it: its ``instance`` label, its model where a series tells, its pages by time."""

    instance: str
    model: str | None
    pages: tuple[tuple[float, MetricsPage], ...]


def selector(match: str) -> str:
    """The series of every dialect, as a PromQL selector; ``match`` are more matchers, e.g. ``job="vllm"``."""
    names = sorted(f"(?:ray_)?{re.escape(d.prefix)}[:_](?:{'|'.join(_series(d))})(?:_total)?" for d in dialects())
    more = f",{match}" if match else ""
    return f'{{__name__=~"{"|".join(names)}"{more}}}'.replace("\\", "\\\\")


def _series(d: Dialect) -> list[str]:
    return sorted(d.series() | {s for what in LATENCIES for s in bucket_series(d, what)})


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What an answer tells; ``faults``: of series that were passed over."""

    targets: tuple[StoreTarget, ...]
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class _Instance:
    model: str | None = None
    pages: dict[float, list[TextSample]] = field(default_factory=dict)


def scraped(
    document: Any, after_s: Mapping[str, float], asked_s: tuple[float, float] = (0.0, MOST_TIME_S)
) -> StoreAnswer:
    """The pages in an answer that are newer than ``after_s`` by instance, and of the time that was asked for.

    Raises InputError for what is no such answer at all.
    """
    data = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(data, Mapping) or document.get("status") != "success" or data.get("resultType") != "matrix":
        raise InputError(f"the store did not answer with a range of samples: {str(document)[:200]}")
    every = data.get("result") or []
    if not isinstance(every, list) or len(every) > MOST_SERIES:
        raise InputError(f"the store did not answer with a list of at most {MOST_SERIES} series")
    instances: dict[str, _Instance] = {}
    faults: dict[str, int] = {}
    for series in every:
        try:
            _take(instances, series, after_s, asked_s)
        except Exception as fault:
            why = str(fault) if isinstance(fault, InputError) else f"is not of its form ({type(fault).__name__})"
            faults[why] = faults.get(why, 0) + 1
    targets = tuple(
        StoreTarget(name, i.model, tuple((t, MetricsPage(tuple(s), {})) for t, s in sorted(i.pages.items())))
        for name, i in sorted(instances.items())
    )
    return StoreAnswer(targets, tuple(f"{n} series: {why}" for why, n in list(faults.items())[:5]))


def _take(
    instances: dict[str, _Instance], series: Any, after_s: Mapping[str, float], asked_s: tuple[float, float]
) -> None:
    """One series. Raises whatever it is not fit for; nothing of it is taken then."""
    labels = {_text(k): _text(v) for k, v in series["metric"].items()}
    name, instance = labels["__name__"], labels.get("instance")
    if not instance:
        raise InputError("without an instance: it belongs to no target")
    own = {k: v for k, v in labels.items() if k not in STORE_LABELS}
    least_s = after_s.get(instance, -math.inf) + SAME_SCRAPE_S
    samples = [(float(at), float(value)) for at, value in series.get("values") or ()]
    if not all(asked_s[0] <= at <= asked_s[1] for at, _ in samples):
        raise InputError("has times that were not asked for")
    if instance not in instances and instance not in after_s and len(instances) + len(after_s) >= MOST_INSTANCES:
        raise InputError(f"is of more than {MOST_INSTANCES} instances")
    mine = instances.setdefault(instance, _Instance())
    mine.model = labels.get("model_name", mine.model)
    for at, value in samples:
        if at > least_s:
            mine.pages.setdefault(round(at, 3), []).append(TextSample(name, own, value))


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("a label is no text")
    return fit(text)


def looks(target: StoreTarget, mono_of_wall_s: float) -> Iterable[Scrape]:
    """Each page as a look; ``mono_of_wall_s`` brings the store's times to our monotonic clock."""
    for at_s, page in target.pages:
        dialect = detect_dialect(page)
        values = canonical(page, dialect) if dialect else {}
        error = None if values else "the store has none of the known names at this time"
        yield Scrape(ServerSample(at_s + mono_of_wall_s, at_s, values, error), page, dialect)


def target_of(target: StoreTarget, asked: StoreConfig) -> TargetConfig:
    """A target for an instance that the configuration does not name."""
    model = target.model or asked.model
    return TargetConfig(
        name=target.instance, model=model, site=asked.site, metrics_url=f"http://{target.instance}/metrics"
    )


class StoreReader:
    """Asks one store; remembers how far each target was read."""

    def __init__(self, asked: StoreConfig) -> None:
        self.asked = asked
        self.read_s: dict[str, float] = {}
        self.faults: tuple[str, ...] = ()
        self._since_s = self._newest_s = time.time() - asked.lookback_s
        self._span_s = MOST_SPAN_S
        self._mono_of_wall_s = time.monotonic() - time.time()

    async def read(self, session: aiohttp.ClientSession, now_s: float) -> list[StoreTarget]:
        """What is new since the last time, up to a span of it. Raises JoulemillError where the store fails."""
        if now_s < self._since_s:  # our clock stepped back: go on from what was read
            self._since_s = min(self._newest_s, now_s) - LATE_S
        end_s = min(now_s, self._since_s + self._span_s)
        span_ms = max(round(1000 * (end_s - self._since_s)), 1)
        query = f"{selector(self.asked.match)}[{span_ms}ms]"
        where = self.asked.url
        try:
            asked = self._ask(session, {"query": query, "time": f"{end_s:.3f}"})
            body = await from_source(where, asked, TIMEOUT_S, secrets_of(None, self._headers().items()))
            asked_s = (end_s - span_ms / 1000 - 1.0, end_s + 1.0)
            answer = await from_source(where, read_in_thread(_read, body, self.read_s, asked_s), READ_S)
        except JoulemillError as fault:
            self._span_s = max(self._span_s / 2, LEAST_SPAN_S)  # less is asked for, in case it was too much
            raise InputError(str(fault) if where in str(fault) else f"{where}: {fault}") from None
        self._span_s = min(2 * self._span_s, MOST_SPAN_S)
        self.faults = answer.faults
        for target in answer.targets:
            if target.pages:
                self.read_s[target.instance] = target.pages[-1][0]
                self._newest_s = max(self._newest_s, target.pages[-1][0])
        self._since_s = max(self._since_s, end_s - LATE_S)
        return list(answer.targets)

    def behind(self, now_s: float) -> bool:
        """Whether there is more to read than one question takes."""
        return now_s - self._since_s > MOST_SPAN_S

    def looks(self, target: StoreTarget) -> Iterable[Scrape]:
        """``looks`` on this process's clock."""
        return looks(target, self._mono_of_wall_s)

    def _headers(self) -> dict[str, str]:
        token = os.environ.get(self.asked.token_env or "")
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def _ask(self, session: aiohttp.ClientSession, parameters: Mapping[str, str]) -> bytes:
        url = f"{self.asked.url.rstrip('/')}/api/v1/query"
        async with session.post(url, data=dict(parameters), headers=self._headers(), allow_redirects=False) as answer:
            if answer.status != 200:
                body = (await body_of(answer, MOST_BYTE))[:4000].decode("utf-8", "replace")
                reason = plain_text(body, secrets_of(None, self._headers().items()), 200)
                raise InputError(reason_of(InputError(f"{url}: answered {answer.status}: {reason}")))
            return await body_of(answer, MOST_BYTE)


def _read(body: bytes, after_s: Mapping[str, float], asked_s: tuple[float, float]) -> StoreAnswer:
    return scraped(read_json(body, MOST_ITEMS), after_s, asked_s)
