"""Service discovery: Prometheus' documents and Kubernetes' lists, and what becomes of targets that come and go."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.monitor.config import DiscoverConfig, MonitorConfig, load_config
from joulemill.monitor.discovery.documents import discovered
from joulemill.monitor.discovery.targets import host_allowed, targets_of
from joulemill.monitor.loop import Monitor

ASKED = DiscoverConfig(http_sd_url="http://sd/targets", model="m", site="hall")


def named(document: Any, asked: DiscoverConfig = ASKED) -> dict[str, Any]:
    return {t.name: t for t in targets_of(document, asked).targets}


def test_prometheus_documents() -> None:
    found = named(
        [
            {"targets": ["10.0.0.7:8000", "10.0.0.8:8000"], "labels": {"model": "qwen3-8b", "tenant": "shop"}},
            {
                "targets": ["h:1"],
                "labels": {
                    "__scheme__": "https",
                    "__metrics_path__": "/x",
                    "name": "n",
                    "device": "h100",
                    "devices_count": "4",
                    "__meta_y": "z",
                },
            },
        ]
    )
    one, n = found["10.0.0.7:8000"], found["n"]
    assert (one.metrics_url, one.model, one.site) == ("http://10.0.0.7:8000/metrics", "qwen3-8b", "hall")
    assert one.labels == {"tenant": "shop"} and n.labels == {}
    assert (n.metrics_url, n.device, n.devices_count) == ("https://h:1/x", "h100", 4)
    assert len(named([{"targets": ["a:1", "a:1"]}])) == 1


@pytest.mark.parametrize(
    "document",
    [
        {"targets": []},
        "text",
        None,
        5,
        {"kind": "NodeList", "items": []},
        {"kind": "PodList", "items": 5},
        {"kind": ["PodList"], "items": []},
        {"items": [{}]},
        [{"targets": ["a:1"] * 20_001}],
    ],
)
def test_what_is_no_document_says_so(document: Any) -> None:
    with pytest.raises(InputError, match=r"neither a list|PodList, EndpointSliceList|at most"):
        targets_of(document, ASKED)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (1, "groups such as"),
        ({"targets": "a:1"}, "groups such as"),
        (None, "groups such as"),
        ({"targets": ["a:1"], "labels": {"devices_count": "many"}}, "'a:1'"),
        ({"targets": ["user:pw@host:1"]}, "no password"),
        ({"targets": ["a b:1"]}, "HOST:PORT"),
        ({"targets": ["evil/x?:1"]}, "HOST:PORT"),
        ({"targets": ["a:99999"]}, "http"),
        ({"targets": [None]}, "HOST:PORT"),
        ({"targets": ["[1]:1"]}, "[1]:1"),
        ({"targets": ["a:1"], "labels": {"__scheme__": "http://evil/x?"}}, "neither http nor https"),
        ({"targets": ["a:1"], "labels": {"__scheme__": "file"}}, "neither http nor https"),
        ({"targets": ["a:1"], "labels": {"__metrics_path__": "/\x1b[2J"}}, "HOST:PORT"),
        ({"targets": ["a:1"], "labels": {"name": "\ud800"}}, "unicode"),
        ({"targets": ["a:1"], "labels": {"model": "m" * 999}}, "999"),
        ({"targets": ["a:1"], "labels": {"t": "\u202e"}}, "control"),
        ({"targets": ["a:1"], "labels": [1]}, "groups such as"),
        ({"targets": ["a:1"], "labels": {f"l{n}": "v" for n in range(500)}}, "labels"),
    ],
)
def test_a_faulty_entry_is_told_and_the_others_stand(entry: Any, says: str) -> None:
    discovery = targets_of([{"targets": ["good:1"]}, entry, {"targets": ["better:1"]}], ASKED)
    assert [t.name for t in discovery.targets] == ["good:1", "better:1"]
    assert says in (discovery.fault_line("here") or "")


def pod(name: str, **status: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "llm", "labels": {"app": "vllm"}, "annotations": {"prometheus.io/port": "8000"}}
    return {"metadata": meta, "status": {"podIP": "10.1.0.3", "phase": "Running", **status}}


def test_kubernetes_lists() -> None:
    pending, going, silent = pod("b", phase="Pending"), pod("c"), pod("d")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    silent["metadata"]["annotations"]["prometheus.io/scrape"] = "false"
    six = pod("e", podIP="fd00::7")
    found = named({"kind": "PodList", "items": [pod("a"), pending, going, silent, six]})
    assert set(found) == {"llm/a", "llm/e"} and found["llm/e"].metrics_url == "http://[fd00::7]:8000/metrics"
    assert found["llm/a"].labels == {"namespace": "llm", "app": "vllm", "pod": "a"}
    part = {
        "metadata": {"name": "s", "namespace": "llm"},
        "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9}],
        "endpoints": [
            {"addresses": ["10.1.0.4"], "conditions": {"ready": True}, "targetRef": {"name": "p"}},
            {"addresses": ["10.1.0.5"], "conditions": {"ready": False}},
        ],
    }
    assert set(named({"kind": "EndpointSliceList", "items": [part]})) == {"10.1.0.4:9"}
    ends = {"subsets": [{"addresses": [{"ip": "10.1.0.6"}], "ports": [{"port": 8000}]}, {"addresses": None}]}
    assert set(named({"kind": "EndpointsList", "items": [ends]})) == {"10.1.0.6:8000"}


def test_a_source_is_one_and_a_configuration_needs_something_to_watch(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    for text, says in (("", "nothing to watch"), ('[[discover]]\nfile = "a"\nhttp_sd_url = "http://b"', "name one of")):
        path.write_text(text)
        with pytest.raises(InputError, match=says):
            load_config(path)


def test_targets_come_and_go_and_keep_their_totals(tmp_path: Path) -> None:
    """Two targets from a file; one leaves, comes back, and goes on; a faulty file changes nothing and is told."""
    made = {"a": 0, "b": 0}

    async def page(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        made[name] += 10
        return web.Response(text=f"# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total {made[name]}\n")

    async def scenario() -> None:
        app = web.Application()
        app.router.add_get("/{name}/metrics", page)
        server = TestServer(app)
        await server.start_server()
        listed = tmp_path / "targets.json"

        def tell(*names: str) -> None:
            address = [f"127.0.0.1:{server.port}"]
            told = [{"targets": address, "labels": {"name": n, "__metrics_path__": f"/{n}/metrics"}} for n in names]
            listed.write_text(json.dumps(told))

        def known() -> dict[str, float]:
            return {t.facts.target: sum(t.tokens.values()) for t in monitor.snapshot().targets}

        async def until(true: Any) -> None:
            for _ in range(200):
                if true():
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(known())

        tell("a", "b")
        asked = DiscoverConfig(file=listed, refresh_s=0.1)
        monitor = Monitor(MonitorConfig(period_s=0.1, discover=(asked,)))
        stop = asyncio.Event()
        running = asyncio.ensure_future(monitor.run(stop))
        await until(lambda: set(known()) == {"a", "b"} and min(known().values()) >= 30)
        tell("a")
        await until(lambda: set(known()) == {"a"})
        listed.write_text("[{")
        await until(lambda: monitor.config_error is not None)
        assert "targets.json" in (monitor.config_error or "") and set(known()) == {"a"}
        tell("a", "b")
        await until(lambda: known().get("b", 0) >= 30 and monitor.config_error is None)
        back = next(t for t in monitor.snapshot().targets if t.facts.target == "b")
        assert back.unobserved_s > 0  # the time between is a gap
        stop.set()
        await running
        await server.close()

    asyncio.run(scenario())


# --- what a document may not do ---------------------------------------------------------------------------------
class Attacker:
    """A server that keeps what it is sent."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.heard.append((request.method, str(request.rel_url), request.headers.get("Authorization", "")))
        return web.Response(text="vllm:generation_tokens_total 1\n")


async def listening(attacker: Attacker) -> TestServer:
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", attacker.answer)
    server = TestServer(app)
    await server.start_server()
    return server


@pytest.mark.finding("F18")
def test_a_document_names_no_meter_and_the_configuration_does() -> None:
    asked = DiscoverConfig(file=Path("x"), meters={"a:1": ("ipmi:a",), "h": ("ipmi:h",), "n": ("ipmi:n",)})
    evil = {"meters": "redfish:http://attacker;prometheus:http://attacker;file:/etc/passwd"}
    told = targets_of(
        [
            {"targets": ["a:1", "b:1"], "labels": evil},
            {"targets": ["h:1"]},
            {"targets": ["c:1"], "labels": {"name": "n"}},
        ],
        asked,
    )
    assert {t.name: t.meters for t in told.targets} == {
        "a:1": ("ipmi:a",),
        "b:1": (),
        "h:1": ("ipmi:h",),
        "n": ("ipmi:n",),
    }
    assert all("meters" not in t.labels for t in told.targets) and "[discover.meters]" in (told.fault_line("x") or "")


@pytest.mark.finding("F18")
def test_a_pod_cannot_take_anothers_name_nor_say_where_it_stands() -> None:
    victim, thief = pod("p1"), pod("p2", podIP="10.6.6.6")
    thief["metadata"]["labels"] = {
        "name": "llm/p1",
        "site": "other",
        "namespace": "shop",
        "pod": "p1",
        "meters": "file:/x",
        "token_env": "K",
        "__scheme__": "https",
        "__metrics_path__": "/evil",
        "metrics_url": "http://evil/",
        "here": "true",
        "model": "m2",
    }
    for order in ([victim, thief], [thief, victim]):
        told = {t.name: t for t in targets_of({"kind": "PodList", "items": order}, ASKED).targets}
        assert set(told) == {"llm/p1", "llm/p2"}
        assert told["llm/p1"].metrics_url == "http://10.1.0.3:8000/metrics"
        two = told["llm/p2"]
        assert (two.metrics_url, two.site, two.model) == ("http://10.6.6.6:8000/metrics", "hall", "m2")
        assert (two.labels["namespace"], two.labels["pod"], two.token_env, two.here) == ("llm", "p2", None, False)


@pytest.mark.finding("F18")
@pytest.mark.parametrize(
    "note",
    [
        {"prometheus.io/scheme": "http://attacker/x?"},
        {"prometheus.io/scheme": "file"},
        {"prometheus.io/scheme": "https://attacker/#"},
        {"prometheus.io/port": "80@attacker:1"},
        {"prometheus.io/port": "1/@attacker"},
        {"prometheus.io/port": "x"},
        {"prometheus.io/path": "\n/x"},
    ],
)
def test_no_annotation_leads_to_another_host(note: dict[str, str]) -> None:
    bad = pod("bad")
    bad["metadata"]["annotations"] |= note
    told = targets_of({"kind": "PodList", "items": [bad, pod("good")]}, ASKED)
    assert [t.name for t in told.targets] == ["llm/good"] and told.faults


@pytest.mark.finding("F18")
def test_a_path_stays_a_path_of_its_own_host() -> None:
    odd = pod("odd")
    odd["metadata"]["annotations"]["prometheus.io/path"] = "//attacker/@x"
    (target,) = targets_of({"kind": "PodList", "items": [odd]}, ASKED).targets
    assert target.metrics_url == "http://10.1.0.3:8000/attacker/@x"


@pytest.mark.finding("F18")
def test_a_credential_goes_to_hosts_that_the_configuration_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_TOKEN", "s3cret-of-pods")
    assert host_allowed("10.1.2.3", ["10.0.0.0/8"]) and not host_allowed("11.1.2.3", ["10.0.0.0/8", "*"])
    assert host_allowed("a.llm.svc", ["*.llm.svc"]) and not host_allowed("a.llm.svc.evil", ["*.llm.svc"])
    assert host_allowed("fd00::7", ["fd00::/16"]) and host_allowed("H", ["h"]) and not host_allowed("h", [])

    async def run(allowed: tuple[str, ...]) -> tuple[list[tuple[str, str, str]], str | None]:
        attacker = Attacker()
        server = await listening(attacker)
        document = [{"targets": [f"127.0.0.1:{server.port}"], "labels": {"token_env": "POD_TOKEN"}}]
        asked = DiscoverConfig(http_sd_url="http://sd/", token_env="POD_TOKEN", allow_hosts=allowed)
        told = targets_of(document, asked)
        monitor = Monitor(MonitorConfig(period_s=0.1, target=told.targets))
        stop = asyncio.Event()
        running = asyncio.ensure_future(monitor.run(stop))
        while not attacker.heard:
            await asyncio.sleep(0.02)
        stop.set()
        await running
        await server.close()
        return attacker.heard, told.fault_line("sd")

    heard, says = asyncio.run(run(()))
    assert all(auth == "" for _, _, auth in heard) and "allow_hosts" in (says or "")
    heard, says = asyncio.run(run(("127.0.0.1",)))
    assert all(auth == "Bearer s3cret-of-pods" for _, _, auth in heard) and says is None


@pytest.mark.finding("F3")
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "kind",
                        "items",
                        "metadata",
                        "status",
                        "targets",
                        "labels",
                        "podIP",
                        "phase",
                        "annotations",
                        "ports",
                        "port",
                        "name",
                        "endpoints",
                        "addresses",
                        "ip",
                        "subsets",
                        "conditions",
                        "targetRef",
                        "namespace",
                        "prometheus.io/port",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    ),
    st.sampled_from(["PodList", "EndpointSliceList", "EndpointsList", None]),
)
def test_whatever_a_document_is_it_is_read_or_refused(document: Any, kind: str | None) -> None:
    if kind is not None:
        document = {"kind": kind, "items": document}
    try:
        told = targets_of(document, ASKED)
    except InputError:
        return
    assert isinstance(told.fault_line("x"), str | None)


@pytest.mark.finding("F3")
@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"PodList","items":[null]}',
        b'{"kind":"PodList","items":5}',
        b"[" * 200_000,
        b"{" * 9,
        b"\xff\xfe",
        b'{"kind":"PodList","items":[{"metadata":[1]}]}',
        b'[{"targets":["a:1"],"labels":5}]',
        b"null",
        b"",
        b'{"kind":"EndpointsList","items":[{"subsets":[{"ports":[{"port":"x"}],"addresses":[{"ip":"1.1.1.1"}]}]}]}',
        b"[" + b"{}," * 3_000_000 + b"{}]",
        b'{"a":' * 100_000,
    ],
    ids=range(12),
)
@pytest.mark.finding("F34")
def test_a_faulty_document_is_told_and_hurts_nobody(body: bytes) -> None:
    async def run() -> None:
        attacker = Attacker()
        server = await listening(attacker)

        async def document(_: web.Request) -> web.Response:
            return web.Response(body=body)

        app = web.Application()
        app.router.add_get("/sd", document)
        source = TestServer(app)
        await source.start_server()
        good = {"name": "good", "model": "m", "metrics_url": str(server.make_url("/metrics"))}
        config = {"period_s": 0.1, "target": [good], "discover": [{"http_sd_url": str(source.make_url("/sd"))}]}
        monitor = Monitor(MonitorConfig.model_validate(config))
        stop = asyncio.Event()
        running = asyncio.ensure_future(monitor.run(stop))
        async with asyncio.timeout(90):
            while monitor.config_error is None or len(attacker.heard) < 2:
                await asyncio.sleep(0.02)
        assert [t.facts.target for t in monitor.snapshot().targets] == ["good"] and not running.done()
        stop.set()
        await running
        await server.close()
        await source.close()

    asyncio.run(run())


@pytest.mark.finding("F3")
@pytest.mark.parametrize("name", ["t.json", "t.toml"])
def test_a_pipe_in_the_place_of_a_document_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)

    async def read() -> None:
        async with aiohttp.ClientSession() as session:
            await discovered(DiscoverConfig(file=tmp_path / name), session)

    with pytest.raises(InputError, match="it is no file"):
        asyncio.run(read())
