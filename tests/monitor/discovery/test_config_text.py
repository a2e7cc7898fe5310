"""A monitor.toml from what others' documents name: right boards or none, and whatever a document says stays text."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.formats.prometheus_text import TextSample
from joulemill.monitor.config import load_config
from joulemill.monitor.discovery.config_sources import (
    Exporter,
    ListedBoard,
    NamedSources,
    Page,
    boards_of,
    of_pods,
    of_prometheus,
)
from joulemill.monitor.discovery.config_text import config_text, metered, modelled
from tests.support.fleet import Fleet, Replica, served

LINE = 'DCGM_FI_DEV_POWER_USAGE{{gpu="{i}",UUID="GPU-a{i}",modelName="NVIDIA H100 80GB HBM3",Hostname="gpu-1",{of}}} 1'


def pod(
    name: str, ip: str, *args: str, boards: int | None = 2, image: str = "vllm/vllm-openai:v0.11"
) -> dict[str, Any]:
    limits = {} if boards is None else {"nvidia.com/gpu": str(boards)}
    container = {"image": image, "args": list(args), "resources": {"limits": limits}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "llm"},
        "status": {"phase": "Running", "podIP": ip},
        "spec": {"nodeName": "gpu-1", "containers": [container]},
    }


DCGM = pod("dcgm-x", "10.0.0.9", boards=None, image="nvcr.io/nvidia/k8s/dcgm-exporter:4")
QWEN = pod("qwen-0", "10.0.0.7", "--model", "Qwen/Qwen3-8B", "--port=8001")
OURS = pod("ours-0", "10.0.0.8", "serve", "/models/ours-7b")


def listed(*pods: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(pods)}


def owned(*pods: str) -> str:
    return "".join(LINE.format(i=i, of=f'namespace="llm",pod="{p}"') + "\n" for i, p in enumerate(pods))


def made(tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    assert main(["monitor", "config", *arguments]) == 0
    text = capsys.readouterr().out
    (tmp_path / "made.toml").write_text(text)
    load_config(tmp_path / "made.toml")
    return {t["name"]: t for t in tomllib.loads(text)["target"]}, text


def test_pods_joined_with_the_boards_that_dcgm_says_they_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web = pod("web", "10.0.0.10", boards=None, image="nginx")
    (tmp_path / "pods.json").write_text(json.dumps(listed(QWEN, OURS, DCGM, web)))
    (tmp_path / "dcgm.prom").write_text(owned("qwen-0", "qwen-0", "ours-0", "ours-0"))
    targets, text = made(
        tmp_path, capsys, "--from-pods", str(tmp_path / "pods.json"), "--dcgm", str(tmp_path / "dcgm.prom")
    )
    assert targets["llm/qwen-0"] == {
        "name": "llm/qwen-0",
        "model": "Qwen/Qwen3-8B",
        "metrics_url": "http://10.0.0.7:8001/metrics",
        "device": "h100-sxm",
        "devices_count": 2,
        "node": "gpu-1",
        "labels": {"namespace": "llm", "pod": "qwen-0"},
        "meters": ["prometheus:http://10.0.0.9:9400/metrics,gpus=GPU-a0+GPU-a1"],
    }
    ours = targets["llm/ours-0"]
    assert ours["own_model"] and ours["meters"] == ["prometheus:http://10.0.0.9:9400/metrics,gpus=GPU-a2+GPU-a3"]
    assert ours["metrics_url"] == "http://10.0.0.8:8000/metrics" and "pod llm/web: asks for no board" in text


def test_without_boards_nothing_is_metered_that_may_be_anothers() -> None:
    both = of_pods(listed(QWEN, OURS, DCGM), "pods")
    text = config_text(both, (), "pods")
    assert all("meters" not in t for t in tomllib.loads(text)["target"]) and "which boards are its own" in text
    alone = tomllib.loads(config_text(of_pods(listed(QWEN, DCGM), "pods"), (), "pods"))["target"][0]
    assert alone["meters"] == ["prometheus:http://10.0.0.9:9400/metrics"] and alone["devices_count"] == 2


def test_a_board_of_two_pods_meters_neither() -> None:
    samples = [
        TextSample("DCGM_FI_DEV_POWER_USAGE", {"UUID": "GPU-a0", "namespace": "llm", "pod": p}, 300.0)
        for p in ("a", "b")
    ]
    boards = boards_of([*samples, *samples], "http://x:9400/metrics")
    assert len(boards) == 2
    told = metered(Page(name="llm/a", url="http://a/metrics", model=None, namespace="llm", pod="a"), boards, ())
    assert told.spec is None and "another pod has GPU-a0" in (told.comment or "")


def test_an_exporter_that_nobody_names_is_left_to_be_filled_in() -> None:
    page, board = (
        Page(name="llm/a", url="http://a/metrics", model=None, namespace="llm", pod="a"),
        ListedBoard("GPU-a0", None, "n", "llm", "a", None),
    )
    assert metered(page, [board], ()).spec is None
    assert metered(page, [board], [Exporter("http://e:9400/metrics", frozenset({"n"}))]).spec == (
        "prometheus:http://e:9400/metrics,gpus=GPU-a0"
    )


ACTIVE = [
    {
        "scrapePool": "vllm",
        "scrapeUrl": "http://10.0.0.7:8000/metrics",
        "labels": {"job": "vllm", "instance": "a", "model_name": "Qwen/Qwen3-8B", "namespace": "llm", "pod": "qwen-0"},
    },
    {"scrapePool": "dcgm", "scrapeUrl": "http://10.0.0.9:9400/metrics", "labels": {"job": "dcgm", "node": "gpu-1"}},
    {"scrapePool": "node", "scrapeUrl": "http://10.0.0.9:9100/metrics", "labels": {"job": "node-exporter"}},
]


def test_prometheus_targets_and_service_discovery(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, dcgm = tmp_path / "targets.json", tmp_path / "dcgm.prom"
    file.write_text(json.dumps({"status": "success", "data": {"activeTargets": ACTIVE}}))
    dcgm.write_text(owned("qwen-0", "qwen-0"))
    targets, text = made(tmp_path, capsys, "--from-prometheus", str(file), "--dcgm", str(dcgm))
    assert list(targets) == ["llm/qwen-0"] and "node-exporter): no sign of a model server" in text
    assert targets["llm/qwen-0"]["meters"] == ["prometheus:http://10.0.0.9:9400/metrics,gpus=GPU-a0+GPU-a1"]
    file.write_text('[{"targets": ["10.0.0.7:8000", "10.0.0.8:8000", "10.0.0.8:8000"], "labels": {"job": "x"}}]')
    targets, text = made(tmp_path, capsys, "--from-prometheus", str(file))
    assert [t["metrics_url"] for t in targets.values()] == [f"http://10.0.0.{i}:8000/metrics" for i in (7, 8)]
    assert {t["model"] for t in targets.values()} == {"unknown"} and "nothing says which model it serves" in text


def test_what_is_written_of_pages_that_answer_passes_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet({"n0": [500.0] * 4}, {"a": Replica(500.0), "b": Replica(300.0)}, pods={"n0": ["a", "b", "b", "b"]})
    with served(fleet) as url:
        groups = [
            {
                "targets": [url.removeprefix("http://")],
                "labels": {"__metrics_path__": f"/vllm/{p}", "namespace": "llm", "pod": p, "model": "Qwen/Qwen3-8B"},
            }
            for p in "ab"
        ]
        (tmp_path / "sd.json").write_text(json.dumps(groups))
        targets, _ = made(tmp_path, capsys, "--from-prometheus", str(tmp_path / "sd.json"), "--dcgm", f"{url}/node/n0")
        assert [(t["devices_count"], t["device"]) for t in targets.values()] == [(1, "h100-sxm"), (3, "h100-sxm")]
        assert main(["monitor", "check", str(tmp_path / "made.toml")]) == 0, capsys.readouterr().out
    assert "2 targets, 2 meter SPECs, 0 sites: every one answers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no JSON document"),
        ("{}", "neither Prometheus's"),
        ("[1]", "entry 0 is no group"),
        ("7", "neither"),
        ("[" * 100_000, "no JSON document"),
        ("[]", "names no model server"),
        ('{"data": {"activeTargets": [7, null, {"scrapeUrl": 5}]}}', "names no model server"),
        ('[{"targets": ["u:p@h:80", "h:80,ca=/etc/passwd", "h:99999999", "javascript:x"]}]', "names no model server"),
    ],
)
def test_a_document_that_is_none_is_one_error(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.json").write_text(text)
    assert main(["monitor", "config", "--from-prometheus", str(tmp_path / "d.json")]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and told in shown.err and shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say --from-prometheus"),
        (["--dcgm", "x"], "say --from-prometheus"),
        (["--from-pods", "/nothing"], "cannot be read"),
        (["--from-prometheus", "http://127.0.0.1:9"], "refused"),
        (["--from-prometheus", "http://u:p@127.0.0.1:9"], "holds a password"),
    ],
)
def test_what_cannot_be_asked(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "config", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_options_without_the_word_and_a_page_without_boards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "--from-pods", "x"]) == 2 and "after the word config" in capsys.readouterr().err
    (tmp_path / "pods.json").write_text(json.dumps(listed(QWEN)))
    (tmp_path / "page").write_text("up 1\n")
    assert (
        main(["monitor", "config", "--from-pods", str(tmp_path / "pods.json"), "--dcgm", str(tmp_path / "page")]) == 2
    )
    assert "no dcgm-exporter's page" in capsys.readouterr().err


HOSTILE = 'x"]\n[[target]]\nname = "y'


def test_hostile_names_stay_text_in_their_place() -> None:
    bad = pod(HOSTILE, "10.0.0.7", "--model", f"../../etc/passwd{HOSTILE}\x1b[2J")
    bad["metadata"]["namespace"] = "\ud800\u202e' #"
    bad["spec"]["nodeName"] = HOSTILE * 100
    text = config_text(of_pods(listed(bad, bad, QWEN), "pods"), (), "pods")
    targets = tomllib.loads(text)["target"]
    assert len(targets) == 2 and all(len(t["node"]) <= 200 for t in targets)
    assert "\x1b" not in text and "\u202e" not in text and all(line.isprintable() for line in text.splitlines())
    assert modelled("../../etc/passwd")[1] is False and modelled("/models/Qwen3-8B")[:2] == ("Qwen3-8B", True)


KEYS = [
    "items",
    "data",
    "activeTargets",
    "targets",
    "labels",
    "metadata",
    "spec",
    "status",
    "containers",
    "resources",
    "limits",
    "args",
    "env",
    "ports",
    "scrapeUrl",
    "kind",
    "podIP",
    "name",
]
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(KEYS), x, max_size=5),
    max_leaves=25,
)


@settings(max_examples=60, deadline=None)
@given(junk)
def test_whatever_a_document_holds_it_is_a_configuration_or_one_error(document: Any) -> None:
    told = []
    for reader, whole in ((of_pods, {"items": [document]}), (of_prometheus, {"data": {"activeTargets": [document]}})):
        for one in (document, whole):
            try:
                named: NamedSources = reader(one, "it")
                assert tomllib.loads(config_text(named, (), "it"))["target"]
            except InputError as fault:
                told.append(str(fault))
    assert all(t.isprintable() for t in told)
