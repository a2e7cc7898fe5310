"""What is asked: request number n of a run as a question of drawn lengths, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.bench.load.arrivals import Arrival
from joulemill.bench.load.conversation import Conversation
from joulemill.bench.load.prompts import PromptGenerator
from joulemill.servers.client import Answer, Ask
from joulemill.statistics.lengths import Lengths

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Job:
    """One question that is ready to be sent. ``words``: of its prompt, for the correction of lengths.

    ``history_tok``: tokens of the turns before it, which are in its prompt too.
    """

    index: int
    ask: Ask
    asked_prompt_tok: int
    asked_output_tok: int
    words: int
    history_tok: int = 0


@dataclass(frozen=True, slots=True)
class AskRules:
    """What all questions of a run share."""

    timeout_s: float = 300.0
    ignore_eos: bool = True
    temperature: float = 0.0


class RequestSource:
    """Makes jobs; lengths are drawn in blocks beforehand, as a draw for each request would cost the event loop."""

    def __init__(self, mill: PromptGenerator, prompt: Lengths, output: Lengths, rules: AskRules) -> None:
        self.mill, self.prompt_lengths, self.output_lengths, self.rules = mill, prompt, output, rules
        seeds = np.random.SeedSequence(mill.seed).spawn(2)
        self._rngs = tuple(np.random.default_rng(s) for s in seeds)
        self._prompt_tok: list[int] = []
        self._output_tok: list[int] = []

    def job(self, index: int, arrival: Arrival | None = None, talk: Conversation | None = None) -> Job:
        """Request ``index`` (from 0); an arrival of a trace brings its own lengths, ``talk`` what was said before."""
        while index >= len(self._prompt_tok):
            self._prompt_tok += self.prompt_lengths.draw(self._rngs[0], _BLOCK).tolist()
            self._output_tok += self.output_lengths.draw(self._rngs[1], _BLOCK).tolist()
        asked_prompt = (arrival.input_tok if arrival else None) or self._prompt_tok[index]
        asked_output = (arrival.output_tok if arrival else None) or self._output_tok[index]
        text, words = self.mill.prompt(index, asked_prompt)
        rules = self.rules
        history, before_tok = (talk.history, talk.history_tok) if talk is not None else ((), 0)
        ask = Ask(
            text=text,
            max_tok=asked_output,
            timeout_s=rules.timeout_s,
            temperature=rules.temperature,
            ignore_eos=rules.ignore_eos,
            history=history,
        )
        return Job(index, ask, asked_prompt + before_tok, asked_output, words, before_tok)

    def learn(self, job: Job, answer: Answer) -> None:
        """Correct the sizing of prompts by what the server counted."""
        if answer.prompt_tok and not job.history_tok:  # of a later turn, the answer's tokens are in it too
            self.mill.learn(job.words, job.asked_prompt_tok, answer.prompt_tok)
