"""What a SPEC chooses of an exporter: boards by index, labels by any of several values, and how many are expected."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.identity import Identity, identity_of
from joulemill.ledger.record import Quantity, Reading
from joulemill.ledger.trace import traces
from joulemill.meters.meter import Meter, MeterContext, parse_spec
from joulemill.meters.network.exporter_spec import ExporterQuery
from joulemill.meters.opening import open_meters
from tests.support.surroundings import HandClock
from tests.support.web import Reply, Request, Web


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def context(told: list[str]) -> MeterContext:
    return MeterContext(notice=told.append, environ={}, clock=HandClock().clock)


def boards(*indices: int, host: str = "n1", watts: float = 300.0) -> str:
    return "".join(
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="{i}",UUID="GPU-{host}-{i}",Hostname="{host}"}} {watts + i}\n'
        f'DCGM_FI_DEV_GPU_TEMP{{gpu="{i}",UUID="GPU-{host}-{i}",Hostname="{host}"}} 60\n'
        for i in indices
    )


def opened(web: Web, context: MeterContext, options: str = "") -> Meter:
    return open_meters([f"prometheus:{web.url}/metrics{options}"], context)[0]


def devices(meter: Meter) -> list[str]:
    return sorted({c.device for c in meter.channels()})


@pytest.mark.parametrize(
    "options",
    [
        ",where=gpu:4+gpu:5+gpu:6+gpu:7",
        ",gpus=4+5+6+7",
        ",gpus=4+5+6+7,count=4",
        ",gpus=GPU-n1-4+5+6+GPU-n1-7",
        ",where=Hostname:n1+gpu:4+gpu:5+gpu:6+gpu:7,count=4",
        ",where=gpu:4+gpu:5+gpu:6+gpu:7+gpu:3,gpus=4+5+6+7",
    ],
)
def test_a_replica_of_half_a_node_is_one_line(web: Web, context: MeterContext, options: str) -> None:
    web.pages["/metrics"] = boards(*range(8))
    meter = opened(web, context, options)
    assert devices(meter) == [f"GPU-n1-{i}" for i in (4, 5, 6, 7)]
    assert sorted(r.value or 0 for r in meter.read() if "power" in r.channel) == [304.0, 305.0, 306.0, 307.0]


def test_different_labels_must_all_fit(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = boards(0, 1) + boards(0, 1, host="n2")
    assert devices(opened(web, context, ",where=Hostname:n2+gpu:1")) == ["GPU-n2-1"]
    assert devices(opened(web, context, ",where=Hostname:n2,gpus=1")) == ["GPU-n2-1"]
    assert len(devices(opened(web, context))) == 4


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (",gpus=0+9", InputError, r"no board 9; there are 0=GPU-n1-0, 1=GPU-n1-1"),
        (",where=gpu:0+gpu:9", InputError, r"nothing has gpu='9'; gpu is one of 0, 1"),
        (",where=pod:a", InputError, r"nothing has pod='a'; pod is no label there"),
        (",where=gpu", InputError, "must be LABEL:VALUE"),
        (',where=g"pu:0', InputError, "must be LABEL:VALUE"),
        (",count=3", MachineError, r"3 devices expected, 2 shown \(GPU-n1-0, GPU-n1-1\)"),
        (",count=08", MachineError, "8 devices expected"),
        (",count=x", InputError, "must be a whole number"),
        (",count=0", InputError, "must be a whole number"),
        (",count=", InputError, "must be a whole number"),
        (",count=\u0663", InputError, "must be a whole number"),
        (",prefix=.*", InputError, "cannot begin a metric's name"),
    ],
)
def test_what_is_not_there_is_said(
    web: Web, context: MeterContext, options: str, error: type[Exception], says: str
) -> None:
    web.pages["/metrics"] = boards(0, 1)
    with pytest.raises(error, match=says):
        opened(web, context, options)


def test_an_index_of_two_hosts_is_ambiguous(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = boards(0, 1) + boards(0, 1, host="n2")
    with pytest.raises(InputError, match=r"several boards are called 0 .*say of which host"):
        opened(web, context, ",gpus=0")


def test_amds_exporter_too_in_any_case(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = "".join(
        f'GPU_PACKAGE_POWER{{GPU_ID="{i}",GPU_PARTITION_ID="0",SERIAL_NUMBER="S{i}"}} 500\n' for i in range(8)
    )
    assert devices(opened(web, context, ",gpus=0+1+2+3,count=4")) == [f"S{i}/gpu-{i}" for i in range(4)]


def test_a_label_of_any_value_is_a_regular_expression_that_a_server_understands() -> None:
    asked = ExporterQuery.of(parse_spec('prometheus:http://h,where=instance:a.b:1+instance:c"d+job:x|y'), "h")
    assert asked.matchers() == r',instance=~"a\\.b:1|c\"d",job=~"x\\|y"'
    for text in ("a.b:1", 'c"d', "x|y", "(", "[a]", "\\", "^$", "a{2}", "+"):
        value = ExporterQuery.of(parse_spec("prometheus:http://h"), "h")
        value = replace(value, choice=replace(value.choice, where={"l": (text,)}))
        pattern = json.loads(value.matchers().partition("=~")[2])
        assert re.fullmatch(pattern, text)


# --- identity and values -----------------------------------------------------------------------------------------


def test_boards_without_any_label_have_no_name_for_the_ledger(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = "DCGM_FI_DEV_POWER_USAGE 300\n"
    assert {identity_of(d) for d in devices(opened(web, context))} == {Identity.NONE}
    web.pages["/metrics"] = 'DCGM_FI_DEV_POWER_USAGE{gpu="3"} 300\n'
    assert devices(opened(web, context)) == ["gpu-3"]


def test_indices_of_two_hosts_are_no_one_board(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = "".join(f'DCGM_FI_DEV_POWER_USAGE{{gpu="0",instance="{h}:9400"}} 300\n' for h in ("a", "b"))
    assert devices(opened(web, context)) == ["a:9400/gpu-0", "b:9400/gpu-0"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DCGM_FI_DEV_POWER_USAGE", v)
        for v in (
            "140737488355328",
            "140737488355329",
            "2147483632",
            "9223372036854775792",
            "1.8446744073709552e+19",
            "32767",
            "65535",
            "1e9",
            "-5",
            "NaN",
            "+Inf",
            "1e308",
        )
    ]
    + [("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", v) for v in ("9223372036854775794", "140737488355328", "-1", "1e300")],
)
def test_a_blank_or_impossible_board_is_unknown_and_said_so(
    web: Web, context: MeterContext, told: list[str], name: str, value: str
) -> None:
    web.pages["/metrics"] = boards(0) + f'{name}{{gpu="1",UUID="GPU-n1-1"}} {value}\n'
    meter = opened(web, context)
    readings = {r.channel: r for r in meter.read()}
    bad = next(r for c, r in readings.items() if "GPU-n1-1" in c)
    assert bad.value is None and name in (bad.error or "")
    assert readings["dcgm:GPU-n1-0:power"].value == 300.0
    assert any(re.search(r"127\.0\.0\.1:\d+: GPU-n1-1: .* is unknown, and so is every sum", t) for t in told)


@pytest.mark.parametrize(
    ("model", "limit_w", "believed"),
    [
        ("NVIDIA H100 80GB HBM3", 700.0, False),
        ("NVIDIA L4", 72.0, False),
        ("board.toml", None, True),
        ("", None, True),
    ],
)
def test_a_board_that_names_its_model_is_held_against_its_limit(
    web: Web, context: MeterContext, model: str, limit_w: float | None, believed: bool
) -> None:
    """700 W and 72 W are NVIDIA's data sheets'; 2 kW is more than either board can draw."""
    page = boards(0, watts=2000.0).replace('Hostname="n1"', f'Hostname="n1",modelName="{model}"')
    web.pages["/metrics"] = page
    meter = opened(web, context)
    (power,) = [c for c in meter.channels() if c.quantity is Quantity.POWER]
    assert power.limit_w == limit_w
    readings = [Reading(power.id, float(t), t, 2000.0) for t in range(10)]
    assert traces([power], readings)[power.id].usable == believed


def test_impossible_temperatures_and_shares_are_unknown(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = boards(0) + (
        'DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-n1-0"} 2147483632\n'
        'DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS{gpu="0",UUID="GPU-n1-0"} 140737488355328\n'
    ).replace("60", "2147483632")
    web.pages["/metrics"] = str(web.pages["/metrics"]).replace("} 60", "} 2147483632")
    values = {r.channel.rsplit(":", 1)[1]: r.value for r in opened(web, context).read()}
    assert values == {"power": 300.0, "temperature": None, "clock-sm": None, "power-limit": None}


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (boards(0, watts=140737488355328), "no power there can be used"),
        ('DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 60\n', r"127\.0\.0\.1:\d+/metrics shows no power or energy"),
        ("go_goroutines 7\n", "shows no power or energy"),
        ("", "shows no power or energy"),
        ("<html>\n", "cannot be read .line 1: not of the Prometheus text format"),
        ("DCGM_FI_DEV_POWER_USAGE{gpu=0} 300\n", "line 1"),
    ],
)
def test_a_page_that_offers_nothing_does_not_open(web: Web, context: MeterContext, page: str, says: str) -> None:
    web.pages["/metrics"] = page
    with pytest.raises(MachineError, match=says):
        opened(web, context)


# --- a Prometheus server -----------------------------------------------------------------------------------------


def series(**labels: str) -> dict[str, Any]:
    now = time.time()
    return {
        "metric": {"__name__": "DCGM_FI_DEV_POWER_USAGE", **labels},
        "values": [[now - 10 + i, str(300 + i)] for i in range(10)],
    }


def serve(web: Web, *rows: Any, matrix: Any = None) -> None:
    def answer(request: Request) -> Reply:
        query = parse_qs(urlsplit(request.path).query)["query"][0]
        if query == "time()":
            data = {"resultType": "scalar", "result": [time.time(), str(time.time())]}
        else:
            data = matrix if matrix is not None else {"resultType": "matrix", "result": list(rows)}
        return 200, {}, {"status": "success", "data": data}

    web.pages["/api/v1/query"] = answer


@pytest.fixture
def live(told: list[str]) -> MeterContext:
    return MeterContext(notice=told.append, environ={})


def test_boards_are_chosen_of_a_server_too(web: Web, live: MeterContext) -> None:
    serve(web, *(series(gpu=str(i), UUID=f"GPU-{i}", instance="n1:9400") for i in range(8)))
    meter = open_meters([f"prometheus:{web.url},gpus=0+1,count=2"], live)[0]
    assert devices(meter) == ["GPU-0", "GPU-1"]
    meter.close()
    meter = open_meters([f"prometheus:{web.url},where=gpu:6+gpu:7"], live)[0]
    assert devices(meter) == ["GPU-6", "GPU-7"]
    assert any("gpu%3D~%226%7C7%22" in a for a in web.asked)
    meter.close()


@pytest.mark.finding("F32")
@pytest.mark.parametrize(
    "matrix",
    [
        None,
        5,
        [],
        {},
        {"result": None},
        {"result": 5},
        {"result": [None]},
        {"result": [[]]},
        {"result": [{}]},
        {"result": [{"metric": 5, "values": []}]},
        {"result": [{"metric": {"a": 1}, "values": []}]},
        {"result": [{"metric": {}, "values": 5}]},
        {"result": [{"metric": {}, "values": [5]}]},
        {"result": [{"metric": {}, "values": [[1]]}]},
        {"result": [{"metric": {}, "values": [["x", "1"]]}]},
        {"result": [{**series(gpu="0"), "values": [[1e300, "1"]]}]},
        {"result": [{**series(gpu="0"), "values": [[1e12, "1"]]}]},
        {"result": [{**series(gpu="0"), "values": [[1.5e9, "1"]]}]},
        {"result": [{**series(gpu="0"), "values": [[time.time(), "x"]]}]},
        {"result": [{**series(gpu="0"), "values": [[time.time(), None]]}]},
        {"result": [{**series(gpu="0"), "values": [[10**400, "1"]]}]},
    ],
)
def test_an_answer_that_is_none_of_prometheus_is_a_meter_that_does_not_open(
    web: Web, live: MeterContext, matrix: Any
) -> None:
    serve(web, matrix=5 if matrix is None else matrix)
    with pytest.raises(MachineError) as caught:
        open_meters([f"prometheus:{web.url}"], live)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
