"""Thinking budgets by hand: what is added, what is cut, and what an accuracy that is declared becomes."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.simulation.autoscale import parse_autoscale
from joulemill.simulation.fields import parse_fields
from joulemill.simulation.quality import Thinking, parse_thinking, quality_of, thought
from joulemill.statistics.lengths import sample_lengths


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_reasoning_is_added_and_cut_at_the_budget() -> None:
    thinking = Thinking(added=sample_lengths([100, 500, 900]), budget_tok=500, loss_ratio=0.3)
    outputs, effect = thought(np.full(9000, 50), thinking, rng())
    assert set(outputs.tolist()) == {150, 550}
    assert effect.asked_tok == pytest.approx(500, rel=0.02)
    assert effect.kept_tok == pytest.approx((100 + 500 + 500) / 3, rel=0.02)
    assert effect.cut_ratio == pytest.approx(1 / 3, abs=0.02)
    # Answers that are cut lose 0.3: a third of them.
    assert quality_of(0.8, effect).accuracy_ratio == pytest.approx(0.8 - 0.3 * effect.cut_ratio)


def test_reasoning_that_is_part_of_the_outputs_leaves_the_answer() -> None:
    outputs, effect = thought(np.array([100, 1000, 1]), parse_thinking("share=60%,budget=200"), rng())
    assert outputs.tolist() == [100, 400 + 200, 1]
    assert (effect.asked_tok, effect.cut_ratio) == ((60 + 600 + 0) / 3, 1 / 3)
    same, free = thought(np.array([100, 1000, 1]), parse_thinking("share=60%"), rng())
    assert same.tolist() == [100, 1000, 1]
    assert free.cut_ratio == 0.0


def test_a_budget_of_nothing_leaves_the_answers() -> None:
    outputs, effect = thought(np.full(10, 50), parse_thinking("tokens=200,budget=0"), rng())
    assert set(outputs.tolist()) == {50}
    assert effect.cut_ratio == 1.0


def test_accuracy_stays_unknown_unless_it_is_declared() -> None:
    assert quality_of(None, None).accuracy_ratio is None
    effect = thought(np.full(4, 50), parse_thinking("tokens=200,budget=100,loss=4%"), rng())[1]
    with pytest.raises(InputError, match="accuracy_ratio"):
        quality_of(None, effect)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no key=value"),
        ("2000", "is no key=value; it takes tokens, share, budget, loss"),
        ("tokens=", "is no key=value"),
        ("token=5", "did you mean tokens"),
        ("tokens=5,tokens=6", "given twice"),
        ("budget=5", "one of both"),
        ("tokens=5,share=10%", "one of both"),
        ("tokens=5,loss=4%", "give budget"),
        ("tokens=many", "--thinking tokens"),
        ("tokens=5,budget=2.5", "--thinking budget"),
        ("share=120%", "--thinking share"),
    ],
)
def test_a_wrong_thinking_says_what_would_do(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_thinking(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max=8", "target must be given"),
        ("min=3", "max and target must be given"),
        ("min=9,max=8,target=4", "max is 8"),
        ("min=0,max=8,target=4", "--autoscale min"),
        ("max=8,target=0", "--autoscale target"),
        ("max=8,target=4,every=10", "--autoscale every"),
        ("max=8,target=4,up=2s", "unknown key 'up'"),
    ],
)
def test_a_wrong_rule_says_what_would_do(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_autoscale(text)


def test_a_rule_is_read_with_its_units() -> None:
    rule = parse_autoscale("min=2,max=8,target=16,every=5s,patience=2min")
    assert (rule.least_count, rule.most_count, rule.target_req) == (2, 8, 16.0)
    assert (rule.period_s, rule.patience_s) == (5.0, 120.0)
    assert parse_fields("a=1 , b=2", ("a", "b"), "x") == {"a": "1", "b": "2"}


PAIR = st.tuples(st.sampled_from(["min", "max", "target", "every", "tokens", "share", "budget", "loss"]), st.text())


@given(st.one_of(st.text(), st.lists(PAIR.map("=".join)).map(",".join)))
def test_whatever_is_written_is_read_or_refused_in_words(text: str) -> None:
    for parse in (parse_thinking, parse_autoscale):
        with suppress(InputError):
            parse(text)
