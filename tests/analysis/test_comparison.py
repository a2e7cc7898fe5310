"""Runs side by side, in every view; and against a baseline."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from pathlib import Path
from statistics import NormalDist

import pytest
from rich.console import Console

from joulemill.analysis.baseline import need_baseline, read_baseline, write_baseline
from joulemill.analysis.comparison import TOO_FEW, Comparison, _by_intervals, compare, document, label, of_change
from joulemill.analysis.conditions import Conditions
from joulemill.analysis.report import Report
from joulemill.analysis.samples import METRICS, of_report
from joulemill.analysis.serialization import to_json
from joulemill.decisions.gate.change import Change, change
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.reports import baseline as baseline_view
from joulemill.reports import comparison as compare_views
from joulemill.reports.comparison import shift_text
from joulemill.reports.html import run as html
from joulemill.reports.svg import plane
from tests.support.example_report import HOSTILE, altered, example, fig
from tests.support.gate_runs import sample
from tests.support.tags import Tags


def altered_energy(j_tok: Figure, **changes: object) -> Report:
    return altered(energy=dataclasses.replace(example().energy, node_j_tok=j_tok), **changes)


def side_by_side(*reports: Report) -> Comparison:
    return compare([({m: of_report(r, m, f"run{i}") for m in METRICS}, r) for i, r in enumerate(reports)])


def row(found: Comparison, name: str):
    return next(r for r in found.rows if r.name == name)


def test_a_run_against_itself_differs_in_nothing() -> None:
    found = side_by_side(example(), example())
    assert found.comparable and not found.conditions
    shift = row(found, "energy per output token, node").shifts[0]
    assert shift.ratio == pytest.approx(0.0) and shift.real == pytest.approx(0.5)


def test_conditions_that_differ_come_first_and_loud() -> None:
    other = altered(
        conditions=dataclasses.replace(example().conditions, model={"name": "another"}, started="2026-11-24")
    )
    found = side_by_side(example(), other)
    assert [n for n, _ in found.blocking] == ["model"]
    assert "started" in [n for n, _ in found.conditions]
    screen = io.StringIO()
    compare_views.show(found, Console(file=screen, width=160, color_system=None))
    shown = screen.getvalue()
    assert shown.index("NOT COMPARABLE") < shown.index("energy per output token, node")
    assert "latency, p50 / p90 / p99 [ms]" in shown, "the unit is no markup"
    assert "**NOT COMPARABLE" in compare_views.markdown(found)
    assert document(found)["not_comparable"] == [{"name": "model", "values": [HOSTILE, "another"]}]


def test_probability_is_that_of_the_sign() -> None:
    """Two normal estimates: P(b > a) = Φ(d ÷ √(s² + s²))."""
    a, b = (Figure(v, "1", Basis.MEASURED, low=v - 0.196, high=v + 0.196, level=0.95) for v in (1.0, 1.1))
    found = _by_intervals(a, b, sampled=True)
    assert found.real == pytest.approx(NormalDist().cdf(0.1 / (0.1 * math.sqrt(2))), abs=1e-4)
    half = math.hypot(math.log(1.196 / 0.804) / 2, math.log(1.296 / 0.904) / 2)
    assert found.low == pytest.approx(1.1 * math.exp(-half) - 1, abs=1e-6)
    assert _by_intervals(a, b, sampled=False).real is None
    assert _by_intervals(a, unknown("1", "none"), sampled=True).ratio is None
    assert _by_intervals(Figure(1.0, "1", Basis.MEASURED), b, sampled=True).method == "no interval"


def test_an_interval_of_the_meter_alone_claims_nothing() -> None:
    found = side_by_side(example(), altered(energy=dataclasses.replace(example().energy, node_j=fig(9e3, "J"))))
    shift = row(found, "node energy in the window").shifts[0]
    assert shift.ratio == pytest.approx(9000 / 4200 - 1) and shift.real is None


def test_unknown_stays_unknown() -> None:
    found = side_by_side(example(), altered_energy(unknown("J/tok", "no meter")))
    shown = compare_views.markdown(found)
    assert "| energy per output token, node | 420 mJ/tok (378–462) | unknown | – |" in shown
    assert json.loads(json.dumps(document(found)))["figures"][0]["figures"][1]["value"] is None


def test_page_is_offline_and_hostile_names_are_text() -> None:
    page = Tags()
    text = compare_views.render(side_by_side(example(), altered_energy(fig(0.3, "J/tok")), example()))
    page.feed(text)
    assert "script" not in page.tags and page.fetched == []
    assert page.tags.count("svg") == 2 and HOSTILE not in text
    assert "B against A" in text and "C against A" in text


def test_latex_holds_the_figures_of_markdown_and_no_command_of_others() -> None:
    evil = r"\input{/etc/passwd} % a & b"
    conditions = dataclasses.replace(example().conditions, model={"name": evil})
    other = altered_energy(fig(0.3, "J/tok"), conditions=conditions)
    comparison = side_by_side(example(), other, example())
    text = compare_views.latex(comparison)
    table = [line for line in text.splitlines() if not line.startswith("%")]
    assert table[0] == r"\begin{tabular}{lrrrrr}" and table[-1] == r"\end{tabular}"
    body = [line for line in table[1:-1] if line != r"\hline"]
    assert body[0].startswith(r"\multicolumn{6}{l}{\textbf{NOT COMPARABLE") and all(
        line.endswith(r" \\") for line in body
    )
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body[1:]} == {5}
    assert r"\input" not in text and not re.search(r"(?<!\\)%", "".join(table))
    energy = next(line for line in body if line.startswith("energy per output token, node")).split(" & ")
    assert energy[1] == "420 mJ/tok (378--462)" and energy[2].startswith("300 mJ/tok") and energy[5].startswith("+0.0")


def test_plane_puts_runs_where_they_belong() -> None:
    slow = altered_energy(
        fig(0.2, "J/tok"), latency=dataclasses.replace(example().latency, ttft_s=example().latency.e2e_s)
    )
    quiet = dataclasses.replace(example().quality, accuracy=unknown("1", "not asked"))
    found = side_by_side(example(), slow, altered(quality=quiet), altered_energy(unknown("J/tok", "no meter")))
    picture = plane.planes(found.runs)[0]
    discs = [
        (float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*class="disc', picture)
    ]
    assert len(discs) == 3
    assert discs[1][0] < discs[0][0] and discs[1][1] < discs[0][1]  # fewer joules, more latency (y goes down)
    assert "disc unknown" in picture and "not drawn, unknown: D" in picture
    assert "no run has both" in plane.plane([found.runs[3]], "TTFT", lambda r: r.report.latency.ttft_s)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_disc_is_filled_to_its_share(share: float) -> None:
    body = "".join(plane._pie(50.0, 50.0, share))
    path = re.search(r"A10.0 10.0 0 (\d) 1 ([\d.]+) ([\d.]+)Z", body)
    if path is None:
        assert ('class="part"' in body) is (share == 1.0)
        return
    x, y = float(path[2]) - 50, 50 - float(path[3])
    assert math.atan2(x, y) % (2 * math.pi) == pytest.approx(2 * math.pi * share, abs=0.02)


def test_labels() -> None:
    assert [label(i) for i in (0, 25, 26)] == ["A", "Z", "A2"]


def test_labels_of_equal_runs_do_not_cover_each_other() -> None:
    picture = plane.planes(side_by_side(*(example() for _ in range(4))).runs)[0]
    places = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*class="strong"', picture)
    assert len(set(places)) == 4


def test_baseline_round_trip_and_views(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    write_baseline(file, 'the <b>"old"</b> one', [example(), altered_energy(fig(0.44, "J/tok"))])
    kept = need_baseline(file)
    assert to_json(kept.reports[0]) == to_json(example()) and len(kept.reports) == 2
    worse = altered_energy(fig(0.84, "J/tok"))
    screen = io.StringIO()
    baseline_view.show(kept, worse, Console(file=screen, width=160, color_system=None))
    assert "430 mJ/tok" in screen.getvalue() and "840 mJ/tok" in screen.getvalue()
    page = html.render(worse, [baseline_view.card(kept, worse)])
    assert "Against the baseline the &lt;b&gt;" in page and "<b>&#34;old" not in page
    blocked, _ = baseline_view.against(kept, altered(conditions=Conditions(model={"name": "another"})))
    assert blocked[0].startswith("model: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"kind": "joulemill-baseline", "schema_version": "9.0"}', "version 9.0"),
        ('{"kind": "joulemill-baseline", "schema_version": "1.0", "reports": []}', "holds no report"),
        ('{"kind": "joulemill-baseline", "schema_version": "1.0", "reports": [{}]}', "schema_version"),
        ("{}", "is no baseline"),
    ],
)
def test_what_is_no_baseline(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        need_baseline(file)


def test_a_report_is_no_baseline_and_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(to_json(example()), encoding="utf-8")
    assert read_baseline(file) is None
    with pytest.raises(InputError, match="baseline set"):
        read_baseline(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("width", "method"), [(0.4, "intervals"), (0.7, "intervals"), (0.999, TOO_FEW), (1.3, TOO_FEW)]
)
def test_an_interval_of_a_ratio_never_falls_below_minus_one(width: float, method: str) -> None:
    """Two figures of 1.0 and 0.3, each known to ± ``width``: in logarithms the change stays above −100 %."""
    a, b = (
        Figure(v, "J/tok", Basis.MEASURED, low=v * (1 - width), high=v * (1 + width), level=0.95) for v in (1.0, 0.3)
    )
    shift = _by_intervals(a, b, sampled=True)
    assert shift.method == method and shift.ratio == pytest.approx(-0.7)
    assert (shift.low is None) == (method == TOO_FEW)
    if shift.low is not None and shift.high is not None:
        assert -1.0 < shift.low < -0.7 < shift.high
    assert ("too few" in shift_text(shift)) == (method == TOO_FEW)


def test_two_repeats_far_apart_are_too_few() -> None:
    base = [sample(0.5, seed=1), sample(5.0, seed=2)]
    found = change(base, [sample(0.5, seed=3), sample(0.6, seed=4)])
    assert isinstance(found, Change) and not found.telling
    assert of_change(found).low is None and "too few" in shift_text(of_change(found))
