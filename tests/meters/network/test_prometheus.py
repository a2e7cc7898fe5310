from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.energy import window_energy
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import Reading
from joulemill.ledger.trace import trace
from joulemill.meters.meter import Clock, MeterContext
from joulemill.meters.opening import open_meters
from tests.support.lateness import asked_beside
from tests.support.programs import eventually, free_port, running
from tests.support.surroundings import HandClock, rapl_zone
from tests.support.web import Request, Web

BOARD = 'gpu="0",UUID="GPU-a",Hostname="gpu1"'


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def context(told: list[str]) -> MeterContext:
    return MeterContext(notice=told.append, environ={})


def dcgm(energy_j: float, power_w: float) -> str:
    return (
        f"# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).\nDCGM_FI_DEV_POWER_USAGE{{{BOARD}}} {power_w}\n"
        f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{BOARD}}} {energy_j * 1e3:.0f}\n"
    )


def test_a_page_that_moves(web: Web, context: MeterContext, told: list[str]) -> None:
    begin = time.monotonic()
    web.pages["/metrics"] = lambda _: (200, {}, dcgm(1000 + 300 * (time.monotonic() - begin), 300.0))
    meter = open_meters([f"prometheus:{web.url}/metrics"], context)[0]
    by_id = {c.id: c for c in meter.channels()}
    assert set(by_id) == {"dcgm:GPU-a:power", "dcgm:GPU-a:energy"}
    assert by_id["dcgm:GPU-a:energy"].update_period_s is None
    assert by_id["dcgm:GPU-a:energy"].clock_skew_s < 0.5
    reading = next(r for r in meter.read() if r.channel == "dcgm:GPU-a:energy")
    assert reading.value == pytest.approx(1000 + 300 * (reading.t_mono_s - begin), abs=30)
    assert told == []
    meter.close()


def test_a_page_that_stands_still_has_the_default_interval_and_it_is_told(
    web: Web, context: MeterContext, told: list[str]
) -> None:
    web.pages["/metrics"] = dcgm(1000, 300)
    hand = HandClock()
    meter = open_meters([f"prometheus:{web.url}"], replace(context, clock=hand.clock))[0]
    assert {c.update_period_s for c in meter.channels()} == {30.0}
    assert len(told) == 1 and "--collect-interval" in told[0]


def stamped_page(web: Web, ahead_s: float, date: bool = True) -> dict[str, float]:
    """A page whose samples are two seconds old, of a host whose clock is ``ahead_s`` ahead; it can be set."""
    shown = {"t": time.time() - 2.0, "w": 300.0}

    def page(_: Request) -> tuple[int, dict[str, str], str]:
        headers = {"Date": formatdate(time.time() + ahead_s, usegmt=True) if date else ""}
        return 200, headers, f"DCGM_FI_DEV_POWER_USAGE{{{BOARD}}} {shown['w']} {1e3 * (shown['t'] + ahead_s):.0f}\n"

    web.pages["/metrics"] = page
    return shown


def test_a_sample_with_a_time_of_its_own_keeps_it_and_is_read_once(web: Web, context: MeterContext) -> None:
    shown = stamped_page(web, 3600.0)
    meter = open_meters([f"prometheus:{web.url}/metrics"], context)[0]
    assert 0.5 <= meter.channels()[0].clock_skew_s < 1.0
    first = meter.read()[0]
    assert first.t_wall_s == pytest.approx(shown["t"], abs=0.6)  # an hour ahead, known to half a second by its Date
    assert first.t_mono_s - time.monotonic() == pytest.approx(first.t_wall_s - time.time(), abs=0.3)
    assert meter.read() == ()
    shown.update(t=shown["t"] + 1.5, w=200.0)
    again = meter.read()[0]
    assert again.value == 200.0 and again.t_mono_s - first.t_mono_s == pytest.approx(1.5, abs=0.3)


def test_a_stamping_exporter_without_date_has_a_clock_that_nobody_knows(web: Web, context: MeterContext) -> None:
    stamped_page(web, 0.0, date=False)
    assert open_meters([f"prometheus:{web.url}/metrics"], context)[0].channels()[0].clock_skew_s is None


def test_thirty_seconds_of_collect_interval_refuse_or_widen_a_short_window(web: Web, context: MeterContext) -> None:
    """The exporter looks every 30 s while 300 W flow; we scrape every second for a window of 60 s and one of 15 min."""
    hand = HandClock()

    def page(_: Request) -> Any:
        return 200, {}, dcgm(300.0 * 30.0 * int(hand.now_s / 30.0), 300.0)

    web.pages["/metrics"] = page
    meter = open_meters([f"prometheus:{web.url}"], replace(context, clock=hand.clock))[0]
    hand.pass_s(30.0 - hand.now_s % 30.0 + 15.0)  # in the middle between two looks, so opening saw no change
    readings: list[Reading] = []
    for _ in range(1200):
        readings += [r for r in meter.read() if r.channel == "dcgm:GPU-a:energy"]
        hand.pass_s(1.0)
    channel = next(c for c in meter.channels() if c.id == "dcgm:GPU-a:energy")
    whole = trace(channel, readings)
    start = readings[100].t_mono_s
    short = window_energy(whole, start, start + 59.0)
    assert short.energy_j is None or (short.half_width_j or 0.0) > 0.1 * 300 * 60
    long = window_energy(whole, start, start + 900.0)
    assert long.energy_j == pytest.approx(300 * 900, abs=long.half_width_j or 0.0)
    assert (long.half_width_j or 0) < 0.2 * 300 * 900


def test_a_boards_counter_that_goes_down_refuses_the_window_it_fell_in(web: Web, context: MeterContext) -> None:
    """The driver was reloaded: the counter begins anew. Nothing is taken off, nothing made up."""
    hand = HandClock()
    since = hand.now_s

    def page(_: Request) -> Any:
        passed = hand.now_s - since
        return 200, {}, dcgm(1e5 + 300.0 * passed if passed < 60.0 else 300.0 * (passed - 60.0), 300.0)

    web.pages["/metrics"] = page
    meter = open_meters([f"prometheus:{web.url}"], replace(context, clock=hand.clock))[0]
    readings: list[Reading] = []
    for _ in range(150):
        readings += [r for r in meter.read() if r.channel == "dcgm:GPU-a:energy"]
        hand.pass_s(1.0)
    channel = replace(next(c for c in meter.channels() if c.id == "dcgm:GPU-a:energy"), update_period_s=1.0)
    whole, first = trace(channel, readings), readings[0].t_mono_s
    fell = window_energy(whole, first + 30.0, first + 90.0)
    assert fell.energy_j is None and any(f.code is Reason.RESET and f.fatal for f in fell.findings)
    after = window_energy(whole, first + 70.0, first + 130.0)
    assert after.energy_j == pytest.approx(300.0 * 60.0, rel=0.02)


def test_an_exporter_that_goes_away_is_error_readings(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = "ipmi_dcmi_power_consumption_watts 350\n"
    meter = open_meters([f"prometheus:{web.url}"], context)[0]
    assert [r.value for r in meter.read()] == [350.0]
    web.pages["/metrics"] = "other 1\n"
    assert "no longer shows" in (meter.read()[0].error or "")
    web.pages["/metrics"] = "<html>oops</html>"
    assert "line 1" in (meter.read()[0].error or "")
    del web.pages["/metrics"]
    assert "HTTP 404" in (meter.read()[0].error or "")
    web.pages["/metrics"] = "ipmi_dcmi_power_consumption_watts 360\n"
    assert [r.value for r in meter.read()] == [360.0]


def test_credentials_come_from_the_environment_only(web: Web, context: MeterContext) -> None:
    def guarded(request: Request) -> Any:
        ok = request.headers.get("Authorization") == "Bearer s3cret"
        return (200, {}, "ipmi_dcmi_power_consumption_watts 350\n") if ok else (401, {}, "no")

    web.pages["/metrics"] = guarded
    with pytest.raises(MachineError, match=r"HTTP 401.*JOULEMILL_PROMETHEUS_TOKEN"):
        open_meters([f"prometheus:{web.url}"], context)
    allowed = replace(context, environ={"JOULEMILL_PROMETHEUS_TOKEN": "s3cret"})
    assert open_meters([f"prometheus:{web.url}"], allowed)[0].read()[0].value == 350.0
    with pytest.raises(InputError, match="holds a password"):
        open_meters(["prometheus:http://me:secret@127.0.0.1:1/metrics"], context)


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("prometheus", InputError, "say where"),
        ("prometheus:ftp://x", InputError, "is not an address"),
        ("prometheus:http://127.0.0.1:9/metrics", MachineError, "cannot be read.*is it running"),
        ("prometheus:http://127.0.0.1:9/metrics,dialect=x", InputError, "no exporter dialect"),
        ("prometheus:http://127.0.0.1:9/metrics,where=job", InputError, "LABEL:VALUE"),
        ("prometheus:http://127.0.0.1:9/metrics,dialct=x", InputError, "no option dialct"),
    ],
)
def test_bad_input(context: MeterContext, spec: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        open_meters([spec], context)


def test_an_expected_count_is_checked(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = lambda _: (200, {}, dcgm(time.monotonic(), 300.0))
    assert open_meters([f"prometheus:{web.url},count=1"], context)[0].channels()
    with pytest.raises(MachineError, match="8 devices expected, 1 shown"):
        open_meters([f"prometheus:{web.url},count=8"], context)


def test_a_page_without_power_says_so(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = "go_goroutines 7\n"
    with pytest.raises(MachineError, match="shows no power or energy"):
        open_meters([f"prometheus:{web.url}/metrics"], context)


def test_a_sites_prefix_is_taken_off(web: Web, context: MeterContext) -> None:
    web.pages["/metrics"] = 'amd_gpu_package_power{gpu_id="0"} 500\ngpu_package_power{gpu_id="1"} 1\n'
    meter = open_meters([f"prometheus:{web.url},prefix=amd_"], context)[0]
    assert [(r.channel, r.value) for r in meter.read()] == [("amd:gpu-0:power", 500.0)]


class FakeServer:
    """Prometheus's HTTP API with a clock of its own that is ``ahead_s`` before ours; one sample a second."""

    def __init__(self, hand: HandClock, ahead_s: float) -> None:
        self.hand, self.ahead_s = hand, ahead_s
        self.down = False

    def __call__(self, request: Request) -> Any:
        if self.down:
            return 503, {}, "down"
        query = parse_qs(urlsplit(request.path).query)["query"][0]
        now = self.hand.wall() + self.ahead_s
        if query == "time()":
            return self._ok([now, str(now)])
        range_s = int(query.rsplit("[", 1)[1].rstrip("s]"))
        times = [t for t in range(int(now) - range_s, int(now) + 1) if t > now - range_s]
        rows = [
            {
                "metric": {"__name__": "ipmi_dcmi_power_consumption_watts", "instance": h, "job": "bmc"},
                "values": [[t, str(watt + t % 10)] for t in times],
            }
            for h, watt in (("a:9290", 300), ("b:9290", 500))
        ]
        return self._ok(rows if query.startswith("{__name__=~") else [])

    @staticmethod
    def _ok(result: Any) -> Any:
        return 200, {}, {"status": "success", "data": {"resultType": "x", "result": result}}


def test_a_servers_samples_keep_their_times_on_our_clock(web: Web, context: MeterContext) -> None:
    hand = HandClock(step_s=0.001)
    web.pages["/prom/api/v1/query"] = FakeServer(hand, ahead_s=40.0)
    meter = open_meters([f"prometheus:{web.url}/prom"], replace(context, clock=hand.clock))[0]
    assert {c.id for c in meter.channels()} == {"ipmi:a:9290/bmc:power", "ipmi:b:9290/bmc:power"}
    assert {c.update_period_s for c in meter.channels()} == {1.0}
    assert all(c.clock_skew_s < 0.01 for c in meter.channels())
    first = meter.read()
    now_wall, now_mono = hand.wall(), hand.mono()
    newest = max(r.t_wall_s for r in first)
    assert now_wall - 1.1 < newest <= now_wall
    assert all(r.t_wall_s - r.t_mono_s == pytest.approx(now_wall - now_mono, abs=0.01) for r in first)
    hand.pass_s(3.0)
    again = [r for r in meter.read() if r.channel.startswith("ipmi:a")]
    assert len(again) == 3 and {r.t_wall_s for r in again}.isdisjoint({r.t_wall_s for r in first})
    theirs = [round(r.t_wall_s + 40.0) for r in again]
    assert [r.value for r in again] == [300 + t % 10 for t in theirs]


def test_a_server_that_is_down_is_error_readings_and_no_sample_is_lost(web: Web, context: MeterContext) -> None:
    hand = HandClock(step_s=0.001)
    fake = FakeServer(hand, ahead_s=0.0)
    web.pages["/api/v1/query"] = fake
    meter = open_meters([f"prometheus:{web.url}"], replace(context, clock=hand.clock))[0]
    last = max(r.t_wall_s for r in meter.read())
    fake.down = True
    hand.pass_s(5.0)
    assert all(r.value is None and "503" in (r.error or "") for r in meter.read())
    fake.down = False
    hand.pass_s(5.0)
    got = sorted(r.t_wall_s for r in meter.read() if r.channel.startswith("ipmi:a"))
    assert got[0] - last == pytest.approx(1.0, abs=0.01)
    assert len(got) == 10


# --- the real programs -------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("prometheus-node-exporter") is None, reason="needs Debian's prometheus-node-exporter")
def test_against_the_real_node_exporter(tmp_path: Path, context: MeterContext) -> None:
    """Its own reading of a RAPL tree gives our channels: 100 J packages, 10 J DRAM, no psys."""
    for zone, name, joules in [
        ("0", "package-0", 100),
        ("0:0", "dram", 10),
        ("1", "psys", 160),
        ("2", "package-1", 90),
    ]:
        rapl_zone(tmp_path / "sys", f"intel-rapl:{zone}", name, joules)
    port = free_port()
    listen = (f"--web.listen-address=127.0.0.1:{port}", f"--path.sysfs={tmp_path / 'sys'}")
    with running("prometheus-node-exporter", *listen, "--collector.disable-defaults", "--collector.rapl"):
        meter = eventually(lambda: open_meters([f"prometheus:http://127.0.0.1:{port}/metrics"], context)[0])
        values = {r.channel: r.value for r in meter.read()}
        meter.close()
    assert sorted(v for v in values.values() if v is not None) == [10.0, 90.0, 100.0]
    assert not any("psys" in c for c in values)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus")
def test_against_a_real_prometheus_server(web: Web, tmp_path: Path, context: MeterContext) -> None:
    """It scrapes our exporter page, whose counter runs at 300 W; we ask it and the ledger finds 300 W."""
    begin = time.monotonic()
    web.pages["/metrics"] = lambda _: (
        200,
        {"Content-Type": "text/plain; version=0.0.4"},
        dcgm(300 * (time.monotonic() - begin), 300.0),
    )
    target = web.url.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
        "scrape_configs": [{"job_name": "gpu", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    arguments = (f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}")
    readings: list[Reading] = []
    with running("prometheus", *arguments, f"--web.listen-address=127.0.0.1:{port}"), asked_beside(web.url) as late:
        spec = f"prometheus:http://127.0.0.1:{port},where=job:gpu"
        eventually(lambda: open_meters([spec], context)[0]).close()
        time.sleep(3)
        meter = open_meters([spec], context)[0]
        channel = next(c for c in meter.channels() if c.id == "dcgm:GPU-a:energy")
        for _ in range(6):
            readings += [r for r in meter.read() if r.channel == channel.id]
            time.sleep(1.0)
        meter.close()
    assert channel.update_period_s == pytest.approx(0.5, abs=0.1)
    assert channel.clock_skew_s < 0.2
    used = window_energy(trace(channel, readings), readings[1].t_mono_s, readings[-1].t_mono_s)
    # Prometheus dates a sample by when it asked; the page counts when it answers. Neighbors keep it from answering.
    span_s = readings[-1].t_mono_s - readings[1].t_mono_s
    assert used.power_w == pytest.approx(300.0, rel=0.03 + 2 * late.worst_s / span_s)
    lag = [r.t_mono_s - begin - (r.value or 0.0) / 300 for r in readings]
    assert all(abs(x) < 0.3 + late.worst_s for x in lag)


@pytest.mark.parametrize("moment", ["99999999999999999", "1000", "9e300", "-5"])
def test_a_sample_that_is_dated_years_away_is_unknown_and_the_next_one_is_read(
    web: Web, context: MeterContext, moment: str
) -> None:
    page = {"t": moment}
    web.pages["/metrics"] = lambda _: (200, {}, f"DCGM_FI_DEV_POWER_USAGE{{{BOARD}}} 300.5 {page['t']}\n")
    meter = open_meters([f"prometheus:{web.url}/metrics"], replace(context, clock=Clock(sleep=lambda _: None)))[0]
    (reading,) = meter.read()
    assert reading.value is None and "from now" in (reading.error or "") and abs(reading.t_wall_s - time.time()) < 60
    page["t"] = f"{time.time() * 1e3:.0f}"
    assert [r.value for r in meter.read()] == [300.5]
