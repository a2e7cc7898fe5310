"""Results of lm-evaluation-harness: the file's own layout, hand-made, and what is no such file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.importers.lm_eval import load_lm_eval, parse_lm_eval
from tests.support.foreign_results import RESULTS


def test_tasks_are_weighed_by_their_questions_and_groups_are_not_counted_twice() -> None:
    found = parse_lm_eval(RESULTS, "r.json")
    assert found["questions"] == 900
    assert found["accuracy"] == pytest.approx((100 * 0.5 + 400 * 0.5 + 400 * 0.75) / 900)
    assert found["stderr"] == pytest.approx(math.hypot(100 * 0.05, 400 * 0.025, 400 * 0.0218) / 900)
    assert set(found["tasks"]) == {"gsm8k", "mmlu_law", "mmlu_logic"}
    assert found["tasks"]["gsm8k"]["metric"] == "exact_match,strict-match"
    assert found["model"] == "org/model" and found["tool_version"] == "0.4.9"


def test_without_counts_the_standard_error_tells_them() -> None:
    """The harness's standard error of n right-or-wrong answers is √(p(1−p)/(n−1))."""
    n, p = 250, 0.8
    row = {"acc,none": p, "acc_stderr,none": math.sqrt(p * (1 - p) / (n - 1))}
    assert parse_lm_eval({"results": {"t": row}}, "r.json")["questions"] == n


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "no 'results'"),
        ({"results": []}, "no 'results'"),
        ({"results": {"t": {"word_perplexity,none": 3.0}}}, "no task has a share"),
        ({"results": {"t": {"acc,none": 47.0}}, "n-samples": {"t": {"effective": 10}}}, "no share between"),
        ({"results": {"t": {"acc,none": "N/A"}}, "n-samples": {"t": {"effective": 10}}}, "no share between"),
        ({"results": {"t": {"acc,none": True}}, "n-samples": {"t": {"effective": 10}}}, "no share between"),
        ({"results": {"t": {"acc,none": 0.5}}}, "n-samples"),
        ({"results": {"t": {"acc,none": 0.5}}, "n-samples": {"t": {"effective": -3}}}, "n-samples"),
        ({"results": {"t": {"acc,none": 1.0, "acc_stderr,none": 0.0}}}, "n-samples"),
    ],
)
def test_what_is_no_result(raw: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_lm_eval(raw, "r.json")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_ROW = st.dictionaries(st.sampled_from(["acc,none", "acc_stderr,none", "exact_match", "alias"]), _JSON, max_size=4)


@given(
    st.fixed_dictionaries(
        {
            "results": _JSON | st.dictionaries(st.text(max_size=4), _ROW | _JSON, max_size=3),
            "n-samples": _JSON | st.dictionaries(st.text(max_size=4), _JSON, max_size=3),
            "groups": _JSON,
            "group_subtasks": _JSON,
        }
    )
)
def test_whatever_the_file_holds_it_is_read_or_refused(raw: Any) -> None:
    try:
        found = parse_lm_eval(raw, "r.json")
    except InputError:
        return
    assert 0.0 <= found["accuracy"] <= 1.0 and found["questions"] > 0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"results": {"t": {"acc,none": NaN}}}'])
def test_broken_files_say_so(text: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        load_lm_eval(file)
    with pytest.raises(InputError, match="cannot be read"):
        load_lm_eval(tmp_path / "none.json")


@pytest.mark.finding("F44")
@pytest.mark.parametrize("stderr", [5e-324, 1e-200, 0.0, -1.0, 1e5, "N/A", None])
def test_a_standard_error_that_cannot_be_tells_no_number_of_questions(stderr: object) -> None:
    raw = {"results": {"gsm8k": {"exact_match,none": 0.5, "exact_match_stderr,none": stderr}}}
    with pytest.raises(InputError, match="how many questions"):
        parse_lm_eval(raw, "r.json")
