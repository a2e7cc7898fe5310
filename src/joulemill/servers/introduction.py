"""A server introduced: what it is, what it serves, what its counters tell, and how its clock stands to ours.

The clock comes from the ``Date`` of several answers. It is whole seconds, and some servers (uvicorn's among them) make
it once a second and send it until the next, so each shows a time that is past by 0 to 2 s. Looks at different moments
narrow that; what is left is said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp

from joulemill.errors import ServerError
from joulemill.formats.plain_text import plain_text
from joulemill.servers.client import open_session
from joulemill.servers.endpoint import Endpoint, EndpointFacts, check_endpoint
from joulemill.servers.metrics import Scrape, look

#: A ``Date`` may be this far behind the server's clock: whole seconds, and made up to a second before [s].
STALE_S = 2.0
LOOKS, APART_S = 6, 0.19
LOOK_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What a server says of itself. None where it does not; ``error`` says why it cannot be driven.

    dialect       names of its counters: vllm, llama.cpp …;  quantities  what of ours they give
    clock_ahead_s, clock_half_s   its clock against ours, and half the width of what is possible; 0 on this machine
    """

    url: str
    kind: str | None = None
    version: str | None = None
    model: str | None = None
    models: tuple[str, ...] = ()
    context_tok: int | None = None
    metrics_url: str | None = None
    dialect: str | None = None
    quantities: tuple[str, ...] = ()
    metrics_error: str | None = None
    clock_ahead_s: float | None = None
    clock_half_s: float | None = None
    error: str | None = None

    def lines(self) -> list[str]:
        """Lines for people."""
        if self.error is not None:
            return [f"server   {self.url}: {self.error}"]
        context = "context unknown" if self.context_tok is None else f"context {self.context_tok:,} tokens"
        named = f"{self.kind} {self.version}" if self.version else f"{self.kind}, version unknown"
        return [f"server   {self.url}: {named}; model {self.model}; {context}", *self._counters(), *self._clock()]

    def _counters(self) -> list[str]:
        if self.metrics_url is None:
            step = "llama-server: --metrics; behind a gateway: --metrics-url"
            return [f"counters none: no metrics page beside it ({step})"]
        if not self.quantities:
            return [f"counters none that are known at {self.metrics_url}: {self.metrics_error}"]
        return [f"counters of {self.dialect} at {self.metrics_url}: {', '.join(self.quantities)}"]

    def _clock(self) -> list[str]:
        if self.clock_ahead_s is None or self.clock_half_s is None:
            return []
        if self.clock_half_s == 0.0:
            return ["clock    the server's is this machine's"]
        return [f"clock    the server's is {self.clock_ahead_s:+.2f} s (± {self.clock_half_s:.2f}) from ours"]


def introduce(endpoint: Endpoint, *, here: bool) -> Introduction:
    """Ask the server at ``endpoint``; a fault of its becomes ``error``. ``here``: it runs on this machine."""
    return asyncio.run(_introduced(endpoint, here))


async def _introduced(endpoint: Endpoint, here: bool) -> Introduction:
    async with open_session(1) as session:
        try:
            facts = await check_endpoint(session, endpoint)
        except ServerError as fault:
            return Introduction(url=endpoint.url, error=str(fault))
        counters = await _counters(session, endpoint, facts)
        clock = (0.0, 0.0) if here else ahead_s(await _dates(session, endpoint))
    values = counters.sample.values if counters else {}
    error = counters.sample.error if counters else None
    return Introduction(
        url=endpoint.url,
        kind=facts.kind,
        version=facts.version,
        model=facts.model,
        models=facts.models,
        context_tok=facts.max_context_tok,
        metrics_url=facts.metrics_url,
        dialect=counters.dialect.name if counters and counters.dialect else None,
        quantities=tuple(sorted(values)),
        metrics_error=None if error is None else plain_text(error, endpoint.secrets),
        clock_ahead_s=clock[0] if clock else None,
        clock_half_s=clock[1] if clock else None,
    )


async def _counters(session: aiohttp.ClientSession, endpoint: Endpoint, facts: EndpointFacts) -> Scrape | None:
    url = facts.metrics_url
    return None if url is None else await look(session, url, None, headers=endpoint.headers(url))


async def _dates(session: aiohttp.ClientSession, endpoint: Endpoint) -> list[tuple[float, float, float]]:
    """Looks at the server's ``Date``: when it was asked and had answered by our clock, and what it said."""
    dates = []
    for _ in range(LOOKS):
        asked_s = time.time()
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                async with session.get(
                    endpoint.url + "/models", headers=endpoint.headers(), allow_redirects=False
                ) as answer:
                    text, heard_s = answer.headers.get("Date", ""), time.time()
            dates.append((asked_s, heard_s, parsedate_to_datetime(text[:64]).timestamp()))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, TypeError, OverflowError):
            pass
        await asyncio.sleep(APART_S)
    return dates


def ahead_s(looks: Sequence[tuple[float, float, float]]) -> tuple[float, float] | None:
    """How far the server's clock is ahead, and half the width of what the looks allow; None without a look.

    At some time between asking and hearing its clock stood between ``Date`` and ``Date`` + STALE_S.
    """
    if not looks:
        return None
    low = max(date - heard for _, heard, date in looks)
    high = min(date + STALE_S - asked for asked, _, date in looks)
    if high < low:  # it was set between two looks: all that is sure is what they span
        low, high = min(d - h for _, h, d in looks), max(d + STALE_S - a for a, _, d in looks)
    return (low + high) / 2.0, (high - low) / 2.0
