from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.errors import InputError
from joulemill.ledger.energy import window_energy
from joulemill.ledger.record import Quantity, Scope
from joulemill.ledger.trace import trace
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_meters
from tests.support.surroundings import HandClock

#: 2026-01-31 12:00:00 UTC
NOON = 1769860800.0


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def context(told: list[str]) -> MeterContext:
    hand = HandClock(NOON + 3600 - 1.7e9)  # its wall clock shows an hour past NOON
    return MeterContext(clock=hand.clock, notice=told.append)


def opened(path: Path, context: MeterContext, options: str = "") -> Meter:
    return open_meters([f"file:{path}{options}"], context)[0]


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


SMI_HEADER = (
    "timestamp, uuid, power.draw [W], power.draw.instant [W], enforced.power.limit [W], "
    "clocks.current.sm [MHz], temperature.gpu, utilization.gpu [%]"
)


def test_nvidia_smi_with_units(tmp_path: Path, context: MeterContext) -> None:
    path = written(
        tmp_path / "smi.csv",
        SMI_HEADER,
        "2026/01/31 12:00:00.500, GPU-a, 301.25 W, 333.10 W, 700.00 W, 1980 MHz, 61, 97 %",
        "2026/01/31 12:00:00.500, GPU-b, [N/A], [Not Supported], 700.00 W, 345 MHz, 30, 0 %",
    )
    meter = opened(path, context, ",tz=UTC")
    readings = {r.channel: r for r in meter.read()}
    assert readings["file:GPU-a:power-average"].value == 301.25
    assert readings["file:GPU-a:power-instant"].value == 333.1
    assert readings["file:GPU-a:clock-sm"].value == 1.98e9
    assert readings["file:GPU-a:utilization"].value == 0.97
    assert readings["file:GPU-a:power-limit"].value == 700.0
    assert readings["file:GPU-a:temperature"].value == 61.0
    assert readings["file:GPU-a:power-average"].t_wall_s == NOON + 0.5
    missing = readings["file:GPU-b:power-average"]
    assert missing.value is None and missing.error == "nvidia-smi: [N/A]"
    by_id = {c.id: c for c in meter.channels()}
    assert by_id["file:GPU-a:power-instant"].includes == ("file:GPU-a:power-average",)
    assert by_id["file:GPU-a:power-average"].update_period_s == 1.0
    assert {c.scope for c in meter.channels()} == {Scope.DEVICE}


def test_nvidia_smi_without_units_and_both_spellings_of_the_average(tmp_path: Path, context: MeterContext) -> None:
    path = written(
        tmp_path / "smi.csv",
        "timestamp, index, power.draw [W], power.draw.average [W]",
        "2026/01/31 12:00:00.500, 3, 301.25, 301.30",
    )
    assert [(r.channel, r.value) for r in opened(path, context).read()] == [("file:3:power-average", 301.3)]


def test_a_date_without_a_zone_is_local_or_as_stated(tmp_path: Path, context: MeterContext) -> None:
    path = written(tmp_path / "a.csv", "t,p", "2026-01-31T12:00:00,1", "2026-01-31T12:00:00+01:00,2")
    times = [r.t_wall_s for r in opened(path, context, ",value=p,unit=W,tz=Europe/Berlin").read()]
    assert times == [NOON - 3600, NOON - 3600]


def test_ptdaemon(tmp_path: Path, context: MeterContext) -> None:
    lines = [
        f"Time,01-31-2026 12:00:{s:02d}.500,Watts,{40 + s}.5,Volts,230.1,Amps,0.2,PF,0.55,Mark,run" for s in range(5)
    ]
    path = written(tmp_path / "spl.txt", "Notice: analyser ready", *lines)
    meter = opened(path, context, ",format=ptdaemon,tz=UTC")
    channel = meter.channels()[0]
    assert (channel.scope, channel.quantity) == (Scope.NODE, Quantity.POWER)
    assert (channel.rel_error, channel.clock_skew_s) == (0.01, None)
    readings = meter.read()
    assert [r.value for r in readings] == [40.5, 41.5, 42.5, 43.5, 44.5]
    used = window_energy(trace(channel, readings), readings[0].t_mono_s, readings[-1].t_mono_s)
    assert used.energy_j == pytest.approx(4 * 42.5)


def test_ptdaemon_is_recognised(tmp_path: Path, context: MeterContext) -> None:
    path = written(tmp_path / "spl.txt", "Time,01-31-2026 12:00:01.500,Watts,40.5,Volts,230,Amps,0.2,PF,0.5,Mark,x")
    assert opened(path, context, ",skew=1s").channels()[0].clock_skew_s == 1.0


def aiperf(second: int, **data: float | None) -> str:
    return json.dumps(
        {
            "timestamp_ns": int((NOON + second) * 1e9),
            "dcgm_url": "http://h:9401/metrics",
            "gpu_index": 0,
            "gpu_uuid": "GPU-a",
            "gpu_model_name": "x",
            "telemetry_data": data,
        }
    )


def test_aiperfs_megajoules_and_microseconds(tmp_path: Path, context: MeterContext) -> None:
    path = written(
        tmp_path / "gpu_telemetry_export.jsonl",
        aiperf(0, gpu_power_usage=300.0, energy_consumption=0.001, power_violation=2_000_000.0, gpu_utilization=50.0),
        aiperf(1, gpu_power_usage=300.0, energy_consumption=0.0013, power_violation=None),
    )
    meter = opened(path, context)
    values = [(r.channel.rsplit(":", 1)[1], r.value) for r in meter.read()]
    assert ("energy", 1000.0) in values and ("energy", pytest.approx(1300.0)) in values
    assert ("throttle-power", 2.0) in values and ("throttle-power", None) in values
    assert ("utilization", 0.5) in values
    energy = next(c for c in meter.channels() if c.quantity is Quantity.ENERGY)
    assert energy.includes == ("file:GPU-a:power",)


@pytest.mark.parametrize(
    ("unit", "cell", "quantity", "value"),
    [
        ("kW", "1.25", Quantity.POWER, 1250.0),
        ("mW", "1.5e3", Quantity.POWER, 1.5),
        ("kWh", "2", Quantity.ENERGY, 7.2e6),
        ("Wh", "1", Quantity.ENERGY, 3600.0),
        ("MJ", "3", Quantity.ENERGY, 3e6),
    ],
)
def test_a_plain_csv_has_its_declared_unit(
    tmp_path: Path, context: MeterContext, unit: str, cell: str, quantity: Quantity, value: float
) -> None:
    path = written(tmp_path / "a.csv", "epoch;PDU 1", f"{NOON};{cell}")
    meter = opened(path, context, f",value=PDU 1,unit={unit},scope=rack,device=pdu-7,error=1%")
    channel = meter.channels()[0]
    assert (channel.quantity, channel.scope, channel.device) == (quantity, Scope.RACK, "pdu-7")
    assert channel.rel_error == pytest.approx(0.01)
    assert meter.read()[0].value == pytest.approx(value)


def test_an_empty_cell_is_unknown_not_zero(tmp_path: Path, context: MeterContext) -> None:
    path = written(tmp_path / "a.csv", "t,p", f"{NOON},1", f"{NOON + 1},", f"{NOON + 2},NaN")
    assert [r.value for r in opened(path, context, ",value=p,unit=W").read()] == [1.0, None, None]


def test_milliseconds_must_be_said(tmp_path: Path, context: MeterContext) -> None:
    path = written(tmp_path / "a.csv", "t,p", f"{NOON * 1e3:.0f},1")
    with pytest.raises(InputError, match=r"line 2: .*time_unit=ms"):
        opened(path, context, ",value=p,unit=W")
    assert opened(path, context, ",value=p,unit=W,time_unit=ms").read()[0].t_wall_s == NOON


def test_a_growing_file_is_followed_line_by_line(tmp_path: Path, context: MeterContext) -> None:
    path = written(tmp_path / "a.csv", "t,p", f"{NOON},1")
    meter = opened(path, context, ",value=p,unit=W")
    assert [r.value for r in meter.read()] == [1.0]
    with path.open("a") as file:
        file.write(f"{NOON + 1},2.5\n{NOON + 2},3")
        file.flush()
        assert [r.value for r in meter.read()] == [2.5]
        assert meter.read() == () and meter.read() == ()  # more of the number may come
        file.write("4.5\n")
        file.flush()
        assert [r.value for r in meter.read()] == [34.5]
        file.write(f"{NOON + 3},5.5")
    assert meter.read() == ()
    assert [r.value for r in meter.read()] == [5.5]  # as many decimals as before: it is whole
    assert meter.read() == ()


def test_a_file_that_shrinks_or_breaks_is_an_error_reading(tmp_path: Path, context: MeterContext) -> None:
    path = written(tmp_path / "a.csv", "t,p", f"{NOON},1", f"{NOON + 1},2")
    meter = opened(path, context, ",value=p,unit=W")
    meter.read()
    with path.open("a") as file:
        file.write("rubbish\n")
    broken = meter.read()
    assert [r.value for r in broken] == [None] and "line 4" in (broken[0].error or "")
    written(path, "t,p")
    assert "became shorter" in (meter.read()[0].error or "")
    path.unlink()
    assert meter.read()[0].value is None


def test_a_device_that_appears_later_is_told(tmp_path: Path, context: MeterContext, told: list[str]) -> None:
    path = written(tmp_path / "smi.csv", "timestamp, uuid, power.draw [W]", "2026/01/31 12:00:00.500, GPU-a, 1 W")
    meter = opened(path, context, ",tz=UTC")
    with path.open("a") as file:
        file.write("2026/01/31 12:00:01.500, GPU-b, 1 W\n" * 2)
    assert [r.channel for r in meter.read()] == ["file:GPU-a:power-average"]
    assert len(told) == 1 and "GPU-b" in told[0]


def test_a_wrong_zone_shows(tmp_path: Path, context: MeterContext, told: list[str]) -> None:
    path = written(tmp_path / "a.csv", "t,p", f"{NOON + 7200},1")
    opened(path, context, ",value=p,unit=W")
    assert len(told) == 1 and "3600 s ahead" in told[0]


@pytest.mark.parametrize(
    ("lines", "options", "says"),
    [
        (["t,p", "2026-01-31T12:00:00,1"], "", "needs value=COLUMN and unit="),
        (["t,p", "2026-01-31T12:00:00,1"], ",value=q,unit=W", "no column q; the header has t, p"),
        (["t,p", "2026-01-31T12:00:00,1"], ",value=p,unit=bananas", "must be of power"),
        (["t,p", "yesterday,1"], ",value=p,unit=W", "line 2: 'yesterday' is not a time"),
        (["t,p", "2026-01-31T12:00:00"], ",value=p,unit=W", "line 2: 1 cells under 2 headings"),
        (["t,p"], ",value=p,unit=W", "no reading in"),
        (["t,p"], ",value=p,unit=W,tz=Mars/Olympus", "no such time zone"),
        (["timestamp, power.draw [W]", "2026/01/31 12:00:00.500, 1 W"], ",value=p", "no option value"),
        (["GPU-a, 1 W"], ",format=nvidia-smi", "leave out nvidia-smi's noheader"),
    ],
)
def test_bad_input(tmp_path: Path, context: MeterContext, lines: list[str], options: str, says: str) -> None:
    path = written(tmp_path / "x", *lines)
    with pytest.raises(InputError, match=says):
        opened(path, context, options)


def test_a_missing_file(tmp_path: Path, context: MeterContext) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        opened(tmp_path / "none", replace(context))
