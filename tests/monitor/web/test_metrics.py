"""/metrics: read back by another parser, by promtool, and by a real Prometheus."""

from __future__ import annotations

import shutil
import subprocess

import pytest

pytest.importorskip("prometheus_client", reason="the monitor extra is not installed")
from prometheus_client.parser import text_string_to_metric_families

from joulemill.monitor.snapshot import TokenKind
from joulemill.monitor.web.metrics import page
from tests.support.synthetic import fleet


def samples(text: bytes) -> dict[tuple[str, str | None], list[tuple[dict[str, str], float]]]:
    found: dict[tuple[str, str | None], list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for s in family.samples:
            found.setdefault((s.name, s.labels.get("target")), []).append((s.labels, s.value))
    return found


def test_what_is_known_is_there_and_what_is_not_is_absent() -> None:
    now = fleet(12, 3)
    found = samples(page(now))
    for t in now.targets:
        name = t.facts.target
        tokens = {labels["kind"]: v for labels, v in found["joulemill_tokens_total", name]}
        assert tokens == {k.value: pytest.approx(v) for k, v in t.tokens.items()}
        energy = found.get(("joulemill_energy_joules_total", name), [])
        assert sum(v for _, v in energy) == pytest.approx(sum(t.energy_j.values()))
        assert (("joulemill_ttft_seconds", name) in found) == t.up
        if t.up:
            binds = {labels["name"]: v for labels, v in found["joulemill_binding_ceiling", name]}
            assert sum(binds.values()) == 1 and binds[t.latest.binding] == 1
            ceilings = {labels["name"] for labels, _ in found["joulemill_ceiling_tokens_per_second", name]}
            assert "interconnect" not in ceilings and len(ceilings) == 4
    pues = {(labels["site"], labels["basis"]): v for labels, v in found["joulemill_site_pue_ratio", None]}
    assert pues == {("hall-1", "measured"): 1.21, ("hall-1", "declared"): 1.3, ("hall-2", "declared"): 1.4}
    assert {labels["bound"]: v for labels, v in found["joulemill_site_pue_bound_ratio", None]} == {
        "low": 1.186,
        "high": 1.234,
    }
    watts = {labels["site"]: v for labels, v in found["joulemill_site_power_watts", None]}
    assert watts == {"hall-1": pytest.approx(12_100.0), "hall-2": pytest.approx(10_000.0)}
    joules = {labels["site"]: v for labels, v in found["joulemill_site_energy_joules_total", None]}
    assert joules == {"hall-1": pytest.approx(4 * 7.26e5), "hall-2": pytest.approx(4 * 3.0e5)}
    late = {labels["percentile"]: v for labels, v in found["joulemill_ttft_percentile_seconds", "chat-0"]}
    assert late == {"50": 0.18, "90": 0.42}  # the 99th lies beyond the last bucket: absent, not a number
    assert ("joulemill_ttft_percentile_seconds", "chat-6") not in found  # no request ended
    assert ("joulemill_carbon_grams_total", "chat-5") not in found  # nothing meters it
    assert now.targets[0].tokens[TokenKind.OUTPUT] > 0


def test_hostile_labels_are_escaped() -> None:
    evil = 'a"b\\c\nd{}<script>'
    names = {k[1] for k in samples(page(fleet(3, 0, hostile=evil)))}
    assert evil in names


def test_promtool_finds_no_fault() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    told = subprocess.run([promtool, "check", "metrics"], input=page(fleet(12, 3)), capture_output=True)
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_thousand_targets_are_one_page_of_moderate_size() -> None:
    assert len(page(fleet(1000))) < 6e6
