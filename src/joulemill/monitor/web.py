"""The monitor's web face: one static page, its data as JSON and server-sent events, and ``/metrics``.

Read-only. Without a token it answers on loopback names alone (a page elsewhere must not reach it by another name);
with one, everything but the sign-in wants it: ``Authorization: Bearer``, or the cookie that the sign-in sets. Every
answer carries a policy under which nothing but this page's own files runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from joulemill.errors import JoulemillError
from joulemill.monitor import exposition
from joulemill.monitor.history import History
from joulemill.monitor.history_read import Reader
from joulemill.monitor.source import SnapshotSource
from joulemill.monitor.web_document import document
from joulemill.monitor.web_series import series

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STATIC = Path(str(files("joulemill.monitor") / "static"))
COOKIE = "joulemill_session"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
#: Reached without a token: the sign-in and what it is drawn with.
OPEN = ("/signin", "/static/", "/healthz")
#: A quiet stream says something this often, so that nobody takes it for dead [s].
KEEPALIVE_S = 15.0
#: Whoever asks again within this time gets the same text [s].
FRESH_S = 0.25
MOST_BODY_BYTE = 4096
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
Levers = Callable[[str], dict[str, Any]]


class Guard:
    """ASGI: who may ask, and the headers of every answer. Not a ``BaseHTTPMiddleware``: those hold back streams."""

    def __init__(self, app: Any, token: str | None, key: bytes) -> None:
        self._app, self._token, self._key = app, token, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: refused, or passed on; either way with our headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*(h for h in message["headers"] if h[0].decode() not in HEADERS), *own]
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        if self._token is None:
            host = request.headers.get("host", "").lower()
            name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
            if name not in LOOPBACK:
                return JSONResponse({"error": "only this machine's own names are answered without a token"}, 403)
            return None
        if request.url.path.startswith(OPEN) or self._knows(request):
            return None
        if request.url.path == "/":
            return RedirectResponse("/signin", 303)
        return JSONResponse({"error": "a token is needed"}, 401, {"www-authenticate": "Bearer"})

    def _knows(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.encode(), (self._token or "").encode()):
            return True
        return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), session(self._token or "", self._key))


def session(token: str, key: bytes) -> bytes:
    """What the cookie holds: it says nothing of the token and ends with the process."""
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest().encode()


def create_app(
    source: SnapshotSource, history: History | None = None, token: str | None = None, levers: Levers | None = None
) -> FastAPI:
    """The application. ``levers`` answers what could be done about a target, by its name."""
    app = FastAPI(title="Joulemill monitor", docs_url=None, redoc_url=None, openapi_url=None)
    key = secrets.token_bytes(32)
    app.add_middleware(Guard, token=token, key=key)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _pages(app, source)
    _data(app, _Newest(source), history, levers)
    _sign_in(app, token, key)
    return app


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
        return JSONResponse(await asyncio.to_thread(levers, target))


def _sign_in(app: FastAPI, token: str | None, key: bytes) -> None:
    @app.get("/signin")
    async def form() -> FileResponse:
        return FileResponse(STATIC / "signin.html")

    @app.post("/signin")
    async def signin(request: Request) -> Response:
        from urllib.parse import parse_qs

        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY_BYTE:
                raise HTTPException(413, "too long for a token")
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        if token is None or not hmac.compare_digest(given.encode(), token.encode()):
            await asyncio.sleep(0.5)  # a guess costs time
            return RedirectResponse("/signin#wrong", 303)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, session(token, key).decode(), httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return answer


def _series(path: Path, hours: float, by: str, only: str | None) -> dict[str, Any]:
    reader = Reader(path)
    try:
        return series(reader, time.time(), hours, by, only)
    finally:
        reader.close()


class _Newest:
    """The newest snapshot as text, made once for all who ask."""

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source
        self._made: tuple[float, str] | None = None

    async def text(self) -> str:
        made = self._made
        if made is None or time.monotonic() - made[0] > FRESH_S:
            now = self._source.snapshot()
            text = await asyncio.to_thread(lambda: json.dumps(document(now), allow_nan=False))
            made = self._made = (time.monotonic(), text)
        return made[1]

    async def events(self) -> AsyncIterator[str]:
        yield f"data: {await self.text()}\n\n"
        listening = self._source.subscribe()
        waiting: asyncio.Future[Any] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(listening))
                done, _ = await asyncio.wait([waiting], timeout=KEEPALIVE_S)
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
            if waiting is not None:
                waiting.cancel()
