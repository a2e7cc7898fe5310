"""The monitor's web face: one static page, its data as JSON and server-sent events, and ``/metrics``.

Read-only. ``access`` stands in front of it and says who may ask. Every answer carries a policy under which nothing but
this page's own files runs.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from joulemill.errors import JoulemillError
from joulemill.monitor.history.reader import Reader
from joulemill.monitor.history.store import History
from joulemill.monitor.source import SnapshotSource
from joulemill.monitor.steps import beside
from joulemill.monitor.web import metrics as exposition
from joulemill.monitor.web.access import (
    COOKIE,
    GUESS_DELAY_S,
    HEADERS,
    MOST_BODY_BYTE,
    Guard,
    Guesses,
    client_of,
    session,
)
from joulemill.monitor.web.document import document
from joulemill.monitor.web.series import series

__all__ = ["HEADERS", "create_app"]

STATIC = Path(str(files("joulemill.monitor.web") / "static"))
#: A quiet stream says something this often, so that nobody takes it for dead [s].
KEEPALIVE_S = 15.0
#: Whoever asks again within this time gets the same text [s].
FRESH_S = 0.25
#: A sign-in is sent within this time [s].
BODY_S = 10.0
Levers = Callable[[str], dict[str, Any]]


def create_app(
    source: SnapshotSource, history: History | None = None, token: str | None = None, levers: Levers | None = None
) -> Guard:
    """The application behind its guard. ``levers`` answers what could be done about a target, by its name."""
    app = FastAPI(
        title="Joulemill monitor", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )  # a redirect would be built from the Host header
    key, guesses, ending = secrets.token_bytes(32), Guesses(), asyncio.Event()
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _pages(app, source)
    _data(app, _Newest(source, ending), history, levers)
    add_sign_in(app, token, key, guesses)
    return Guard(app, token, key, guesses, ending=ending)


def _pages(app: FastAPI, source: SnapshotSource) -> None:
    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        text = await asyncio.to_thread(exposition.page, source.snapshot())
        return Response(text, media_type=exposition.CONTENT_TYPE)


def _data(app: FastAPI, newest: _Newest, history: History | None, levers: Levers | None) -> None:
    one = asyncio.Lock()  # predictions are work of a second each: one at a time, in a thread that nobody waits for

    @app.get("/api/snapshot")
    async def snapshot() -> Response:
        return Response(await newest.text(), media_type="application/json")

    @app.get("/events")
    async def events() -> StreamingResponse:
        return StreamingResponse(newest.events(), media_type="text/event-stream")

    @app.get("/api/series")
    async def kept(hours: float = 6.0, by: str = "model", only: str | None = None) -> JSONResponse:
        if history is None:
            return JSONResponse({"kept": False, "lines": []})
        try:
            return JSONResponse(await asyncio.to_thread(_series, history.path, hours, by, only))
        except JoulemillError as fault:
            raise HTTPException(400, str(fault)) from None

    @app.get("/api/levers")
    async def what_to_do(target: str) -> JSONResponse:
        if levers is None:
            return JSONResponse({"levers": [], "reason": "this monitor was started without levers"})
        async with one:
            return JSONResponse(await beside(levers, target))


def add_sign_in(app: FastAPI, token: str | None, key: bytes, guesses: Guesses) -> None:
    """The sign-in of a page behind ``Guard``: its form, and what takes the token."""

    @app.get("/signin")
    async def form() -> FileResponse:
        return FileResponse(STATIC / "signin.html")

    @app.post("/signin")
    async def signin(request: Request) -> Response:
        client = client_of(request.scope)
        sent_token = await _sent_token(request)
        if wait_s := guesses.wait_s(client):
            raise HTTPException(429, "too many wrong tokens; wait", {"retry-after": str(int(wait_s) + 1)})
        if token is None or not hmac.compare_digest(sent_token.encode(), token.encode()):
            guesses.wrong(client)
            await asyncio.sleep(GUESS_DELAY_S)
            return RedirectResponse("/signin#wrong", 303)
        answer = RedirectResponse("/", 303)
        secure = "https" in (request.scope["scheme"], request.headers.get("x-forwarded-proto"))
        answer.set_cookie(COOKIE, session(token, key).decode(), httponly=True, samesite="strict", secure=secure)
        return answer


async def _sent_token(request: Request) -> str:
    """The token of a sign-in's body, which is bounded in size and time."""
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BODY_BYTE:
                    raise HTTPException(413, "too long for a token")
    except TimeoutError:
        raise HTTPException(408, "the token did not come") from None
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]


def _series(path: Path, hours: float, by: str, only: str | None) -> dict[str, Any]:
    reader = Reader(path)
    try:
        return series(reader, time.time(), hours, by, only)
    finally:
        reader.close()


class _Newest:
    """The newest snapshot as text, made once for all who ask; streams of it end with ``ending``."""

    def __init__(self, source: SnapshotSource, ending: asyncio.Event) -> None:
        self._source, self._ending = source, ending
        self._made: tuple[float, str] | None = None

    async def text(self) -> str:
        cached = self._made
        if cached is None or time.monotonic() - cached[0] > FRESH_S:
            now = self._source.snapshot()
            text = await asyncio.to_thread(lambda: json.dumps(document(now), allow_nan=False))
            cached = self._made = (time.monotonic(), text)
        return cached[1]

    async def events(self) -> AsyncIterator[str]:
        yield f"data: {await self.text()}\n\n"
        listening = self._source.subscribe()
        waiting: asyncio.Future[Any] | None = None
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(listening))
                done, _ = await asyncio.wait(
                    [waiting, ending], timeout=KEEPALIVE_S, return_when=asyncio.FIRST_COMPLETED
                )
                if ending in done:
                    return
                if not done:
                    yield ": still here\n\n"
                    continue
                try:
                    waiting.result()
                except StopAsyncIteration:
                    return
                waiting = None
                yield f"data: {await self.text()}\n\n"
        finally:
            ending.cancel()
            if waiting is not None:
                waiting.cancel()
