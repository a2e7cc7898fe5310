"""Reads targets from a Prometheus-compatible store (Prometheus, Thanos, Mimir, VictoriaMetrics) instead of scraping.

Asked is for the raw samples of the servers' own series since the newest that was read, so that each scrape that the
store kept becomes one look at its target, with the store's time. What the store missed is a gap; what it kept while we
or it were away is read afterwards, once.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from joulemill.catalog.dialect import Dialect, dialects
from joulemill.errors import InputError
from joulemill.ledger.record import ServerSample
from joulemill.monitor.config import StoreConfig, TargetConfig
from joulemill.monitor.histograms import LATENCIES, bucket_series
from joulemill.servers.metrics import Look, MetricSample, MetricsPage, canonical, detect_dialect

#: One question reaches back at most so far [s]: a longer absence is asked for in several.
MOST_SPAN_S = 900.0
#: A sample may come into the store so late; younger ones are asked for again next time [s].
LATE_S = 2.0
#: Samples of one scrape carry one time; so close is the same scrape [s].
SAME_SCRAPE_S = 0.001
TIMEOUT_S = 30.0
#: Labels that the store adds and the server does not have.
STORE_LABELS = ("__name__", "job", "instance")


@dataclass(frozen=True, slots=True)
class Scraped:
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


def scraped(document: Any, after_s: Mapping[str, float]) -> list[Scraped]:
    """The pages in an answer that are newer than ``after_s`` by instance. Raises InputError for another answer."""
    data = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(data, Mapping) or document.get("status") != "success" or data.get("resultType") != "matrix":
        raise InputError(f"the store answered no range of samples: {str(document)[:200]}")
    found: dict[str, dict[float, list[MetricSample]]] = {}
    models: dict[str, str] = {}
    for series in data.get("result") or ():
        labels = series["metric"]
        instance = str(labels.get("instance", ""))
        if "model_name" in labels:
            models[instance] = str(labels["model_name"])
        own = {k: str(v) for k, v in labels.items() if k not in STORE_LABELS}
        pages = found.setdefault(instance, {})
        for at, value in series.get("values") or ():
            if float(at) > after_s.get(instance, -math.inf) + SAME_SCRAPE_S:
                pages.setdefault(round(float(at), 3), []).append(MetricSample(labels["__name__"], own, float(value)))
    return [
        Scraped(i, models.get(i), tuple((t, MetricsPage(tuple(s), {})) for t, s in sorted(pages.items())))
        for i, pages in sorted(found.items())
    ]


def looks(target: Scraped, mono_of_wall_s: float) -> Iterable[Look]:
    """Each page as a look; ``mono_of_wall_s`` brings the store's times to our monotonic clock."""
    for at_s, page in target.pages:
        dialect = detect_dialect(page)
        values = canonical(page, dialect) if dialect else {}
        error = None if values else "the store has none of the names that we know at this time"
        yield Look(ServerSample(at_s + mono_of_wall_s, at_s, values, error), page, dialect)


def target_of(found: Scraped, asked: StoreConfig) -> TargetConfig:
    """A target for an instance that the configuration does not name."""
    model = found.model or asked.model
    return TargetConfig(
        name=found.instance, model=model, site=asked.site, metrics_url=f"http://{found.instance}/metrics"
    )


class StoreReader:
    """Asks one store; remembers how far each target was read."""

    def __init__(self, asked: StoreConfig) -> None:
        self.asked = asked
        self.read_s: dict[str, float] = {}
        self._since_s = time.time() - asked.lookback_s
        self._mono_of_wall_s = time.monotonic() - time.time()

    async def read(self, session: aiohttp.ClientSession, now_s: float) -> list[Scraped]:
        """What is new since the last time, up to ``MOST_SPAN_S`` of it. Raises InputError where the store fails."""
        end_s = min(now_s, self._since_s + MOST_SPAN_S)
        span_ms = max(round(1000 * (end_s - self._since_s)), 1)
        query = f"{selector(self.asked.match)}[{span_ms}ms]"
        found = scraped(await self._ask(session, {"query": query, "time": f"{end_s:.3f}"}), self.read_s)
        for target in found:
            if target.pages:
                self.read_s[target.instance] = target.pages[-1][0]
        self._since_s = max(self._since_s, end_s - LATE_S)
        return found

    def behind(self, now_s: float) -> bool:
        """Whether there is more to read than one question takes."""
        return now_s - self._since_s > MOST_SPAN_S

    def looks(self, target: Scraped) -> Iterable[Look]:
        """``looks`` on this process's clock."""
        return looks(target, self._mono_of_wall_s)

    async def _ask(self, session: aiohttp.ClientSession, given: Mapping[str, str]) -> Any:
        token = os.environ.get(self.asked.token_env or "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"{self.asked.url.rstrip('/')}/api/v1/query"
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                session.post(url, data=dict(given), headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise InputError(f"{url}: answered {answer.status}: {(await answer.text())[:200]}")
                return await answer.json(content_type=None)
        except TimeoutError:
            raise InputError(f"{url}: no answer within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise InputError(f"{url}: {type(fault).__name__}: {fault}"[:300]) from None
