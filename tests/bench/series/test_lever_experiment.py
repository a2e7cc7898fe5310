"""The plan of a lever experiment: one thing changed at a time, and why a lever does not apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.bench.host import embedded_options
from joulemill.bench.options import BenchOptions
from joulemill.bench.series.lever_experiment import ALONE, BASE, LEVERS, Files, experiment_plan
from joulemill.errors import InputError

FILES = Files(Path("draft.gguf"), Path("small.gguf"), Path("second.gguf"))
#: What each lever may change of the run as it is.
CHANGES = {
    "kv-q8": {"kv_type"},
    "slots-x2": {"slots", "concurrency"},
    "threads-half": {"threads"},
    "prefix-cache": {"cache_prompt"},
    "thinking-budget": {"output_tokens", "answer_ratio"},
    "speculation": {"draft_gguf", "draft_tok"},
    "small-weights": {"gguf"},
    "second-model": {"gguf"},
    "cascade": {"second_gguf"},
}


def options(**facts: object) -> BenchOptions:
    given: dict[str, object] = {"gguf": Path("model.gguf"), "concurrency": 3, "threads": 2, "shared_prefix_tok": 32}
    return BenchOptions(**{**given, **facts})  # type: ignore[arg-type]


def test_a_lever_changes_one_thing_and_all_are_there() -> None:
    plan = experiment_plan(options(), FILES, repeats=2, run_s=7.0)
    base = plan.settings[0]
    assert base.label == BASE and plan.absent == {} and {lever.name for lever in LEVERS} == set(CHANGES)
    for setting in plan.settings[1:-1]:
        theirs, ours = vars(setting.options), vars(base.options)
        assert {k for k in ours if theirs[k] != ours[k]} == CHANGES[setting.label]
    alone = plan.settings[-1]
    assert (alone.label, alone.knob, alone.options.concurrency) == (ALONE, "calibrate", 1)
    n = len(plan.settings)
    assert plan.order == (*range(n), *reversed(range(n)))  # there and back: a drift is nobody's effect


def test_as_it_is_says_everything_that_a_lever_changes() -> None:
    base = experiment_plan(options(threads=None), Files(), ["kv-q8"]).settings[0].options
    assert (base.slots, base.kv_type, base.cache_prompt, base.duration_s) == (3, "f16", False, 20.0)
    assert base.threads is not None
    served = embedded_options(base)
    assert (served.cache_prompt, served.kv_type, served.draft_gguf) == (False, "f16", None)
    drafting = experiment_plan(options(), FILES, ["speculation"]).settings[1].options
    assert (embedded_options(drafting).draft_gguf, embedded_options(drafting).draft_tok) == (FILES.draft, 8)


def test_what_does_not_apply_says_why() -> None:
    plan = experiment_plan(options(threads=1, shared_prefix_tok=0, output_tokens="16-64"), Files())
    assert {s.label for s in plan.settings} == {BASE, "kv-q8", "slots-x2", ALONE}
    assert set(plan.absent) == set(CHANGES) - {"kv-q8", "slots-x2"}
    for name, words in {
        "speculation": "--draft-gguf",
        "prefix-cache": "--shared-prefix",
        "threads-half": "one thread",
        "small-weights": "--small-gguf",
        "second-model": "--second-gguf",
        "cascade": "--second-gguf",
    }.items():
        assert words in plan.absent[name]
    silent = experiment_plan(options(quality=None), FILES, ["cascade", "kv-q8"])
    assert "--quality none" in silent.absent["cascade"]


@pytest.mark.parametrize(
    ("facts", "only", "repeats", "words"),
    [
        ({"url": "http://127.0.0.1:9", "gguf": None}, (), 2, "embedded server"),
        ({"rate_req_s": 2.0, "concurrency": None}, (), 2, "closed loop"),
        ({}, ("magic",), 2, "cannot be measured; use kv-q8"),
        ({}, ("kv-q8",), 0, "`repeats`"),
        ({}, ("speculation",), 2, "no lever can be measured here: speculation: no draft"),
    ],
)
def test_experiments_that_cannot_be(facts: dict[str, object], only: tuple[str, ...], repeats: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        experiment_plan(options(**facts), Files(), only, repeats)
