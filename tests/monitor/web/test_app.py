"""The web face over HTTP: what it shows, whom it lets in, what it never does."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the monitor extra is not installed")
import httpx

from joulemill.monitor.history.store import History
from joulemill.monitor.web.app import HEADERS, create_app
from joulemill.monitor.web.server import listen_at, serve_on
from tests.support.synthetic import Moving, fleet

HOSTILE = '<script>document.title="taken"</script>'


class Client:
    """Asks the application itself, without a socket; keeps cookies."""

    def __init__(self, app: Any) -> None:
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9477")

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self._http.request(method, path, **given))

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)


def client(**given: Any) -> Client:
    return Client(create_app(Moving(), **given))


def test_the_snapshot_says_each_figure_with_its_basis_and_unknown_as_null() -> None:
    found = client().get("/api/snapshot").json()
    assert len(found["targets"]) == 12
    one = found["targets"][1]
    state = fleet(12).targets[1]
    assert one["tok_s"] == pytest.approx(state.latest.tokens["output"] / 10.0)
    assert one["energy"]["node"]["w"] == pytest.approx(state.latest.energy["node"].energy_j / 10.0)
    assert one["energy"]["node"]["basis"] == "modelled" and one["energy"]["node"]["j_tok"] > 0
    assert found["targets"][5]["energy"] == {} and found["targets"][10]["tok_s"] is None
    kinds = {a["kind"] for a in found["alerts"]}
    assert {"down", "meter", "unmetered", "idle"} <= kinds


def test_a_sites_measured_pue_stands_before_its_declared_one_and_a_hole_says_why() -> None:
    found = client().get("/api/snapshot").json()
    hall, other, lab = found["sites"]
    assert (hall["pue"], hall["pue_basis"], hall["pue_declared"]) == (1.21, "measured", 1.3)
    assert (hall["pue_low"], hall["pue_high"], hall["pue_reason"]) == (1.186, 1.234, None)
    assert hall["power"]["site"] == {
        "w": pytest.approx(12_100),
        "half_w": pytest.approx(121),
        "basis": "measured",
        "covered": 1.0,
    }
    assert hall["it_w"] == pytest.approx(10_000)
    assert (other["pue"], other["pue_basis"], other["it_w"]) == (1.4, "declared", None)
    assert "covers 50 %" in other["pue_reason"]
    assert (lab["pue"], lab["pue_basis"], lab["metered"], lab["power"]) == (None, None, False, {})
    told = {a["subject"]: a["text"] for a in found["alerts"] if a["kind"] == "pue"}
    assert "1.210 as measured, 1.3 as declared" in told["hall-1"] and "covers 50 %" in told["hall-2"]


def test_every_answer_carries_the_policy() -> None:
    web = client()
    for path in ("/", "/metrics", "/api/snapshot", "/static/page.js", "/nothing"):
        answer = web.get(path)
        assert {k: answer.headers[k] for k in HEADERS} == HEADERS
    page = web.get("/").text
    assert "<script>" not in page and "style=" not in page and "onclick" not in page and "http:" not in page


def test_without_a_token_only_this_machines_names_are_answered() -> None:
    web = client()
    assert web.get("/api/snapshot", headers={"host": "127.0.0.1:9477"}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:9477", ""):
        assert web.get("/api/snapshot", headers={"host": host}).status_code == 403


def test_a_token_is_wanted_everywhere_but_at_the_door() -> None:
    web = client(token="s3cret")
    for path in ("/metrics", "/api/snapshot", "/api/series", "/events", "/api/levers?target=x"):
        answer = web.get(path)
        assert answer.status_code == 401 and "s3cret" not in answer.text
    assert web.get("/").headers["location"] == "/signin"
    assert web.get("/metrics", headers={"authorization": "Bearer s3cret"}).status_code == 200
    assert web.get("/metrics", headers={"authorization": "Bearer s3cre"}).status_code == 401
    wrong = web.post("/signin", content="token=guess")
    assert wrong.headers["location"] == "/signin#wrong" and "set-cookie" not in wrong.headers
    right = web.post("/signin", content="token=s3cret")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "s3cret" not in cookie
    assert web.get("/api/snapshot").status_code == 200  # by the cookie
    assert web.post("/signin", content="token=" + "x" * 5000).status_code == 413


def test_nothing_can_be_changed() -> None:
    web = client()
    for path in ("/", "/metrics", "/api/snapshot", "/api/series", "/events"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert web.request(method, path).status_code == 405


def test_hostile_names_stay_data() -> None:
    web = Client(create_app(Moving(hostile=HOSTILE)))
    found = web.get("/api/snapshot")
    assert found.headers["content-type"] == "application/json"
    assert any(t["name"] == HOSTILE for t in found.json()["targets"])
    shown = web.get("/metrics")
    assert shown.headers["content-type"].startswith("text/plain")


def test_series_from_the_history_and_what_it_says_without_one(tmp_path: Path) -> None:
    assert client().get("/api/series").json() == {"kept": False, "lines": []}
    history = History.open(tmp_path / "h.db")
    start = time.time() - 3600
    for tick in range(180):
        now = fleet(8, tick)
        moved = [_moved(s.latest, start + 10 * tick) for s in now.targets if s.latest]
        history.append(moved, {s.facts.target: s.facts for s in now.targets})
    web = client(history=history)
    found = web.get("/api/series?hours=2&by=model").json()
    assert found["kept"] and len(found["lines"]) == 4
    line = found["lines"][0]
    assert line["scope"] == "node" and all(j is None or 0.5 < j < 4 for j in line["j_tok"])
    assert len(web.get("/api/series?by=target&only=chat-1").json()["lines"]) == 1
    assert web.get("/api/series?by=nope").status_code == 400 and "use model" in web.get("/api/series?by=nope").text
    assert web.get("/api/series?hours=-1").status_code == 400 and web.get("/api/series?hours=x").status_code == 422


def _moved(interval: Any, start_s: float) -> Any:
    from dataclasses import replace

    return replace(interval, start_s=start_s, end_s=start_s + 10)


def test_levers_are_asked_for_by_target() -> None:
    asked: list[str] = []

    def levers(name: str) -> dict[str, Any]:
        asked.append(name)
        return {"levers": [], "reason": "none"}

    assert client(levers=levers).get("/api/levers?target=chat-1").json()["reason"] == "none" and asked == ["chat-1"]
    assert "without levers" in client().get("/api/levers?target=chat-1").json()["reason"]


def test_a_question_that_is_still_worked_on_ends_with_the_server_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun, over = threading.Event(), threading.Event()

    def levers(name: str) -> dict[str, Any]:
        begun.set()
        over.wait(30)
        return {}

    async def run() -> None:
        listener, stop = listen_at("127.0.0.1", 0), asyncio.Event()
        port = listener.getsockname()[1]
        task = asyncio.create_task(serve_on(create_app(Moving(), levers=levers), listener, stop))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/levers?target=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.to_thread(begun.wait, 10)
        stop.set()
        await task
        with suppress(ConnectionResetError):
            assert await reader.read() == b""

    try:
        asyncio.run(run())
    finally:
        over.set()
    told = capsys.readouterr().err
    assert "graceful shutdown exceeded" in told and "Traceback" not in told and "ASGI" not in told


def test_ninety_days_are_answered_as_json_without_nan(tmp_path: Path) -> None:
    text = client().get("/api/snapshot").text
    assert "NaN" not in text and json.loads(text)
