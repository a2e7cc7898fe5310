"""How good answers are, as declared, and what thinking budgets and cascades make of it. Pure values.

Accuracy is the share of correct answers. Nothing here measures it: somebody declares it for a model and a task,
and the simulation says what a correct answer costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.errors import InputError
from joulemill.simulation.columns import Whole
from joulemill.simulation.fields import parse_fields
from joulemill.statistics.lengths import Lengths, parse_lengths
from joulemill.units import parse_count, parse_ratio

KEYS = ("tokens", "share", "budget", "loss")


@dataclass(frozen=True, kw_only=True, slots=True)
class Thinking:
    """Reasoning tokens, which stand before an answer and are output tokens like its own.

    added         how many come on top of each output; None: they are part of the outputs
    share_ratio   what part of each output they are, where they are part of it
    budget_tok    most of a request: what is beyond is cut; None: no budget
    loss_ratio    what an answer whose reasoning is cut loses in accuracy, as declared
    """

    added: Lengths | None = None
    share_ratio: float = 0.0
    budget_tok: int | None = None
    loss_ratio: float | None = None

    def __post_init__(self) -> None:
        if (self.added is None) == (self.share_ratio == 0.0):
            raise InputError("thinking: give tokens (on top of the outputs) or share (of them), one of both")
        if self.loss_ratio is not None and self.budget_tok is None:
            raise InputError("thinking: loss is what a budget costs; give budget as well")


@dataclass(frozen=True, kw_only=True, slots=True)
class ThinkingEffect:
    """What a budget does to the requests: reasoning tokens of a request without and with it, and how many it cuts."""

    asked_tok: float
    kept_tok: float
    cut_ratio: float
    budget_tok: int | None
    loss_ratio: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CascadeEffect:
    """What became of requests that a smaller model answered first.

    escalated_req   whose first answer was thrown away, and which the deployment answered anew
    discarded_tok   tokens of those first answers
    first_j, second_j   joules of the devices of both stages
    """

    model: str
    devices_count: int
    escalate_ratio: float
    escalated_req: int
    discarded_tok: int
    first_j: float
    second_j: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerQuality:
    """Declared accuracy of all answers, with what they are the result of; None: not declared, not used."""

    accuracy_ratio: float | None = None
    thinking: ThinkingEffect | None = None
    cascade: CascadeEffect | None = None


def parse_thinking(text: str, name: str = "--thinking") -> Thinking:
    """``tokens=lognormal:2000:p90=4000,budget=1024,loss=4%``, or ``share=60%`` instead of ``tokens``."""
    f = parse_fields(text, KEYS, name)
    return Thinking(
        added=parse_lengths(f["tokens"], f"{name} tokens") if "tokens" in f else None,
        share_ratio=parse_ratio(f["share"], name=f"{name} share", most=0.999) if "share" in f else 0.0,
        budget_tok=parse_count(f["budget"], name=f"{name} budget", least=0) if "budget" in f else None,
        loss_ratio=parse_ratio(f["loss"], name=f"{name} loss") if "loss" in f else None,
    )


def thought(output_tok: Whole, thinking: Thinking, rng: np.random.Generator) -> tuple[Whole, ThinkingEffect]:
    """Outputs with their reasoning under the budget, and what it did."""
    if thinking.added is None:
        asked = np.minimum(np.rint(output_tok * thinking.share_ratio), output_tok - 1).astype(np.int64)
        answer = output_tok - asked
    else:
        asked, answer = thinking.added.draw(rng, len(output_tok)), output_tok
    reasoning_tok = asked if thinking.budget_tok is None else np.minimum(asked, thinking.budget_tok)
    effect = ThinkingEffect(
        asked_tok=float(asked.mean()),
        kept_tok=float(reasoning_tok.mean()),
        cut_ratio=float(np.mean(reasoning_tok < asked)),
        budget_tok=thinking.budget_tok,
        loss_ratio=thinking.loss_ratio,
    )
    return answer + reasoning_tok, effect


def quality_of(accuracy_ratio: float | None, effect: ThinkingEffect | None) -> AnswerQuality:
    """Accuracy after what a budget costs: answers that it cuts lose as much as is declared.

    InputError where a loss is declared of an accuracy that is not.
    """
    if effect is None or effect.loss_ratio is None:
        return AnswerQuality(accuracy_ratio=accuracy_ratio, thinking=effect)
    if accuracy_ratio is None:
        raise InputError("thinking: loss is taken from an accuracy; give `accuracy_ratio`")
    return AnswerQuality(
        accuracy_ratio=max(0.0, accuracy_ratio - effect.loss_ratio * effect.cut_ratio), thinking=effect
    )
