from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.ledger.energy import window_energy
from joulemill.ledger.record import Channel, Quantity, Reading, RunRecord, Scope
from joulemill.ledger.trace import trace
from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from joulemill.recording.writer import write_run
from tests.support.manifests import manifest_of
from tests.support.surroundings import HandClock

CHANNEL = Channel(
    id="nvml:GPU-a:energy",
    meter="nvml",
    device="GPU-a",
    scope=Scope.DEVICE,
    quantity=Quantity.ENERGY,
    basis=Basis.MEASURED,
    includes=("x",),
)
READINGS = tuple(Reading(CHANNEL.id, 5000 + i * 0.1, 1.6e9 + i * 0.1, 30.0 * i) for i in range(101))


def recorded(path: Path, readings: tuple[Reading, ...] = READINGS) -> Path:
    write_run(path, RunRecord(manifest=manifest_of({"options": {}}), channels=(CHANNEL,), readings=readings))
    return path


def test_a_recorded_run_is_a_meter(tmp_path: Path) -> None:
    hand = HandClock()
    meter = open_meters([f"replay:{recorded(tmp_path / 'run')}"], MeterContext(clock=hand.clock))[0]
    (channel,) = meter.channels()
    assert (channel.id, channel.includes, channel.quantity) == (CHANNEL.id, ("x",), Quantity.ENERGY)
    seen: list[Reading] = []
    start_s = hand.now_s
    for _ in range(60):
        seen += meter.read()
        hand.pass_s(0.2)
    assert len(seen) == len(READINGS)
    assert [r.t_mono_s - start_s for r in seen[:3]] == pytest.approx([0.0, 0.1, 0.2])
    one = window_energy(trace(channel, seen), start_s, start_s + 10)
    other = window_energy(trace(CHANNEL, READINGS), 5000, 5010)
    assert one.energy_j == pytest.approx(other.energy_j) == pytest.approx(3000.0)


def test_nothing_comes_before_its_time(tmp_path: Path) -> None:
    hand = HandClock()
    meter = open_meters([f"replay:{recorded(tmp_path / 'run')}"], MeterContext(clock=hand.clock))[0]
    assert len(meter.read()) == 1
    hand.pass_s(0.95)
    assert len(meter.read()) == 9
    assert meter.read() == ()


def test_errors_are_replayed_too(tmp_path: Path) -> None:
    failed = Reading(CHANNEL.id, 5000.05, 1.6e9, None, "GPU is lost")
    hand = HandClock()
    run = recorded(tmp_path / "run", (READINGS[0], failed))
    meter = open_meters([f"replay:{run}"], MeterContext(clock=hand.clock))[0]
    hand.pass_s(1)
    assert [r.error for r in meter.read()] == [None, "GPU is lost"]


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run folder"):
        open_meters([f"replay:{tmp_path / 'none'}"], MeterContext())
    with pytest.raises(InputError, match="is it a run folder"):
        open_meters([f"replay:{tmp_path}"], MeterContext())
    with pytest.raises(InputError, match="no readings to replay"):
        open_meters([f"replay:{recorded(tmp_path / 'run', ())}"], MeterContext())


def test_a_torn_last_line_is_left_out_but_a_broken_middle_is_not(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run")
    file = run / "readings.jsonl"
    file.write_text(file.read_text() + '{"channel": "nv')
    assert open_meters([f"replay:{run}"], MeterContext())[0].channels()
    file.write_text("{broken\n" + file.read_text())
    with pytest.raises(InputError, match="line 1"):
        open_meters([f"replay:{run}"], MeterContext())


@pytest.mark.finding("F49")
@pytest.mark.parametrize("file", ["channels.jsonl", "readings.jsonl"])
@pytest.mark.parametrize(
    "line",
    [b"null", b"[]", b"5", b'{"id": 1}', b'{"channel": "x"}', b"[" * 50_000, b'{"t_mono_s": NaN}', b"\xff\xfe", b"{}"],
)
def test_a_line_that_is_no_row_is_named(file: str, line: bytes, tmp_path: Path) -> None:
    path = recorded(tmp_path / "run") / file
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(InputError, match="line 1"):
        open_meters([f"replay:{tmp_path / 'run'}"], MeterContext())


@pytest.mark.finding("F49")
@pytest.mark.parametrize("value", ["NaN", "1e400", "1e300", '"x"', "true", "[1]"])
def test_a_reading_that_is_no_number_of_a_run_is_named(value: str, tmp_path: Path) -> None:
    path = recorded(tmp_path / "run") / "readings.jsonl"
    bad = f'{{"channel": "{CHANNEL.id}", "t_mono_s": 5000, "t_wall_s": 1.6e9, "value": {value}}}\n'
    path.write_bytes(bad.encode() + path.read_bytes())
    with pytest.raises(InputError, match="line 1"):
        open_meters([f"replay:{tmp_path / 'run'}"], MeterContext())
