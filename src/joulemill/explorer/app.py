"""The explorer's web face: one static page and its answers as JSON, each computed once, a few at a time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from joulemill.api import catalog
from joulemill.api.prediction import PredictedDeployment
from joulemill.errors import InputError
from joulemill.explorer.answering import answer, curve, predicted
from joulemill.explorer.asking import FIELDS, SITE_KEYS, Asked, FieldError, Read, arguments, asked
from joulemill.explorer.copying import of_levers
from joulemill.explorer.day import DroppedTrace, day
from joulemill.explorer.measured import points_of_run, points_of_text, published
from joulemill.explorer.planned import Plans
from joulemill.explorer.sensitivity import sensitivity
from joulemill.monitor.web.access import Guard, Guesses
from joulemill.monitor.web.app import add_sign_in
from joulemill.physics.hardware.site import Site

STATIC = Path(str(files("joulemill.explorer") / "static"))
#: Drawing and figures that the monitor's page has as well.
SHARED = Path(str(files("joulemill.monitor.web") / "static"))
#: A dropped table, trace, plan or run folder is no longer.
MOST_BODY_BYTE = 16_000_000
#: A dropped file comes within this time [s].
BODY_S = 60.0
#: Answers kept in all, the last asked for longest.
MOST_KEPT_BYTE = 64_000_000
#: Answers computed, and dropped files read, at a time.
AT_A_TIME = 2
_BAD_INPUT = 422
#: What was asked: the path, and the texts.
_Key = tuple[str, tuple[tuple[str, str], ...]]
Answer = Callable[[Asked, Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PageSetting:
    """What the page was started with: how texts are read, a site, measured points to show from the start."""

    read: Read
    site: Site | None = None
    measured: tuple[Mapping[str, Any], ...] = ()


def create_app(setting: PageSetting, token: str | None = None) -> Guard:
    """The application behind its guard: without a token loopback names alone are answered."""
    app = FastAPI(title="Joulemill explorer", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.mount("/static", StaticFiles(directory=SHARED), name="static")  # the sign-in's too: open without a token
    app.mount("/explorer", StaticFiles(directory=STATIC), name="explorer")
    answers = Answers(setting)
    _pages(app, setting)
    for name, compute in ANSWERS.items():
        _route(app, f"/api/{name}", answers, compute)
    slots = asyncio.Semaphore(AT_A_TIME)
    _dropped(app, "measured", slots, lambda text, name, _: points_of_text(text, name))
    _dropped(app, "run", slots, lambda text, name, _: points_of_run(_files(text, name), name))
    plans = Plans()
    _dropped(app, "plan", slots, plans.document)
    _played_trace(app, answers)
    key, guesses = secrets.token_bytes(32), Guesses()
    add_sign_in(app, token, key, guesses)
    return Guard(app, token, key, guesses, most_body_byte=MOST_BODY_BYTE)


def levers_of(question: Asked, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The document of ``levers --json``, and how to copy it."""
    deployment: PredictedDeployment = predicted(stated)
    return deployment.levers().to_dict() | {"copy": vars(of_levers(question, stated))}


#: Path → what it computes.
ANSWERS: dict[str, Answer] = {
    "prediction": answer,
    "curve": lambda question, stated: curve(stated, question),
    "sensitivity": sensitivity,
    "levers": levers_of,
    "day": day,
}


class Answers:
    """Computes answers beside the event loop, a few at a time, and keeps them."""

    def __init__(self, setting: PageSetting) -> None:
        self._setting = setting
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._kept_byte = 0
        self._slots = asyncio.Semaphore(AT_A_TIME)

    async def text(self, path: str, compute: Answer, pairs: Mapping[str, str], body: str = "") -> bytes:
        """The answer as JSON; ``body``: what was dropped and tells it from others. Raises FieldError."""
        question = asked(pairs)
        key = (path + hashlib.sha256(body.encode()).hexdigest() if body else path, question.key)
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return kept
        async with self._slots:
            if (kept := self._kept.get(key)) is not None:  # asked by somebody else while this one waited
                return kept
            text = await asyncio.to_thread(self._computed, compute, question)
        self._keep(key, text)
        return text

    def _keep(self, key: _Key, text: bytes) -> None:
        self._kept_byte += len(text) - len(self._kept.pop(key, b""))
        self._kept[key] = text
        while self._kept_byte > MOST_KEPT_BYTE:
            self._kept_byte -= len(self._kept.popitem(last=False)[1])

    def _computed(self, compute: Answer, question: Asked) -> bytes:
        stated = arguments(question, self._setting.read, self._setting.site)
        return json.dumps(compute(question, stated), allow_nan=False).encode()


def _pages(app: FastAPI, setting: PageSetting) -> None:
    options = json.dumps(options_of(setting), allow_nan=False).encode()

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/api/options")
    async def choices() -> Response:
        return Response(options, media_type="application/json")


def options_of(setting: PageSetting) -> dict[str, Any]:
    """What the fields offer, and what the page begins with."""
    site = setting.site
    return {
        "models": list(catalog.models()),
        "devices": list(catalog.devices()),
        "engines": list(catalog.engines()),
        "fields": list(FIELDS),
        "site_keys": list(SITE_KEYS),
        "site": None if site is None else site.name,
        "measured": list(setting.measured),
        "published": published(),
    }


def _route(app: FastAPI, path: str, answers: Answers, compute: Answer) -> None:
    @app.get(path, name=path)
    async def computed(request: Request) -> Response:
        pairs = dict(request.query_params.multi_items())
        try:
            return Response(await answers.text(path, compute, pairs), media_type="application/json")
        except InputError as fault:
            return _refusal(fault)


def _dropped(
    app: FastAPI, name: str, slots: asyncio.Semaphore, read: Callable[[str, str, list[str]], dict[str, Any]]
) -> None:
    """A path that takes a file's text, what it is called, and changes; ``slots`` bounds how many are read at a time."""

    @app.post(f"/api/{name}", name=name)
    async def dropped(request: Request) -> Response:
        called = request.query_params.get("name", "dropped file")[:80]
        try:
            text = await _body(request)  # a client that sends slowly holds no slot
            async with slots:
                changes = request.query_params.getlist("change")
                return JSONResponse(await asyncio.to_thread(read, text, called, changes))
        except InputError as fault:
            return _refusal(fault)


def _files(text: str, name: str) -> dict[str, str]:
    """Files of a dropped folder by name. Raises InputError where the text is no such table."""
    try:
        files = json.loads(text)
    except (ValueError, RecursionError):
        files = None
    if not isinstance(files, dict) or not all(isinstance(v, str) for v in files.values()):
        raise InputError(f"{name}: is no run folder")
    return files


def _played_trace(app: FastAPI, answers: Answers) -> None:
    @app.post("/api/day", name="day of a trace")
    async def played(request: Request) -> Response:
        pairs = dict(request.query_params.multi_items())
        called = pairs.pop("name", "trace.csv")[:80]
        try:
            trace = DroppedTrace(called, await _body(request))
            text = await answers.text(
                f"day {called}", lambda question, stated: day(question, stated, trace), pairs, trace.text
            )
            return Response(text, media_type="application/json")
        except InputError as fault:
            return _refusal(fault)


async def _body(request: Request) -> str:
    """The text that was sent. Raises InputError where it is too long, or takes too long to come."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BODY_BYTE:
                    raise InputError(f"more than {MOST_BODY_BYTE / 1e6:g} MB; use the command line")
    except TimeoutError:
        raise InputError(f"the file did not come within {BODY_S:g} s; drop it again") from None
    return body.decode("utf-8", "replace")


def _refusal(fault: InputError) -> JSONResponse:
    field = fault.field if isinstance(fault, FieldError) else ""
    return JSONResponse({"error": {"message": str(fault), "field": field}}, _BAD_INPUT)
