"""A server to watch where there is none: the embedded one under a light load."""

from __future__ import annotations

import itertools
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from joulemill.monitor.config import MonitorConfig, SiteConfig, TargetConfig
from joulemill.servers.embedded import EmbeddedServer

#: The load: so many tokens per answer, then a pause; a modest share of two cores.
ANSWER_TOK = 48
PAUSE_S = 2.0
PERIOD_S = 2.0
QUESTIONS = (
    "How does a water mill turn a river into flour?",
    "Name three things that a power station and a bakery have in common.",
    "How would you explain a joule to a child?",
    "Why is a chain as strong as its weakest link?",
)


@contextmanager
def demo() -> Iterator[MonitorConfig]:
    """What to watch: the embedded server with its bundled model, under a light load for as long as the block lasts."""
    with EmbeddedServer() as server, load(server.url, server.model_name):
        target = TargetConfig(
            name="demo",
            model=server.model_name,
            metrics_url=f"{server.url}/metrics",
            site="here",
            meters=("auto",),
            here=True,
            server_pid=server.pid,
            output_tok=ANSWER_TOK,
            labels={"tenant": "demo"},
        )
        site = SiteConfig(name="here", pue_ratio=1.2, carbon_g_kwh=300.0, price_kwh=0.15, currency="EUR")
        yield MonitorConfig(period_s=PERIOD_S, meter_period_s=0.5, site=(site,), target=(target,))


@contextmanager
def load(url: str, model: str) -> Iterator[None]:
    """One client that asks, reads, and pauses, for as long as the block lasts."""
    stop = threading.Event()
    thread = threading.Thread(target=_ask, args=(url, model, stop), name="joulemill demo load", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5.0)


def _ask(url: str, model: str, stop: threading.Event) -> None:
    for question in itertools.cycle(QUESTIONS):
        body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": ANSWER_TOK}
        request = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            # Our own server, on loopback.
            with urllib.request.urlopen(request, timeout=60) as answer:  # nosec B310
                answer.read()
        except OSError:  # the server is ending, or was busy; the monitor tells
            if stop.wait(1.0):
                return
        if stop.wait(PAUSE_S):
            return
