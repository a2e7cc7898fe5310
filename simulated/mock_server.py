"""An OpenAI-compatible server with a known truth: exact schedule, true counters, faults on demand. For tests only.

In this process:      ``async with MockServer(MockPlan(ttft_s=0.1)) as server: … server.url``
In one of its own:    ``with mock_process(MockPlan(ttft_s=0.1)) as url: …``
From a shell:         ``python simulated/mock_server.py --port 0 --ttft_s 0.1`` (prints its port)

Tokens are words: a prompt has as many as ``str.split`` finds, an answer as many as the plan (or ``max_tokens``) says.
Token i of an answer leaves at  start + ttft_s + i·itl_s,  on absolute deadlines, so that lateness never adds up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from aiohttp import web

FAULTS = (
    "cut",
    "reset",
    "no_usage",
    "no_tokens",
    "error_event",
    "huge_line",
    "malformed",
    "not_stream",
    "hang",
    "no_done",
)


@dataclass(frozen=True, kw_only=True)
class MockPlan:
    """What the server is like. ``fault``: one of FAULTS, or an HTTP status such as "429"; it strikes requests
    number fault_after … fault_after + fault_count - 1 (counted from 0)."""

    ttft_s: float = 0.02
    itl_s: float = 0.002
    prefill_s_tok: float = 0.0  # more time to the first token for each prompt token that is not cached
    slots: int = 1024
    rate_tok_s: float = 0.0  # all answers together, one token after the other; 0: no limit
    tokens: int = 0  # of each answer; 0: as many as max_tokens asks for
    chunk_tok: int = 1  # tokens in one chunk
    cached_tok: int = 0  # prompt tokens found in the cache, at most prompt - 1
    reasoning_tok: int = 0  # so many first tokens come as reasoning_content
    usage: int = 1
    dialect: str = "vllm"  # of /metrics: vllm, llamacpp or none
    lie_ratio: float = 1.0  # the output counter of /metrics shows truth × this
    model: str = "mock-model"
    answer: str = ""  # its words, cycled, are the tokens; "" gives " w0 w1 …"
    api_key: str = ""
    fault: str = ""
    fault_after: int = 0
    fault_count: int = 1 << 30
    fault_tok: int = 3  # tokens sent before cut and reset
    retry_after: str = ""


@dataclass(kw_only=True)
class Truth:
    """What really happened, for tests to compare with."""

    requests: int = 0
    running: int = 0
    waiting: int = 0
    prompt_tok: int = 0
    cached_tok: int = 0
    output_tok: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    bodies: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class MockServer:
    def __init__(self, plan: MockPlan = MockPlan(), port: int = 0) -> None:
        self.plan, self.port, self.truth = plan, port, Truth()
        self._slots = asyncio.Semaphore(plan.slots)
        self._frames: dict[tuple[bool, int], bytes] = {}
        self._turn_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> MockServer:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/version", self._version)
        if self.plan.dialect != "none":
            app.router.add_get("/metrics", self._metrics)
        if self.plan.dialect == "llamacpp":
            app.router.add_get("/props", self._props)
        app.router.add_post("/v1/chat/completions", self._ask)
        app.router.add_post("/v1/completions", self._ask)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, backlog=4096)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    # --- what it says of itself -------------------------------------------------------------------------------
    def _locked(self, request: web.Request) -> web.Response | None:
        if self.plan.api_key and request.headers.get("Authorization") != f"Bearer {self.plan.api_key}":
            given = request.headers.get("Authorization", "none")
            return web.json_response({"error": {"message": f"Incorrect API key provided: {given}"}}, status=401)
        return None

    async def _models(self, request: web.Request) -> web.Response:
        owner = {"vllm": "vllm", "llamacpp": "llamacpp"}.get(self.plan.dialect, "someone")
        rows = [{"id": name, "object": "model", "owned_by": owner} for name in self.plan.model.split(",")]
        if owner == "vllm":
            rows = [row | {"max_model_len": 8192} for row in rows]
        return self._locked(request) or web.json_response({"object": "list", "data": rows})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.0.mock"})

    async def _props(self, _: web.Request) -> web.Response:
        settings = {"n_ctx": 4096}
        return web.json_response(
            {"default_generation_settings": settings, "total_slots": self.plan.slots, "build_info": "b0-mock"}
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=metrics_text(self.plan, self.truth), content_type="text/plain")

    # --- answers ----------------------------------------------------------------------------------------------
    async def _ask(self, request: web.Request) -> web.StreamResponse:
        arrived_s = asyncio.get_running_loop().time()
        body = await request.json()
        number, self.truth.requests = self.truth.requests, self.truth.requests + 1
        self.truth.bodies.append(body)
        plan = self.plan
        struck = plan.fault_after <= number < plan.fault_after + plan.fault_count
        fault = plan.fault if struck else ""
        if refusal := self._locked(request):
            return refusal
        if body.get("model") not in plan.model.split(","):
            return web.json_response(
                {"error": {"message": f"The model `{body.get('model')}` does not exist."}}, status=404
            )
        if fault.isdigit():
            headers = {"Retry-After": plan.retry_after} if plan.retry_after else None
            return web.json_response({"error": {"message": f"fault {fault}"}}, status=int(fault), headers=headers)
        if fault == "not_stream":
            return web.json_response({"choices": [{"message": {"content": "all at once"}}]})
        queued = self._slots.locked()
        self.truth.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.truth.waiting -= 1
        self.truth.running += 1
        try:
            start_s = asyncio.get_running_loop().time() if queued else arrived_s
            return await self._stream(request, body, fault, start_s)
        finally:
            self.truth.running -= 1
            self._slots.release()

    async def _stream(
        self, request: web.Request, body: dict[str, Any], fault: str, start_s: float
    ) -> web.StreamResponse:
        plan, truth = self.plan, self.truth
        chat = "messages" in body
        prompt_tok = len((body["messages"][-1]["content"] if chat else body["prompt"]).split())
        cached_tok = max(0, min(plan.cached_tok, prompt_tok - 1))
        count = 0 if fault == "no_tokens" else plan.tokens or int(body.get("max_tokens", 16))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport = request.transport
        assert transport is not None
        truth.prompt_tok += prompt_tok
        truth.cached_tok += cached_tok
        first_s = start_s + plan.ttft_s + plan.prefill_s_tok * (prompt_tok - cached_tok)
        truth.prefill_s += first_s - start_s
        if fault == "hang":
            await asyncio.sleep(3600)
        for i in range(0, count, plan.chunk_tok):
            await _until(first_s + i * plan.itl_s)
            if plan.rate_tok_s:
                await _until(self._next_turn())
            if transport.is_closing():
                return response
            if fault and self._strike(fault, i, transport):
                return response
            step = min(plan.chunk_tok, count - i)
            transport.write(self._frame(chat, i, step))
            truth.output_tok += step
        truth.decode_s += max(0, count - 1) * plan.itl_s
        if count == 0:
            await _until(first_s)
        if usage := self._closing(chat, prompt_tok, cached_tok, count, fault):
            transport.write(usage)
        await response.write_eof()
        return response

    def _next_turn(self) -> float:
        self._turn_s = max(self._turn_s, asyncio.get_running_loop().time()) + self.plan.chunk_tok / self.plan.rate_tok_s
        return self._turn_s

    def _strike(self, fault: str, i: int, transport: asyncio.WriteTransport) -> bool:
        """Do the fault's mischief at token i; True ends the connection."""
        if i < self.plan.fault_tok:
            return False
        if fault == "cut":
            transport.write(b"0\r\n\r\n")  # a well-formed end of an unfinished answer
            transport.close()
        elif fault == "reset":
            transport.abort()
        elif fault == "error_event":
            transport.write(_chunked(_event({"error": {"message": "out of memory", "code": 500}})) + b"0\r\n\r\n")
            transport.close()
        elif fault == "malformed":
            transport.write(_chunked(b"data: {not json\n\n"))
            return False
        elif fault == "huge_line":
            transport.write(_chunked(b"data: " + b"x" * (5 << 20)))
            transport.write(b"0\r\n\r\n")
            transport.close()
        else:
            return False
        return True

    def _frame(self, chat: bool, i: int, step: int) -> bytes:
        """The bytes of tokens i … i+step-1, made once."""
        frame = self._frames.get((chat, i * 4096 + step))
        if frame is None:
            words = self.plan.answer.split()
            text = "".join(f" {words[k % len(words)] if words else f'w{k}'}" for k in range(i, i + step))
            if not chat:
                choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": None}
            elif i < self.plan.reasoning_tok:
                choice = {"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}
            else:
                choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            role = _event(
                _message(chat, {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})
            )
            frame = _chunked((role if chat and i == 0 else b"") + _event(_message(chat, choice)))
            self._frames[chat, i * 4096 + step] = frame
        return frame

    def _closing(self, chat: bool, prompt_tok: int, cached_tok: int, count: int, fault: str) -> bytes:
        end = {"index": 0, "finish_reason": "length"} | ({"delta": {}} if chat else {"text": ""})
        parts = [_event(_message(chat, end))]
        if self.plan.usage and fault != "no_usage":
            usage = {"prompt_tokens": prompt_tok, "completion_tokens": count, "total_tokens": prompt_tok + count}
            usage["prompt_tokens_details"] = {"cached_tokens": cached_tok}  # type: ignore[assignment]
            if self.plan.reasoning_tok:
                usage["completion_tokens_details"] = {"reasoning_tokens": self.plan.reasoning_tok}  # type: ignore[assignment]
            parts.append(_event({"id": "mock", "object": "chunk", "choices": [], "usage": usage}))
        if fault != "no_done":
            parts.append(b"data: [DONE]\n\n")
        return _chunked(b"".join(parts))


def metrics_text(plan: MockPlan, truth: Truth) -> str:
    """The counters as vLLM or llama.cpp shows them: vLLM's prompt counter includes cached tokens."""
    output = math.floor(truth.output_tok * plan.lie_ratio)
    if plan.dialect == "llamacpp":
        rows = {
            "llamacpp:prompt_tokens_total": truth.prompt_tok - truth.cached_tok,
            "llamacpp:prompt_tokens_cached_total": truth.cached_tok,
            "llamacpp:tokens_predicted_total": output,
            "llamacpp:prompt_seconds_total": truth.prefill_s,
            "llamacpp:tokens_predicted_seconds_total": truth.decode_s,
            "llamacpp:requests_processing": truth.running,
            "llamacpp:requests_deferred": truth.waiting,
        }
        return "".join(
            f"# TYPE {k} {'counter' if k.endswith('_total') else 'gauge'}\n{k} {v}\n" for k, v in rows.items()
        )
    labels = f'{{engine="0",model_name="{plan.model}"}}'
    rows = {
        "vllm:prompt_tokens_total": truth.prompt_tok,
        "vllm:prompt_tokens_cached_total": truth.cached_tok,
        "vllm:generation_tokens_total": output,
        "vllm:num_preemptions_total": 0,
        "vllm:num_requests_running": truth.running,
        "vllm:num_requests_waiting": truth.waiting,
        "vllm:kv_cache_usage_perc": min(1.0, truth.running / plan.slots),
    }
    return "".join(
        f"# TYPE {k} {'counter' if k.endswith('_total') else 'gauge'}\n{k}{labels} {v}\n" for k, v in rows.items()
    )


def _message(chat: bool, choice: dict[str, Any]) -> dict[str, Any]:
    kind = "chat.completion.chunk" if chat else "text_completion"
    return {"id": "mock", "object": kind, "created": 0, "model": "mock-model", "choices": [choice]}


def _event(message: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(message).encode() + b"\n\n"


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _until(deadline_s: float) -> None:
    loop = asyncio.get_running_loop()
    if loop.time() >= deadline_s:
        return
    reached = loop.create_future()
    timer = loop.call_at(deadline_s, lambda: reached.done() or reached.set_result(None))
    try:
        await reached
    finally:
        timer.cancel()


@contextlib.contextmanager
def mock_process(plan: MockPlan = MockPlan()) -> Iterator[str]:
    """The server in a process of its own, so that it does not share the client's event loop. Gives its URL."""
    default = MockPlan()
    given = [(f.name, getattr(plan, f.name)) for f in fields(plan) if getattr(plan, f.name) != getattr(default, f.name)]
    command = [sys.executable, str(Path(__file__)), "--port", "0", *(f"--{name}={value}" for name, value in given)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


async def _serve(plan: MockPlan, port: int) -> None:
    async with MockServer(plan, port) as server:
        print(server.port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    for f in fields(MockPlan):
        parser.add_argument(f"--{f.name}", type=type(f.default), default=f.default)
    given = vars(parser.parse_args())
    port = given.pop("port")
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run  # type: ignore[assignment]
    with contextlib.suppress(KeyboardInterrupt):
        run(_serve(MockPlan(**given), port))


if __name__ == "__main__":
    main()
