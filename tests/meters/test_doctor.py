from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.errors import InputError
from joulemill.ledger.record import Quantity, Scope
from joulemill.meters.doctor import ChannelCheck, DoctorReport, as_document, examine, summary
from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from joulemill.meters.sampler import Sampler
from tests.support.fake_nvml import FakeBoard, FakeNvml
from tests.support.lateness import lateness
from tests.support.surroundings import proc_tree, put, rapl_zone

pytestmark = pytest.mark.apart


class Drawing(FakeNvml):
    """Boards whose counters run at 300 W of real time, in steps of ``step_s``."""

    def __init__(self, *boards: FakeBoard, step_s: float = 0.02) -> None:
        super().__init__(*boards)
        self.begin, self.step_s = time.monotonic(), step_s

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeBoard) -> int:
        super().nvmlDeviceGetTotalEnergyConsumption(handle)
        return round(300e3 * self.step_s * int((time.monotonic() - self.begin) / self.step_s))


@pytest.fixture
def context(tmp_path: Path) -> MeterContext:
    proc_tree(tmp_path / "proc")
    libraries = {"pynvml": FakeNvml(driver=False)}
    return MeterContext(sysfs=tmp_path / "sys", proc=tmp_path / "proc", environ={}, libraries=libraries)


def with_boards(context: MeterContext, fake: FakeNvml) -> MeterContext:
    return replace(context, libraries={"pynvml": fake})


def channel(report: DoctorReport, end: str) -> ChannelCheck:
    return next(c for c in report.channels if c.id.endswith(end))


def test_a_machine_with_a_gpu(context: MeterContext) -> None:
    with lateness() as late:
        report = examine(with_boards(context, Drawing(FakeBoard())), duration_s=1.0, period_s=0.05)
    energy = channel(report, ":energy")
    assert energy.power_w == pytest.approx(300.0, rel=0.05 + 2 * late.worst_s)  # of a second
    assert energy.update_period_s == pytest.approx(0.02, abs=0.005 + late.worst_s)
    assert energy.shortest_window_s == pytest.approx(20 * energy.update_period_s, abs=0.1)
    assert (energy.scope, energy.quantity, energy.failed_count) == (Scope.DEVICE, Quantity.ENERGY, 0)
    assert report.healthy
    assert any("devices measured" in c for c in report.coverage)
    assert {m.what for m in report.missing} >= {"rapl", "whole node (fans, conversion, memory, network)"}
    assert report.core_ratio is not None and report.core_ratio < 0.5
    text = "\n".join(summary(report))
    assert " W, measured" in text and "redfish:https://BMC" in text and "modprobe intel_rapl_msr" in text


def test_a_machine_with_nothing(context: MeterContext) -> None:
    report = examine(context, duration_s=0.3, period_s=0.05)
    assert [c.basis.value for c in report.channels] == ["modelled"]
    assert not report.healthy
    steps = {m.what: m.step for m in report.missing}
    assert "nvidia-smi" in steps["nvml"] and "modprobe" in steps["rapl"]


def test_a_slow_counter_is_seen_to_be_slow(context: MeterContext) -> None:
    """The board states nothing at opening (no change in half a second); live it moves every 0.4 s."""
    with lateness() as late:
        report = examine(
            with_boards(context, Drawing(FakeBoard(), step_s=0.4)), ["nvml"], duration_s=2.2, period_s=0.05
        )
    energy = channel(report, ":energy")
    assert energy.update_period_s == pytest.approx(0.4, abs=0.08 + 2 * late.worst_s)
    assert energy.shortest_window_s == pytest.approx(20 * energy.update_period_s, abs=1.6)


def test_a_board_that_dies_during_the_check(context: MeterContext) -> None:
    board = FakeBoard()
    fake = Drawing(board)
    original = fake.nvmlDeviceGetPowerUsage
    calls = 0

    def dying(handle: FakeBoard) -> int:
        nonlocal calls
        calls += 1
        board.lost = calls > 6
        return original(handle)

    fake.nvmlDeviceGetPowerUsage = dying  # type: ignore[method-assign]
    report = examine(with_boards(context, fake), ["nvml"], duration_s=0.8, period_s=0.05)
    assert not report.healthy
    assert channel(report, ":energy").failed_count > 0
    assert "GPU is lost" in (channel(report, ":energy").error or "")


def test_rapl_permission_is_a_finding_with_its_recipe(context: MeterContext, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    real = Path.read_text

    def guarded(self: Path, *args: str, **kwargs: str) -> str:
        if self == zone / "energy_uj":
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    report = examine(context, duration_s=0.1)
    (rapl,) = [m for m in report.missing if m.what == "rapl"]
    assert rapl.why.endswith("root only") and "sudo chmod" in rapl.step and "udev" in rapl.step


def test_gpus_without_a_driver_are_named(context: MeterContext) -> None:
    put(context.sysfs / "bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    put(context.sysfs / "bus/pci/devices/0000:01:00.0/class", "0x030200\n")
    report = examine(context, duration_s=0.1)
    assert any(m.what == "GPU boards" and "1 NVIDIA GPU" in m.why for m in report.missing)


def test_an_address_that_refuses_keeps_its_port_and_has_a_next_step(context: MeterContext) -> None:
    specs = ["redfish:https://127.0.0.1:9/x", "prometheus:http://127.0.0.1:9/metrics", "zeus"]
    context = replace(context, libraries={**context.libraries, "zeus.device": None})
    began: list[int] = []
    report = examine(context, specs, duration_s=30.0, begun=began.append)
    assert [m.what for m in report.missing[:3]] == specs and began == []  # nothing opened: nothing to wait for
    for m in report.missing[:2]:
        assert "127.0.0.1:9/" in m.why and "Connection refused" in m.why and "JOULEMILL_" in m.step
    assert "sees no soc" in report.missing[2].why and "need no Zeus" in report.missing[2].step


def test_a_bmc_that_cannot_be_asked_is_one_reason_and_one_step(context: MeterContext) -> None:
    if shutil.which("ipmitool") is None:
        pytest.skip("ipmitool is not installed")
    report = examine(replace(context, environ={}), ["ipmi"], duration_s=0.1)
    assert report.missing[0].why.startswith("no power from the BMC (ipmitool: ")
    assert report.missing[0].step.startswith("it needs root")


def test_a_library_that_prints_what_its_error_says_is_kept_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    class Talkative:
        def amdsmi_init(self) -> None:
            print("Unable to find libamd_smi.so")
            raise OSError("no driver")

    report = examine(MeterContext(libraries={"amdsmi": Talkative()}), ["amd"], duration_s=0.1)
    assert "no driver" in report.missing[0].why and capfd.readouterr() == ("", "")
    assert not any(line.startswith("overhead") for line in summary(report))  # nothing was read: nothing was spent


def test_a_spec_that_cannot_be_is_still_refused(context: MeterContext) -> None:
    with pytest.raises(InputError, match="no meter is called"):
        examine(context, ["nvml2"], duration_s=0.1)


def test_the_document_is_json(context: MeterContext) -> None:
    document = json.loads(json.dumps(as_document(examine(context, duration_s=0.1))))
    assert document["healthy"] is False
    assert document["channels"][0]["scope"] == "node"


def test_what_was_asked_for_decides(context: MeterContext) -> None:
    board = examine(with_boards(context, Drawing(FakeBoard())), ["nvml"], duration_s=0.3, period_s=0.05)
    assert board.answers(["nvml"]) and board.answers([])
    absent = examine(context, ["nvml", "declared:idle=60W,busy=180W"], duration_s=0.3, period_s=0.05)
    assert not absent.answers(["nvml", "declared:idle=60W,busy=180W"])
    model = examine(context, ["declared:idle=60W,busy=180W"], duration_s=0.3, period_s=0.05)
    assert model.answers(["declared:idle=60W,busy=180W"]) and not model.answers([])


def test_metering_costs_less_than_one_percent_of_a_core(context: MeterContext) -> None:
    """Eight boards and two packages at the default ten reads a second; the fake library costs what Python costs."""
    for i in (0, 1):
        rapl_zone(context.sysfs, f"intel-rapl:{i}", f"package-{i}", 1.0)
        rapl_zone(context.sysfs, f"intel-rapl:{i}:0", "dram", 1.0)
    boards = [FakeBoard(uuid=f"GPU-{i}") for i in range(8)]
    meters = open_meters(["nvml", "rapl"], with_boards(context, FakeNvml(*boards)))
    readings: list[object] = []
    sampler = Sampler(meters, 0.1, readings.extend)
    sampler.start()
    time.sleep(1.0)
    sampler.stop()
    assert len(readings) > 8 * (8 * 3 + 4)
    assert sampler.cost().core_ratio is not None
    # The work itself, read after read: some virtual machines bill a thread a millisecond for each wake-up.
    start_s, reads = time.thread_time(), 50
    for _ in range(reads):
        for meter in meters:
            readings.extend(meter.read())
    assert (time.thread_time() - start_s) / reads * 10.0 < 0.01
