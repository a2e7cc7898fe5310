from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.statistics.lengths import parse_lengths, sample_lengths


def drawn(text: str, count: int = 20_000) -> np.ndarray:
    return parse_lengths(text).draw(np.random.default_rng(3), count)


def test_fixed_is_fixed() -> None:
    assert set(drawn("128").tolist()) == {128}


def test_uniform_has_both_ends_and_its_mean_and_deviation() -> None:
    got = drawn("64-256")
    assert (got.min(), got.max()) == (64, 256)
    assert got.mean() == pytest.approx(160, rel=0.01)
    assert got.std() == pytest.approx(np.sqrt((193**2 - 1) / 12), rel=0.02)  # variance of a discrete uniform


@pytest.mark.parametrize("text", ["normal:512:64", "lognormal:512:64"])
def test_mean_and_deviation_are_those_of_the_length_itself(text: str) -> None:
    got = drawn(text)
    assert got.mean() == pytest.approx(512, rel=0.01)
    assert got.std() == pytest.approx(64, rel=0.03)


def test_a_lognormal_leans_to_the_right() -> None:
    got = drawn("lognormal:400:200")
    assert np.median(got) == pytest.approx(400 / np.sqrt(1 + 0.25), rel=0.02)  # mean / sqrt(1 + (sd/mean)²)


@given(mean=st.floats(1, 4000), deviation=st.floats(0, 4000), kind=st.sampled_from(["normal", "lognormal"]))
def test_lengths_stay_between_one_and_their_bound(mean: float, deviation: float, kind: str) -> None:
    lengths = parse_lengths(f"{kind}:{mean}:{deviation}")
    got = lengths.draw(np.random.default_rng(0), 200)
    assert got.min() >= 1
    assert got.max() <= lengths.bound_tok


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "",
        "12.5",
        "-3",
        "9-3",
        "0-4",
        "normal:128",
        "normal:x:1",
        "gauss:1:1",
        "normal:0:1",
        "lognormal:nan:1",
        "normal:5:-1",
    ],
)
def test_what_cannot_be_is_refused_with_the_flags_name(text: str) -> None:
    with pytest.raises(InputError, match="--input-tokens"):
        parse_lengths(text, "--input-tokens")


def test_a_lognormal_by_mean_and_p90_has_both() -> None:
    got = drawn("lognormal:400:p90=800", 50_000)
    assert got.mean() == pytest.approx(400, rel=0.02)
    assert np.quantile(got, 0.9) == pytest.approx(800, rel=0.02)


@pytest.mark.parametrize("text", ["lognormal:400:p90=300", "lognormal:400:p90=1000", "normal:400:p90=500"])
def test_a_p90_that_no_lognormal_has_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--x"):
        parse_lengths(text, "--x")


def test_a_sample_is_drawn_from_itself() -> None:
    lengths = sample_lengths([5, 7, 7, 900])
    got = lengths.draw(np.random.default_rng(1), 20_000)
    assert set(got.tolist()) == {5, 7, 900}
    assert np.mean(got == 7) == pytest.approx(0.5, abs=0.02)
    assert (lengths.bound_tok, lengths.mean_tok) == (900, 229.75)
    with pytest.raises(InputError):
        sample_lengths([0, 3])
