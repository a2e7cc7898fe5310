"""A server that says what a test tells it to, whatever that is. It counts what it was asked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

CHUNK = {"choices": [{"index": 0, "delta": {"content": " w"}, "finish_reason": None}]}


def events(*messages: dict[str, Any]) -> bytes:
    """A stream of ``messages`` to its end."""
    return b"".join(b"data: " + json.dumps(m).encode() + b"\n\n" for m in messages) + b"data: [DONE]\n\n"


def last(finish: str = "length", prompt_tok: float = 40, output_tok: float = 4, **usage: Any) -> dict[str, Any]:
    """A last chunk with its usage."""
    return {
        "choices": [{"index": 0, "delta": {}, "finish_reason": finish}],
        "usage": {"prompt_tokens": prompt_tok, "completion_tokens": output_tok, **usage},
    }


@dataclass(kw_only=True)
class Hostile:
    """``answer(n, body)`` makes the bytes of stream number n; ``refusal`` is a status and headers in its place."""

    answer: Callable[[int, dict[str, Any]], bytes]
    models: Any = field(default_factory=lambda: {"data": [{"id": "m"}]})
    models_status: int = 200
    version: str = "1"
    refusal: tuple[int, dict[str, str]] | None = None
    metrics: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[str]:
        """Its URL, while it serves."""
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/chat/completions", self._ask)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        return web.Response(text=json.dumps(self.models), status=self.models_status, content_type="application/json")

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self.version})

    async def _metrics(self, request: web.Request) -> web.Response:
        self.headers.append({"path": "/metrics", **request.headers})
        return web.Response(text=self.metrics) if self.metrics is not None else web.Response(status=404)

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        number = len(self.asked)
        self.asked.append(await request.json())
        self.headers.append({"path": "/ask", **request.headers})
        if self.refusal is not None:
            return web.Response(status=self.refusal[0], headers=self.refusal[1], text="no")
        return web.Response(body=self.answer(number, self.asked[-1]), content_type="text/event-stream")


def honest(number: int, body: dict[str, Any]) -> bytes:
    """Four tokens, and usage that counts words."""
    words = len(body["messages"][-1]["content"].split())
    return events(*[CHUNK] * 4, last(prompt_tok=words))
