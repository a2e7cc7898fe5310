from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.bench.load.prompts import CALIBRATION_WORDS, PromptGenerator, fitted, prompt_text, sentences
from joulemill.errors import ServerError


def count_tok(text: str) -> int:
    """A tokenizer of our own making: 9 tokens of template, words of more than five letters are two tokens."""
    return 9 + sum(2 if len(word) > 5 else 1 for word in text.split())


def test_the_text_is_varied() -> None:
    assert sum(len(s) for s in sentences()) > 4000
    assert len(set(sentences())) == len(sentences())
    assert Counter(s[0] for s in sentences()).most_common(1)[0][1] < len(sentences()) / 4


@given(words=st.integers(1, 900), index=st.integers(-5, 10_000), shared=st.integers(0, 300))
def test_a_prompt_has_exactly_its_words_and_repeats(words: int, index: int, shared: int) -> None:
    text = prompt_text(5, index, words, shared_words=shared)
    assert len(text.split()) == words
    assert text == prompt_text(5, index, words, shared_words=shared)


def test_prompts_differ_from_their_first_characters_on() -> None:
    starts = {prompt_text(0, i, 100)[:4] for i in range(200)}
    assert len(starts) > 190  # four random digits: about 2 of 200 meet by chance


def test_a_shared_prefix_is_shared_and_the_rest_is_not() -> None:
    first, second = (prompt_text(0, i, 100, shared_words=40).split() for i in (1, 2))
    assert first[:40] == second[:40]
    assert first[40] != second[40]


def test_lengths_meet_what_is_asked_without_a_tokenizer() -> None:
    mill = PromptGenerator(3)
    mill.calibrate([(w, count_tok(prompt_text(3, -1 - i, w))) for i, w in enumerate(CALIBRATION_WORDS)])
    for index in range(100):
        text, words = mill.prompt(index, 128)
        mill.learn(words, 128, count_tok(text))
    achieved = mill.achieved()
    assert achieved["prompts"] == 100
    assert abs(achieved["mean_error_ratio"] or 1.0) < 0.02
    assert abs(achieved["worst_error_ratio"] or 1.0) < 0.12


def test_a_wrong_calibration_is_corrected_by_what_comes_back() -> None:
    mill = PromptGenerator(3)
    mill.calibrate([(16, 16), (192, 192)])  # as if each word were one token
    sizes = []
    for index in range(40):
        text, words = mill.prompt(index, 200)
        sizes.append(count_tok(text))
        mill.learn(words, 200, sizes[-1])
    assert sizes[0] > 240
    assert sum(sizes[-20:]) / 20 == pytest.approx(200, rel=0.03)


def test_a_straight_line_is_found_exactly() -> None:
    line = fitted([(10, 5 + 13), (20, 5 + 26), (40, 5 + 52)])
    assert (line.overhead_tok, line.tok_word) == (pytest.approx(5.0), pytest.approx(1.3))
    assert line.words(5 + 130) == 100
    assert line.words(1) == 1


def test_counts_that_ignore_the_prompt_are_refused() -> None:
    with pytest.raises(ServerError, match="do not grow") as caught:
        fitted([(10, 7), (100, 7)])
    assert caught.value.usage
