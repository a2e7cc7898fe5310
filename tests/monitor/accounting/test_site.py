"""A site's own meters: stretches on a clock that we set, real files, a simulated PDU, and the alert that they feed."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.closing import let_go
from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.accounting.site import MeteredSites, SiteMeters
from joulemill.monitor.config import MonitorConfig, SiteConfig
from joulemill.monitor.history.reader import Reader
from joulemill.monitor.history.store import History
from joulemill.monitor.history.writer import HistoryWriter
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import SiteState, Snapshot
from tests.support.paths import ROOT
from tests.support.watched_server import Server

RULES = ROOT / "rules" / "joulemill.rules.yml"


class Counter:
    def __init__(self, scope: Scope, device: str = "X") -> None:
        self.channel = Channel(
            id=f"{device}:e",
            meter=device,
            device=device,
            scope=scope,
            quantity=Quantity.ENERGY,
            basis=Basis.MEASURED,
            rel_error=0.01,
        )

    def channels(self) -> tuple[Channel, ...]:
        return (self.channel,)

    def read(self) -> tuple[Reading, ...]:
        return ()

    def close(self) -> None:
        pass


def fed(scope: Scope, watts: float, until_s: int, skip: Callable[[int], bool] = lambda _: False) -> TargetMeters:
    meters = TargetMeters([Counter(scope)], 1.0, 1e4)
    meters.take([Reading("X:e", float(t), t, watts * t) for t in range(until_s + 1) if not skip(t)])
    return meters


def facility(site: TargetMeters, period_s: float = 60.0) -> SiteMeters:
    return SiteMeters(SiteConfig(name="hall", meters=("x",)), site, period_s)


def test_a_stretch_waits_for_its_readings_and_its_joules_are_of_the_same_time() -> None:
    site = facility(fed(Scope.SITE, 1300.0, 70))
    nodes = {"a": fed(Scope.NODE, 600.0, 70), "b": fed(Scope.NODE, 400.0, 65)}
    assert site.next(5.0, nodes) is None  # begins
    assert site.next(60.0, nodes) is None
    stretch = site.next(65.5, nodes)
    assert stretch is not None and stretch.duration_s == pytest.approx(60)
    assert stretch.energy["site"].energy_j == pytest.approx(1300 * 60) and stretch.it is not None
    assert stretch.it.energy_j == pytest.approx(1000 * 60)
    assert stretch.pue.value == pytest.approx(1.3) and stretch.pue.basis is Basis.MEASURED
    # 1 % of each side and the edges between two reads: never narrower than the meters' own errors
    assert stretch.pue.low < 1.3 * 0.99 / 1.01 and 1.3 * 1.01 / 0.99 < stretch.pue.high < 1.36
    site.add(stretch)
    assert site.state().energy_j == {("site", "measured"): pytest.approx(78_000)}
    assert site.pue(100.0).known and "too long ago" in (site.pue(65.0 + 301.0).reason or "")


def test_a_stretch_that_is_cut_short_is_counted_and_does_not_hide_the_whole_one_before() -> None:
    site, nodes = facility(fed(Scope.SITE, 1300.0, 70)), {"a": fed(Scope.NODE, 1000.0, 68)}
    site.next(5.0, nodes)
    whole = site.next(65.5, nodes)
    assert whole is not None
    site.add(whole)
    rest = site.next(70.4, nodes, at_once=True)
    assert rest is not None and rest.duration_s == pytest.approx(3.0)  # until all have told, 68 s
    assert rest.pue.value == pytest.approx(1.3)
    site.add(rest)
    assert site.latest is whole and site.state().energy_j["site", "measured"] == pytest.approx(1300 * 63)
    assert site.next(70.5, nodes, at_once=True) is not None  # the node has no more to tell; the site's own joules count
    assert site.next(70.6, nodes, at_once=True) is None


def test_a_hole_a_newcomer_and_one_that_left_are_no_pue() -> None:
    hole = facility(fed(Scope.SITE, 1300.0, 130))
    power = TargetMeters([Counter(Scope.NODE)], 1.0, 1e4)
    power.take([Reading("X:e", float(t), t, 1000.0 * t if t < 30 else None) for t in range(131)])
    hole.next(0.0, {"a": power})
    assert hole.next(62.0, {"a": power}) is None  # its reading may still come
    stretch = hole.next(66.0, {"a": power})
    assert stretch is not None and stretch.it is None and "a is not metered all of the time" in stretch.pue.reason
    assert stretch.energy["site"].energy_j == pytest.approx(78_000)  # what is known is told
    moved = facility(fed(Scope.SITE, 1300.0, 190))
    one, two = {"a": fed(Scope.NODE, 500.0, 190)}, {n: fed(Scope.NODE, 500.0, 190) for n in "ab"}
    moved.next(0.0, one)
    for members, at, told in ((two, 61.0, "came or went"), (two, 121.0, None), (one, 181.0, "came or went")):
        stretch = moved.next(at, members)
        assert stretch is not None
        assert stretch.pue.value == pytest.approx(1.3) if told is None else told in stretch.pue.reason


def known(hall: SiteState) -> bool:
    return hall.latest is not None and hall.latest.pue.known


def twice(hall: SiteState) -> bool:
    """A second stretch after a known one: targets' intervals had its PUE meanwhile."""
    return known(hall) and hall.latest is not None and hall.latest.end_s - hall.since_s > 4.5


@contextmanager
def written(folder: Path, **watts: float) -> Iterator[None]:
    """A CSV file for each name, to which a power is added twenty times a second."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for name, w in watts.items():
                with (folder / f"{name}.csv").open("a") as file:
                    file.write(f"{time.time():.6f},{w}\n")
            stop.wait(0.05)

    for name, w in watts.items():
        (folder / f"{name}.csv").write_text(f"t,p\n{time.time():.6f},{w}\n")
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def spec(folder: Path, name: str, scope: str) -> str:
    return f"file:{folder / name}.csv,value=p,unit=W,scope={scope},device={name},error=1%,skew=0s"


def config(folder: Path, url: str, site: list[str], nodes: list[str], **more: object) -> MonitorConfig:
    hall = {"name": "hall", "pue_ratio": 1.5, "carbon_g_kwh": 360.0, "meters": site, **more}
    targets = [
        {"name": n, "model": "m", "site": "hall", "metrics_url": url, "meters": [spec(folder, n, "node")]}
        for n in nodes
    ]
    return MonitorConfig.model_validate(
        {"period_s": 0.3, "meter_period_s": 0.1, "site_period_s": 1.5, "site": [hall], "target": targets}
    )


def seen(
    made: Callable[[str], MonitorConfig], enough: Callable[[SiteState], bool], keeper: HistoryWriter | None = None
) -> Snapshot:
    """The monitor's snapshot once it has seen enough of the hall, or after a while."""
    from aiohttp import web

    async def run() -> Snapshot:
        app, server = web.Application(), Server()
        app.router.add_get("/metrics", server.page)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monitor = Monitor(made(f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"), keeper)
        stop = asyncio.Event()
        task = asyncio.create_task(monitor.run(stop))
        until, now = time.monotonic() + 120.0, monitor.snapshot()
        while time.monotonic() < until and not enough(now.metered[0]):
            server.output += 7
            await asyncio.sleep(0.3)
            now = monitor.snapshot()
        stop.set()
        await task
        await runner.cleanup()
        return now

    return asyncio.run(run())


def test_files_of_a_site_and_two_nodes_give_its_pue_and_site_joules_of_every_target(tmp_path: Path) -> None:
    store = History.open(tmp_path / "h.db")
    keeper = HistoryWriter(store)
    with written(tmp_path, feed=1560.0, rack=1250.0, a=700.0, b=500.0):
        meters = [spec(tmp_path, "feed", "site"), spec(tmp_path, "rack", "rack")]
        now = seen(lambda url: config(tmp_path, url, meters, ["a", "b"]), twice, keeper)
    keeper.close()
    hall = now.site_state("hall")
    assert hall is not None and hall.latest is not None
    assert hall.latest.pue.value == pytest.approx(1.3, rel=1e-3) and hall.latest.pue.basis is Basis.MEASURED
    assert hall.latest.pue.low < 1.3 < hall.latest.pue.high < 1.4
    assert hall.latest.energy["rack"].energy_j / hall.latest.duration_s == pytest.approx(1250, rel=1e-3)
    target = now.targets[0].latest
    assert target is not None and target.energy["site"].basis == "measured"
    assert target.energy["site"].energy_j == pytest.approx(1.3 * target.energy["node"].energy_j, rel=1e-3)
    assert {m.meter.split(":")[1] for m in now.meters if m.target is None} == {"feed", "rack"}
    page = exposed(now)
    assert page['joulemill_site_pue_ratio{basis="measured",site="hall"}'] == pytest.approx(1.3, rel=1e-3)
    assert page['joulemill_site_pue_ratio{basis="declared",site="hall"}'] == 1.5
    _holds(tmp_path, hall, store)


def _holds(folder: Path, hall: SiteState, store: History) -> None:
    """The store has the same: the hour's PUE as a ratio of sums, and where a restart goes on."""
    names, rows = Reader(folder / "h.db").sql(
        "SELECT sum(site_j) / sum(it_j), sum(known_s) FROM site_pue WHERE length_s = 3600"
    )
    assert names and rows[0][0] == pytest.approx(1.3, rel=1e-3) and rows[0][1] >= 1.4
    kept = store.site_totals()["hall"]
    assert kept.energy_j["site", "measured"] >= hall.energy_j["site", "measured"] > 0
    assert Reader(folder / "h.db").tables()["site_stretch"] >= 2
    again = MeteredSites(store.site_totals())
    fresh = facility(fed(Scope.SITE, 1.0, 9))
    again.go_on({"hall": fresh})
    assert fresh.state().energy_j == kept.energy_j and fresh.since_s == kept.since_s


@pytest.mark.parametrize(
    ("site", "told"),
    [
        ({"meters": ["a,as=room"]}, "as=room is not known"),
        ({"meters": ["a"]}, "meters a node; a site's meters are of scope rack or site"),
        ({"meters": ["a,as=site", "b,as=site"]}, r"name 2 things \(a, b\); say feeds_count = N"),
        ({"meters": ["a,as=site"], "feeds_count": 2}, "name 1 things"),
        ({"meters": ["auto"]}, "read no power"),
    ],
)
def test_meters_that_are_not_clearly_a_sites_are_refused(tmp_path: Path, site: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told), written(tmp_path, a=100.0, b=60.0):
        MeteredSites().opened(_hall(tmp_path, **site))


def test_feeds_add_up_where_it_is_said_and_racks_always(tmp_path: Path) -> None:
    with written(tmp_path, a=100.0, b=60.0, c=7.0, d=3.0):
        meters = ["a,as=site", "b,as=site", "c,as=rack", "d,as=rack"]
        every = MeteredSites()
        every.go_on(every.opened(_hall(tmp_path, meters=meters, feeds_count=2)))
        every.start()
        (hall,) = every
        found, expected = {}, {"site": pytest.approx(160), "rack": pytest.approx(10)}
        until = time.monotonic() + 60.0
        while time.monotonic() < until and found != expected:  # once half a second of samples lies a second back
            time.sleep(0.1)
            end = time.monotonic() - 1.0
            found = {s: (e.energy_j or 0.0) / 0.5 for s, e in hall.meters.energy(end - 0.5, end).items()}
        let_go(f.meters for f in every)
    assert found == expected
    assert every.opened(_hall(tmp_path, meters=meters, feeds_count=2)) == {"hall": hall}  # as it stands, it goes on


def _hall(folder: Path, **site: Any) -> MonitorConfig:
    meters = []
    for text in site.pop("meters"):
        name, comma, rest = text.partition(",")
        meters.append(text if name == "auto" else spec(folder, name, "node") + comma + rest)
    config = {"site": [{"name": "hall", "meters": meters, **site}], "meter_period_s": 0.1, "site_period_s": 0.5}
    return MonitorConfig.model_validate({**config, "target": [{"name": "t", "model": "m", "metrics_url": "http://x/"}]})


def exposed(now: Snapshot) -> dict[str, float]:
    """Samples of /metrics by name and labels, sorted."""
    pytest.importorskip("prometheus_client", reason="the monitor extra is not installed")
    from prometheus_client.parser import text_string_to_metric_families

    from joulemill.monitor.web.metrics import page

    def named(labels: dict[str, str]) -> str:
        return ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()))

    return {
        f"{s.name}{{{named(s.labels)}}}": s.value
        for family in text_string_to_metric_families(page(now).decode())
        for s in family.samples
    }


def test_a_target_that_nobody_meters_leaves_the_declared_pue_standing(tmp_path: Path) -> None:
    with written(tmp_path, feed=1560.0, a=700.0):
        meters = [spec(tmp_path, "feed", "site")]

        def made(url: str) -> MonitorConfig:
            full = config(tmp_path, url, meters, ["a"])
            bare = full.target[0].model_copy(update={"name": "bare", "meters": ()})
            return full.model_copy(update={"target": (*full.target, bare)})

        now = seen(made, lambda hall: hall.latest is not None and bool(hall.latest.energy))
    hall = now.site_state("hall")
    assert hall is not None and hall.latest is not None and hall.latest.pue.value is None
    assert "bare has no meter of its whole node" in (hall.latest.pue.reason or "")
    assert hall.latest.energy["site"].energy_j > 0  # the site's power is known all the same
    of_a = {t.facts.target: t for t in now.targets}["a"].latest
    assert of_a is not None and of_a.energy["site"].basis == "modelled"
    assert of_a.energy["site"].energy_j == pytest.approx(1.5 * of_a.energy["node"].energy_j)
    page = exposed(now)
    assert [k for k in page if k.startswith("joulemill_site_pue_ratio")] == [
        'joulemill_site_pue_ratio{basis="declared",site="hall"}'
    ]


def test_a_pdu_over_snmp_is_the_site(agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEMILL_SNMP_COMMUNITY", "s3cret")
    with written(tmp_path, a=3500.0):
        meters = [f"snmp:{agent},pdu=raritan,inlet=1,scope=site"]
        now = seen(lambda url: config(tmp_path, url, meters, ["a"]).model_copy(update={"site_period_s": 3.0}), known)
    hall = now.site_state("hall")
    assert hall is not None and hall.latest is not None
    assert "site" in hall.latest.energy, (hall.latest, now.meters)
    assert hall.latest.energy["site"].energy_j / hall.latest.duration_s == pytest.approx(4200, rel=1e-3)
    assert hall.latest.pue.value == pytest.approx(1.2, rel=2e-3) and hall.latest.pue.basis is Basis.MEASURED


def test_the_alert_on_drift_is_fed_by_what_is_exposed(tmp_path: Path) -> None:
    """The very series that a metered site exposes, for eight days, and then 8 % higher: promtool fires PueDrift."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    site = facility(fed(Scope.SITE, 1300.0, 70))
    nodes = {"a": fed(Scope.NODE, 1000.0, 70)}
    site.next(0.0, nodes)
    stretch = site.next(66.0, nodes)
    assert stretch is not None
    site.add(stretch)
    from joulemill.monitor.snapshot import SiteFacts

    page = exposed(
        Snapshot(
            at_s=0.0, targets=(), meters=(), sites=(SiteFacts(site="hall", pue_ratio=1.1),), metered=(site.state(),)
        )
    )
    series = {k: v for k, v in page.items() if k.startswith("joulemill_site_pue_ratio")}
    assert len(series) == 2
    # The declared one jumps too, at day four: nobody measured that, so it must not fire.
    moves = {k: f"{v}x2304 {1.08 * v}x48" if "measured" in k else "1.1x1152 1.9x1200" for k, v in series.items()}
    summary = "hall: measured PUE differs by more than 5 % from the last seven days"
    labels = {"severity": "warning", "site": "hall", "basis": "measured"}
    fires = [{"exp_labels": labels, "exp_annotations": {"summary": summary}}]
    expected = [
        {"eval_time": t, "alertname": "PueDrift", "exp_alerts": e} for t, e in (("11500m", []), ("11620m", fires))
    ]
    inputs = [{"series": k, "values": v} for k, v in moves.items()]
    tests = [{"interval": "5m", "input_series": inputs, "alert_rule_test": expected}]
    document = {"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": tests}
    (tmp_path / "pue.test.yml").write_text(yaml.safe_dump(document))
    told = subprocess.run([tool, "test", "rules", str(tmp_path / "pue.test.yml")], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_site_and_a_target_cannot_read_the_same_meter(tmp_path: Path) -> None:
    with written(tmp_path, feed=100.0), pytest.raises(InputError, match="two meters read the same thing"):
        Monitor(config(tmp_path, "http://x/", [spec(tmp_path, "feed", "site")], ["feed"]))


def test_the_verb_tells_a_metered_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        f'period_s = 0.3\nmeter_period_s = 0.1\nsite_period_s = 1.0\n[[site]]\nname = "hall"\n'
        f'meters = ["{spec(tmp_path, "feed", "site")}"]\n'
        f'[[target]]\nname = "a"\nmodel = "m"\nsite = "hall"\nmetrics_url = "http://127.0.0.1:9/metrics"\n'
    )
    (tmp_path / "c.toml").write_text(text)
    with written(tmp_path, feed=1560.0):
        main(["monitor", str(tmp_path / "c.toml"), "--for", "3s"])
    shown = capsys.readouterr().out
    assert "hall: 1560.0 W site (measured, ± " in shown
    assert "PUE unknown: its IT energy is not known: a has no meter of its whole node" in shown
