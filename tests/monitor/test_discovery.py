"""Service discovery: Prometheus' documents and Kubernetes' lists, and what becomes of targets that come and go."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from joulemill.errors import InputError
from joulemill.monitor.config import DiscoverConfig, MonitorConfig, load_config
from joulemill.monitor.discovery import targets_of
from joulemill.monitor.loop import Monitor

ASKED = DiscoverConfig(http_sd_url="http://sd/targets", model="m", site="hall")


def named(document: Any, asked: DiscoverConfig = ASKED) -> dict[str, Any]:
    return {t.name: t for t in targets_of(document, asked)}


def test_prometheus_documents() -> None:
    found = named([
        {"targets": ["10.0.0.7:8000", "10.0.0.8:8000"], "labels": {"model": "qwen3-8b", "tenant": "shop"}},
        {"targets": ["h:1"], "labels": {"__scheme__": "https", "__metrics_path__": "/x", "name": "n", "device": "h100",
                                        "devices_count": "4", "meters": "redfish:https://b;ipmi:c", "__meta_y": "z"}},
    ])  # fmt: skip
    one, n = found["10.0.0.7:8000"], found["n"]
    assert (one.metrics_url, one.model, one.site) == ("http://10.0.0.7:8000/metrics", "qwen3-8b", "hall")
    assert one.labels == {"tenant": "shop"} and n.labels == {}
    assert (n.metrics_url, n.device, n.devices_count) == ("https://h:1/x", "h100", 4)
    assert n.meters == ("redfish:https://b", "ipmi:c")
    assert len(named([{"targets": ["a:1", "a:1"]}])) == 1


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"targets": []}, "neither a list"), ("text", "neither a list"), ([1], "groups such as"),
        ([{"targets": "a:1"}], "groups such as"), ([{"targets": ["a:1"], "labels": {"devices_count": "many"}}], "a:1"),
        ({"kind": "NodeList", "items": []}, "NodeList"), ([{"targets": ["user:pw@host:1"]}], "no password"),
    ],
)  # fmt: skip
def test_a_faulty_document_says_what_is_wrong(document: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        targets_of(document, ASKED)


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
    }  # fmt: skip
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
