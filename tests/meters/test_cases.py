"""The public cases that concern meters: each gives the right value, or is refused with its reason.

They are read from ../shared/cases, which not every checkout has; inputs of the same kinds stand in the other tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joulemill import cli
from joulemill.errors import InputError, MachineError
from joulemill.ledger.energy import window_energy
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.ledger.scopes import compose
from joulemill.ledger.trace import trace
from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from tests.support.paths import SHARED
from tests.support.surroundings import HandClock
from tests.support.web import Web

CASES = SHARED / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def context(told: list[str]) -> MeterContext:
    return MeterContext(notice=told.append, environ={}, clock=HandClock(start_s=3e9).clock)


def read(text: str, context: MeterContext) -> tuple[tuple[Channel, ...], list[Reading]]:
    meter = open_meters([text], context)[0]
    return meter.channels(), [*meter.read(), *meter.read()]


def powers(readings: list[Reading]) -> dict[str, list[float | None]]:
    by_channel: dict[str, list[float | None]] = {}
    for r in readings:
        if "power" in r.channel:
            by_channel.setdefault(r.channel, []).append(r.value)
    return by_channel


@needs_cases
def test_two_of_four_boards_are_told_apart_and_are_not_four(context: MeterContext) -> None:
    channels, readings = read(f"file:{CASES}/boards-missing/smi_index_2of4.csv,tz=UTC,skew=0.1s", context)
    assert {c.device for c in channels} == {"0", "1"}
    assert {v for values in powers(readings).values() for v in values} <= {300.0, 301.0}
    four = compose(channels, {}, {Scope.DEVICE: 4})[Scope.DEVICE]
    assert not four.complete and any(f.code is Reason.MISSING_DEVICE and f.fatal for f in four.findings)
    assert compose(channels, {}, {Scope.DEVICE: 2})[Scope.DEVICE].complete


@needs_cases
@pytest.mark.finding("F13")
@pytest.mark.parametrize("apart_ms", [0, 2, 5])
def test_the_same_log_without_its_index_is_refused(tmp_path: Path, context: MeterContext, apart_ms: int) -> None:
    header, *rows = (CASES / "boards-missing" / "smi_index_2of4.csv").read_text().splitlines()
    assert header.startswith("timestamp, index, ")
    kept = []
    for row in rows:
        moment, index, *cells = row.split(", ")
        begin, ms = moment.rsplit(".", 1)
        kept.append(", ".join([f"{begin}.{int(ms) + apart_ms * int(index):03d}", *cells]))
    path = tmp_path / "smi.csv"
    path.write_text("\n".join([header.replace("index, ", ""), *kept, ""]))
    with pytest.raises(InputError, match="several boards and no column of it identifies the boards"):
        read(f"file:{path},tz=UTC", context)


@needs_cases
def test_dcgms_blank_is_an_unknown_board(web: Web, context: MeterContext, told: list[str]) -> None:
    web.pages["/metrics"] = (CASES / "dcgm-blank" / "page.txt").read_text()
    channels, readings = read(f"prometheus:{web.url}/metrics,count=2", context)
    by_channel = powers(readings)
    assert by_channel["dcgm:GPU-6e19195c-c2c2-16a4-18da-f1502460eac6:power"] == [69.437, 69.437]
    assert by_channel["dcgm:GPU-e7aa527a-300f-5834-0a07-99407bb3d5fa:power"] == [None, None]
    assert all(r.value is None or r.value < 1e4 for r in readings)
    assert any("GPU-e7aa527a-300f-5834-0a07-99407bb3d5fa: " in t and "it is unknown" in t for t in told)
    two = compose(channels, {}, {Scope.DEVICE: 2})[Scope.DEVICE]
    assert len(two.channels) == 2  # so that the sum needs the blank one, and is refused


def tree(web: Web) -> None:
    for path, resource in json.loads((CASES / "redfish-no-watts" / "tree.json").read_text()).items():
        body: dict[str, Any] = {"@odata.id": path, **resource}
        web.pages[path] = web.pages[f"{path}/"] = body


LACKS = r"no watts and no joules .chassis chassis: EnvironmentMetrics has no PowerWatts, .*PowerLimitWatts.*2 power"


@needs_cases
def test_a_bmc_without_watts_does_not_open_and_says_what_it_lacks(web: Web, context: MeterContext) -> None:
    tree(web)
    with pytest.raises(MachineError, match=LACKS):
        read(f"redfish:{web.url}", context)


@needs_cases
def test_doctor_lists_a_bmc_without_watts_as_missing(
    web: Web, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(web)
    code = cli.main(["doctor", "--meter", f"redfish:{web.url}", "--duration", "0.2s"])
    shown = "".join(capsys.readouterr()).replace("\n", " ")
    assert code != 0 and "no watts and no joules" in shown


@needs_cases
@pytest.mark.parametrize("block", [1024, 700])
def test_a_block_buffered_log_is_four_boards_of_300_watts(tmp_path: Path, context: MeterContext, block: int) -> None:
    data = (CASES / "block-buffered" / "smi.csv").read_bytes()
    path = tmp_path / "smi.csv"
    path.write_bytes(data[:block])
    meter = open_meters([f"file:{path},tz=UTC"], context)[0]
    readings = list(meter.read())
    for begin in range(block, len(data), block):
        with path.open("ab") as file:
            file.write(data[begin : begin + block])
        readings += [*meter.read(), *meter.read(), *meter.read()]
    watts = 0.0
    for channel in (c for c in meter.channels() if c.quantity is Quantity.POWER):
        mine = trace(channel, [r for r in readings if r.channel == channel.id])
        result = window_energy(mine, float(mine.t_s[0]), float(mine.t_s[-1]))
        watts += result.power_w or 0.0
    assert watts == pytest.approx(1200.0)
    assert {v for values in powers(readings).values() for v in values} == {300.0}


@needs_cases
def test_a_powershell_log_is_read(context: MeterContext) -> None:
    _, readings = read(f"file:{CASES}/utf16-log/smi.csv,tz=UTC", context)
    assert {v for values in powers(readings).values() for v in values} == {300.0}
    assert len(powers(readings)["file:0:power-average"]) > 20


@needs_cases
def test_inferencexs_gpu_log_is_eight_boards(context: MeterContext) -> None:
    channels, _ = read(f"file:{CASES}/inferencex-raw/gpu_metrics.csv,tz=UTC", context)
    assert {c.device for c in channels} == set("01234567")
