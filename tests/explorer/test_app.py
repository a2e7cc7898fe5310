"""The explorer's answers over HTTP: the CLI's figures, faults beside fields, bounded and guarded."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the monitor extra is not installed")
import httpx

from joulemill.cli import main
from joulemill.explorer.app import AT_A_TIME, MOST_BODY_BYTE, Answers, PageSetting, create_app
from joulemill.explorer.asking import Asked
from joulemill.monitor.web.access import HEADERS
from tests.support.explorer import PLAIN, READ, RUNS

HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture
def app() -> Any:
    return create_app(PageSetting(read=READ))


def asks(app: Any, *requests: tuple[str, str, dict[str, Any]], base: str = "http://127.0.0.1:9478") -> list[Any]:
    """The responses of requests made side by side."""

    async def all_of_them() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as http:
            return await asyncio.gather(*(http.request(method, path, **more) for method, path, more in requests))

    return asyncio.run(all_of_them())


def test_the_pages_figures_are_the_commands(app: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (answer,) = asks(app, ("GET", "/api/prediction", {"params": PLAIN}))
    assert main(["predict", *[w for k, v in PLAIN.items() for w in (f"--{k}", v)], "--json"]) == 0
    assert answer.json()["prediction"] == json.loads(capsys.readouterr().out)
    assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]


def test_a_bad_value_is_explained_beside_its_field(app: Any) -> None:
    bad, path, hostile = asks(
        app,
        ("GET", "/api/prediction", {"params": PLAIN | {"power-cap": "5000"}}),
        ("GET", "/api/curve", {"params": PLAIN | {"model": "/etc/passwd"}}),
        ("GET", "/api/sensitivity", {"params": PLAIN | {"model": HOSTILE}}),
    )
    assert bad.status_code == path.status_code == hostile.status_code == 422
    assert bad.json()["error"]["field"] == "power-cap" and "unit" in bad.json()["error"]["message"]
    assert path.json()["error"]["field"] == "model" == hostile.json()["error"]["field"]


def test_two_hundred_clients_are_answered(app: Any) -> None:
    params = [PLAIN | {"concurrency": str(1 + i % 20)} for i in range(200)]
    answers = asks(app, *(("GET", "/api/prediction", {"params": p}) for p in params))
    assert [a.status_code for a in answers] == [200] * 200
    values = {a.json()["prediction"]["batch"]["concurrency"] for a in answers}
    assert values == {float(c) for c in range(1, 21)}


def test_a_dropped_table_is_bounded_and_read(app: Any) -> None:
    read, wrong, large = asks(
        app,
        ("POST", "/api/measured?name=mine.csv", {"content": RUNS}),
        ("POST", "/api/measured?name=mine.csv", {"content": "a,b\n1,2\n"}),
        ("POST", "/api/measured", {"content": b"x" * (MOST_BODY_BYTE + 1)}),
    )
    assert len(read.json()["points"]) == 1
    assert wrong.status_code == 422 and wrong.json()["error"]["message"].startswith("mine.csv")
    assert large.status_code == 413


def test_only_this_machines_names_are_answered_and_a_token_opens(app: Any) -> None:
    (refused,) = asks(app, ("GET", "/api/options", {}), base="http://elsewhere.example")
    assert refused.status_code == 403
    closed = create_app(PageSetting(read=READ), "open sesame")
    without, with_it = asks(
        closed,
        ("GET", "/api/options", {}),
        ("GET", "/api/options", {"headers": {"authorization": "Bearer open sesame"}}),
    )
    assert without.status_code == 401 and "h100-sxm" in " ".join(with_it.json()["devices"])


def test_the_sign_in_has_its_style_and_nothing_else_is_open(app: Any) -> None:
    closed = create_app(PageSetting(read=READ), "open sesame")
    form, script, home = asks(closed, ("GET", "/signin", {}), ("GET", "/explorer/explore.js", {}), ("GET", "/", {}))
    assert (form.status_code, script.status_code, home.status_code) == (200, 401, 303)
    for path in re.findall(r'href="(/[^"]+)"', form.text):
        (linked,) = asks(closed, ("GET", path, {}))
        assert linked.status_code == 200, path


def test_everything_that_the_page_loads_is_there(app: Any) -> None:
    pending, loaded = ["/"], set()
    while pending:
        path = pending.pop()
        (answer,) = asks(app, ("GET", path, {}))
        assert answer.status_code == 200, path
        loaded.add(path)
        links = re.findall(r'(?:src|href|from)[= ]"(/[^"]+)"', answer.text)
        links += [f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)]
        pending += [link for link in dict.fromkeys(links) if link not in loaded and link not in pending]
    assert {"/explorer/copying.js", "/static/figures.js"} <= loaded


def test_a_run_folder_a_trace_and_a_plan_are_taken_as_texts(app: Any) -> None:
    no_run, hostile, trace, plan = asks(
        app,
        ("POST", "/api/run?name=a-run", {"content": "[]"}),
        ("POST", f"/api/run?name={HOSTILE}", {"content": json.dumps({"../../run.json": "{}", "run.json": "{}"})}),
        (
            "POST",
            "/api/day",
            {
                "params": PLAIN | {"name": "mine.csv", "day.duration": "10min"},
                "content": "timestamp_s,input_tokens,output_tokens\n0,64,32\n5,9,9\n",
            },
        ),
        ("POST", "/api/plan?name=lab.toml", {"content": "[[site]"}),
    )
    assert no_run.status_code == hostile.status_code == plan.status_code == 422
    assert no_run.json()["error"]["message"] == "a-run: is no run folder"
    assert HOSTILE[:20] in hostile.json()["error"]["message"]  # as text: the page never makes markup of it
    assert (
        trace.json()["requests"]["completed"] == 2
        and "--trace mine.csv --duration 10min" in trace.json()["copy"]["cli"]
    )
    assert plan.json()["error"]["message"].startswith("the plan is no TOML")


def test_answers_are_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []

    def compute(question: Asked, _: Any) -> dict[str, Any]:
        computed.append(question.flags["concurrency"])
        return {"text": "x" * 400}

    async def ask() -> None:
        answers = Answers(PageSetting(read=READ))
        for concurrency in ("1", "1", "2", "3", "1"):  # the third pushes the first out
            await answers.text("a", compute, PLAIN | {"concurrency": concurrency})
        await asyncio.gather(*(answers.text("a", compute, PLAIN | {"concurrency": "9"}) for _ in range(20)))

    monkeypatch.setattr("joulemill.explorer.app.MOST_KEPT_BYTE", 1000)
    asyncio.run(ask())
    assert computed[:4] == ["1", "2", "3", "1"] and computed.count("9") <= AT_A_TIME
