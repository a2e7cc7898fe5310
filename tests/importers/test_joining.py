"""A power file joined by wall time: joules by hand, and files that are not of the run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from joulemill.analysis.run import analyze
from joulemill.catalog.stated_device import stated_device
from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.importers.joining import AddedFacts
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from joulemill.ledger.account import account
from joulemill.ledger.findings import Reason
from joulemill.ledger.manifest import StatedDevice
from joulemill.ledger.record import Scope
from tests.support import foreign_results


def test_a_wall_meter_gives_joules_per_token(tmp_path: Path) -> None:
    """105 W over 42 tok/s is 2.5 J a token; the ends of the window hold the first request's wait."""
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    meter = tmp_path / "wall.csv"
    meter.write_text(foreign_results.power_csv(watts=105.0))
    record = import_files([results], Choice(), f"{meter},value=watts,unit=W")
    assert len(record.readings) == 80
    assert record.readings[10].t_mono_s == pytest.approx(0.0, abs=1e-5), "the origin is the first request's sending"
    report = analyze(record)
    assert report.power.node_w.value == pytest.approx(105.0, rel=1e-3)
    node = report.energy.node_j_tok
    assert node.basis is Basis.MEASURED
    assert node.value == pytest.approx(105.0 / (report.output.rate_tok_s.value or 0), rel=1e-3)
    assert node.value == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize(
    ("off_s", "says"),
    [
        (3600.0, "of another time zone, by -1 h, or not of the same run"),
        (-5.5 * 3600, "of another time zone, by .5.5 h"),
        (-300.0, "s: not of the same run, or cut$"),
        (40 * 3600.0, "s: not of the same run, or cut$"),
    ],
)
def test_a_meter_of_another_time_is_refused_and_a_zone_named_only_where_it_explains_it(
    tmp_path: Path, off_s: float, says: str
) -> None:
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    meter = tmp_path / "wall.csv"
    meter.write_text(foreign_results.power_csv(begin_s=foreign_results.ORIGIN_S + off_s))
    with pytest.raises(InputError, match=says):
        import_files([results], Choice(), f"{meter},value=watts,unit=W")


def test_a_meter_that_lost_the_load_names_its_bad_lines(tmp_path: Path) -> None:
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    meter = tmp_path / "wall.csv"
    meter.write_text(foreign_results.power_csv(begin_s=foreign_results.ORIGIN_S - 300) + "gone\n")
    with pytest.raises(InputError, match=r"not of the same run, or cut; .*a line is left out"):
        import_files([results], Choice(), f"{meter},value=watts,unit=W")


def test_a_summary_cannot_be_joined(tmp_path: Path) -> None:
    summary = foreign_results.write_json(tmp_path / "s", foreign_results.aiperf_summary())
    meter = tmp_path / "wall.csv"
    meter.write_text(foreign_results.power_csv())
    with pytest.raises(InputError, match="no wall-clock times"):
        import_files([summary], Choice(), f"{meter},value=watts,unit=W")


def test_what_the_user_adds_stands_in_the_record(tmp_path: Path) -> None:
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    added = AddedFacts(device=StatedDevice(name="h100-sxm", kind="gpu", count=2), model="own")
    manifest = import_files([results], Choice(), None, added).manifest
    assert manifest.device_count == 2 and manifest.model is not None and manifest.model.name == "own"
    assert manifest.created_wall_s == foreign_results.ORIGIN_S


def test_boards_without_identity_count_only_where_one_is_stated(tmp_path: Path) -> None:
    """A default of one board is nobody's word: evenly spaced rows may be of two boards that are read in turn."""
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    log = tmp_path / "smi.csv"
    stamps = (datetime.fromtimestamp(foreign_results.ORIGIN_S - 1.0 + n / 10, UTC) for n in range(80))
    rows = "".join(f"{stamp:%Y/%m/%d %H:%M:%S.%f}"[:-3] + ", 105.00 W\n" for stamp in stamps)
    log.write_text("timestamp, power.draw [W]\n" + rows)
    joules = {}
    for text in ("h100", "h100:1", "h100:2"):
        record = import_files([results], Choice(), f"{log},tz=UTC", AddedFacts(device=stated_device(text)))
        joules[text] = account(record).scopes[Scope.DEVICE]
    assert joules["h100"].energy.value is None and joules["h100:2"].energy.value is None
    assert Reason.NO_IDENTITY in {f.code for f in joules["h100"].findings}
    assert any("--device NAME:1" in (f.detail or "") for f in joules["h100"].findings)
    assert joules["h100:1"].energy.basis is Basis.MEASURED


def test_boards_whose_number_nobody_stated_are_told(tmp_path: Path) -> None:
    """Two boards of four cannot be told from two of two: the figure stands, and says what it is of."""
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    log = tmp_path / "smi.csv"
    stamps = (datetime.fromtimestamp(foreign_results.ORIGIN_S - 1.0 + n / 10, UTC) for n in range(80))
    rows = "".join(f"{s:%Y/%m/%d %H:%M:%S.%f}"[:-3] + f", {i}, 105.00 W\n" for s in stamps for i in (0, 1))
    log.write_text("timestamp, index, power.draw [W]\n" + rows)
    told = "Metered are 2 boards (0, 1); nothing states how many serve"
    for device, expected in ((None, True), ("h100:2", False)):
        added = AddedFacts(device=None if device is None else stated_device(device))
        report = analyze(import_files([results], Choice(), f"{log},tz=UTC", added))
        assert report.energy.device_j_tok.basis is Basis.MEASURED
        assert any(told in w for w in report.warnings) == expected, device
