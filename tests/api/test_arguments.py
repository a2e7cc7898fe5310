"""Arguments of ``joulemill.bench`` and its series: checked before anything runs, and named as the caller named them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import joulemill as jm
from joulemill.analysis.samples import METRICS
from joulemill.api.benching import bench_options
from joulemill.commands.gate import METRICS as METRICS_OF_THE_COMMAND
from joulemill.monitor.history.store import History
from joulemill.monitor.snapshot import Interval, ScopeEnergy, TargetFacts, TokenKind
from joulemill.validation.scores import TEMPLATE
from tests.support.h100_run import on_h100
from tests.support.recorded import recorded

pytestmark = pytest.mark.usefixtures("few_combinations")

URL = "http://127.0.0.1:9"


def test_headers_and_bodies_are_mappings_or_what_a_flag_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT_KEY", "s3cret")
    asked = bench_options(url=URL, headers={"X-Tenant": "lab", "X-Key": "env:TENANT_KEY"}, extra_body={"top_k": 1})
    assert asked.headers == (("X-Tenant", "lab"), ("X-Key", "s3cret")) and asked.extra_body == {"top_k": 1}
    assert asked == bench_options(url=URL, headers=["X-Tenant=lab", "X-Key=env:TENANT_KEY"], extra_body='{"top_k": 1}')


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"headers": {"Host": "elsewhere"}}, "`headers` Host: the client sets this one itself"),
        ({"headers": {"X-A": "two\nlines"}}, "`headers` X-A: its value must be printable ASCII"),
        ({"extra_body": {"stream": False}}, "`extra_body`: stream is set by the load itself"),
        ({"precision": " "}, "`precision`: write what is served"),
        ({"architecture": "nowhere.json"}, "`architecture` nowhere.json: there is no such file"),
        ({"devices": 2}, "`devices` 2 says how many: name them with `device` too"),
        ({"concurency": 4}, "did you mean concurrency?"),
        ({"quality": "lm-eval:nowhere.json"}, "nowhere.json"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(jm.InputError) as caught:
        bench_options(url=URL, **arguments)
    assert fault in str(caught.value)


def test_a_search_needs_a_target_and_a_share() -> None:
    with pytest.raises(jm.InputError, match="slo_ttft_s"):
        jm.find_rate(url=URL)
    with pytest.raises(jm.InputError, match=r"`least_attained` is 1\.5"):
        jm.find_rate(url=URL, slo_ttft_s=1.0, least_attained=1.5)


def test_the_command_and_the_api_judge_the_same_metrics() -> None:
    assert METRICS_OF_THE_COMMAND == METRICS


def test_a_plan_needs_base_runs_alone(tmp_path: Path) -> None:
    base = recorded(tmp_path / "base", seed=1)
    plan = jm.gate_plan(base, max_increase=0.05)
    asked = jm.gate(base, recorded(tmp_path / "new", seed=2), plan=True, without_quality=True)
    assert plan.decides and asked.plan is not None and asked.to_dict()["plan"] == asked.plan.to_dict()
    assert "plan: " in asked.text()


def test_levers_of_arguments_are_those_of_the_prediction() -> None:
    deployment = {"model": "Qwen/Qwen3-8B", "device": "h100", "concurrency": 16}
    study = jm.levers(deployment, to=["h200"])
    assert study.to_dict() == jm.predict(**deployment).levers(to=["h200"]).to_dict()  # type: ignore[arg-type]


def test_a_baseline_is_a_run_for_the_gate(tmp_path: Path) -> None:
    base = recorded(tmp_path / "base", seed=1)
    kept = jm.save_baseline(tmp_path / "baseline.json", [base])
    assert kept.name == "base" and jm.open_baseline(tmp_path / "baseline.json") == kept
    verdict = jm.gate(tmp_path / "baseline.json", base, without_quality=True)
    assert verdict.outcome.value != "fail"
    with pytest.raises(jm.InputError, match="`runs` is empty"):
        jm.save_baseline(tmp_path / "none.json", [])


def test_an_audit_is_of_a_run_or_of_its_document(tmp_path: Path) -> None:
    run = jm.open_run(on_h100(tmp_path / "run"))
    (tmp_path / "report.json").write_text(json.dumps(run.to_dict()))
    audits = [jm.audit(run), jm.audit(run.path), jm.audit(tmp_path / "report.json")]
    assert audits[0] == audits[1] == audits[2] and "points are in order" in repr(audits[0])
    with pytest.raises(jm.InputError, match="`part` 2 is for a tool's file"):
        jm.audit(run.path, part=2)


def test_a_history_bills_by_a_label_and_closes(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db")
    start = time.time() // 86_400 * 86_400 - 7200
    for name, joules in (("one", 50.0), ("two", 30.0)):
        interval = Interval(
            target=name,
            start_s=start,
            end_s=start + 10,
            observed=True,
            reason=None,
            tokens={TokenKind.OUTPUT: 100.0},
            energy={"node": ScopeEnergy("node", joules, 1.0, "measured", 1.0)},
        )
        kept.append([interval], {name: TargetFacts(name, "m", "hall", labels={"tenant": name})})
    kept.close()
    with jm.open_history(tmp_path / "h.db") as history:
        bill = history.chargeback("tenant")
        assert {t["name"] for t in history.targets()} == {"one", "two"} and history.tables()["target"] == 2
        assert history.advise().reason is not None
        with pytest.raises(jm.InputError, match="`days` 0"):
            history.chargeback(days=0.0)
    assert {row["key"]: row["energy_j"] for row in bill.rows} == {"one": 50.0, "two": 30.0, "total": 80.0}
    assert len(bill.to_frame("pyarrow")) == 3


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda: jm.bench(url="http://127.0.0.1:9", duration_s="3s"), "`duration_s` is '3s'; it must be a number"),  # type: ignore[arg-type]
        (lambda: jm.bench(url="http://127.0.0.1:9", concurrency=True), "`concurrency` is True; it must be a number"),
        (lambda: jm.bench(url="127.0.0.1:9"), "`url` '127.0.0.1:9' is not a server's address"),
        (lambda: jm.meter("declared:idle=60W,busy=180W", period_s=-1), "`period_s` is -1; it must be a number above 0"),
        (lambda: jm.doctor("nvlm"), "`meter` nvlm: no meter is called 'nvlm'; did you mean nvml"),
        (lambda: jm.levers({"model": "Qwen/Qwen3-8B", "device": "h100"}, cap_rato=0.5), "did you mean cap_ratio"),
        (lambda: jm.simulate("Qwen/Qwen3-8B", "h100", rate_req_s="3"), "`rate_req_s` is '3'; it must be a number"),  # type: ignore[arg-type]
        (lambda: jm.simulate("Qwen/Qwen3-8B", "h100", rate_req_s=3, duration_s=-1), "`duration_s` is -1; it must be"),
    ],
)
def test_a_word_where_a_number_belongs_is_named_by_its_argument(asked: Callable[[], object], says: str) -> None:
    with pytest.raises(jm.InputError) as caught:
        asked()
    assert says in str(caught.value) and "--" not in str(caught.value)


@pytest.mark.parametrize("rise", [5, "5%", 0.0, -0.05])
def test_an_allowed_rise_is_a_share(rise: object, tmp_path: Path) -> None:
    """5 for 5 % would allow six times the energy."""
    with pytest.raises(jm.InputError, match="`max_increase` is"):
        jm.gate(tmp_path, tmp_path, max_increase=rise)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"calibrate_with": "x"}, {"calibrate_with": 0}, {"seed": "a"}, {"seed": -1}])
def test_counts_of_a_validation_are_whole(wrong: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(TEMPLATE)
    with pytest.raises(jm.InputError, match=f"`{next(iter(wrong))}` is"):
        jm.validate(tmp_path / "mine.csv", **wrong)  # type: ignore[arg-type]
