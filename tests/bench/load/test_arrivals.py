"""Arrivals against the closed forms of renewal processes, and traces as the wild has them."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.bench.load.arrivals import read_trace
from joulemill.errors import InputError
from joulemill.statistics.arrivals import arrival_times
from tests.support.paths import SHARED

TRACES = SHARED / "data" / "traces"


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_constant_rate_is_exact() -> None:
    times = arrival_times(rng(), 4.0, burstiness=math.inf, duration_s=1.0)
    assert times.tolist() == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gaps_have_the_mean_and_variation_of_their_gamma_law(burstiness: float) -> None:
    gaps = np.diff(arrival_times(rng(), 50.0, burstiness=burstiness, duration_s=2000.0))
    n = len(gaps)
    # Mean 1/rate, coefficient of variation 1/sqrt(shape); five standard errors of each.
    variation = 1 / math.sqrt(burstiness)
    assert gaps.mean() == pytest.approx(0.02, rel=5 * variation / math.sqrt(n))
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.05)


def test_poisson_counts_have_variance_equal_to_mean() -> None:
    times = arrival_times(rng(7), 20.0, duration_s=5000.0)
    counts = np.bincount(times.astype(int), minlength=5000)
    assert counts.mean() == pytest.approx(20.0, rel=0.02)
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 5000))


@given(
    rate=st.floats(0.1, 500.0),
    burstiness=st.floats(0.05, 50.0) | st.just(math.inf),
    duration=st.floats(0.01, 20.0),
    seed=st.integers(0, 2**32),
)
def test_times_ascend_inside_the_duration_and_repeat_by_seed(
    rate: float, burstiness: float, duration: float, seed: int
) -> None:
    times = arrival_times(rng(seed), rate, burstiness=burstiness, duration_s=duration)
    assert np.all(np.diff(times) >= 0)
    assert len(times) == 0 or (times[0] >= 0 and times[-1] < duration)
    again = arrival_times(rng(seed), rate, burstiness=burstiness, duration_s=duration)
    assert times.tolist() == again.tolist()


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="`rate_req_s`"):
        arrival_times(rng(), rate, duration_s=1.0)


def test_burstiness_and_duration_are_checked_too() -> None:
    with pytest.raises(InputError, match="burstiness"):
        arrival_times(rng(), 1.0, burstiness=0.0, duration_s=1.0)
    with pytest.raises(InputError, match="`duration_s`"):
        arrival_times(rng(), 1.0, duration_s=-2.0)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trace"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "time_s,input_tokens,output_tokens\n5,10,20\n6.5,30,40\n",
        '{"time_s": 6.5, "input_tokens": 30, "output_tokens": 40}\n\n'
        '{"time_s": 5, "input_tokens": 10, "output_tokens": 20}',
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 23:59:59.5000000,10,20\n"
        "2023-11-17 00:00:01.0000000,30,40\n",
        '{"timestamp": 1000, "input_length": 10, "output_length": 20, "hash_ids": [1]}\n'
        '{"timestamp": 2500, "input_length": 30, "output_length": 40, "hash_ids": [2]}\n',
    ],
    ids=["csv", "jsonl", "azure", "mooncake"],
)
def test_the_same_trace_in_four_dialects(tmp_path: Path, text: str) -> None:
    first, second = read_trace(written(tmp_path, text))
    assert (first.at_s, first.input_tok, first.output_tok) == (0.0, 10, 20)
    assert (second.at_s, second.input_tok, second.output_tok) == (1.5, 30, 40)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time_s,input_tokens,output_tokens\n1,2,3\n2,x,3\n", "line 3.*input_tokens"),
        ("time_s,input_tokens,output_tokens\n1,2,3\nsoon,2,3\n", "line 3.*not a time"),
        ("time_s,input_tokens,output_tokens\n1,2\n", "line 2.*fields"),
        ("time_s,input_tokens,output_tokens\n1,-2,3\n", "line 2.*whole number"),
        ("time_s,input_tokens,output_tokens\nnan,2,3\n", "line 2.*finite"),
        ("time_s,output_tokens\n1,2\n", "line 2.*input_tokens"),
        ("when,input_tokens,output_tokens\n1,2,3\n", "line 2.*no time"),
        ('{"time_s": 1, "input_tokens": 2, "output_tokens": 3}\n{"time_s": 1,\n', "line 2.*not JSON"),
        ('{"time_s": 1, "input_tokens": 2, "output_tokens": 1e999}\n', "line 1.*output_tokens"),
        ("", "holds no request"),
    ],
)
def test_a_malformed_trace_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_trace(written(tmp_path, text))


def test_a_missing_trace_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")


@pytest.mark.skipif(not TRACES.is_dir(), reason="the recorded traces are not beside the project")
@pytest.mark.parametrize("name", ["AzureLLMInferenceTrace_conv.csv", "mooncake_conversation_trace.jsonl"])
def test_the_published_traces_are_read_whole(name: str) -> None:
    lines = (TRACES / name).read_text().splitlines()
    found = read_trace(TRACES / name)
    assert len(found) == len(lines) - name.endswith(".csv")
    assert found[0].at_s == 0.0
    assert all(a.at_s <= b.at_s for a, b in pairwise(found))


@pytest.mark.parametrize(
    "text",
    [
        '{"time_s": 1e400, "input_tokens": 1, "output_tokens": 1}',
        '{"time_s": 1, "input_tokens": 99999999, "output_tokens": 1}',
        '{"a":' * 100_000,
        "time_s,input_tokens,output_tokens\n1,2," + "x" * 200_000,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n0001-01-01,10,20\n9999-99-99,1,1",
        '{"time_s": 1, "input_tokens": 1, "output_tokens": 1, "session": [1]}',
        "time_s,input_tokens,output_tokens\n1,2\r,3\0",
    ],
)
def test_hostile_traces_are_refused_in_a_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_bytes(text.encode())
    with pytest.raises(InputError, match="`trace`"):
        read_trace(file)


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text('{"time_s": 1, "input_tokens": 1, "output_tokens": 1, "note": "a\u2028b"}\n')
    assert len(read_trace(file)) == 1
