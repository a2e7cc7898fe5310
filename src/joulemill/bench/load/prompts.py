"""Prompts of an asked number of tokens, without a tokenizer: the server's own usage counts are the ruler.

A few prompts of different word counts are sent first; a straight line tokens = a + b·words through what the server
counted (a: the chat template) then sizes every prompt, and each reply's usage refines the line. A prompt starts with
its own number and is a shuffle of its own, both drawn from the run's salt, so that prefix caches do not hit beyond the
chat template, neither within a run nor from one run to the next, unless a shared prefix is asked for. What was
achieved is reported by ``achieved``, never assumed.
"""

from __future__ import annotations

import random
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from joulemill.errors import ServerError

#: Word counts of the calibration prompts: far enough apart for the slope, short enough for a slow server.
CALIBRATION_WORDS = (16, 64, 192)
#: Replies that the line is refined with; older ones are forgotten.
MEMORY = 64
#: Tokens a word of plain English, before anything is known (assumed; tokenizers differ from 1.2 to 1.5).
GUESS_TOK_WORD = 1.35
_TASK = "Continue this account at length."
_LEAD = "Account"


@cache
def sentences() -> tuple[tuple[str, ...], ...]:
    """The bundled text, our own: the words of each sentence."""
    text = (files("joulemill.catalog") / "data" / "prompts.txt").read_text(encoding="utf-8")
    return tuple(tuple(line.split()) for line in text.splitlines() if line)


def fresh_salt() -> str:
    """A salt that no run had before: a server that keeps prompts must meet each run's for the first time."""
    return secrets.token_hex(8)


def prompt_text(seed: int, index: int, words: int, *, shared_words: int = 0, salt: str = "") -> str:
    """A prompt of exactly ``words`` words (at least 1), the same for the same arguments.

    The first ``shared_words`` are the same for every index; then come the prompt's own number and its own sentences.
    """
    shared = _drawn(random.Random(f"{salt}:{seed}:shared"), min(shared_words, words))
    # A number of mixed digits first: counting numbers would share their leading token between neighbors.
    own = random.Random(f"{salt}:{seed}:{index}")
    lead = [f"{own.randrange(10**8):08d}.{index}", _LEAD]
    task = _TASK.split()
    room = words - len(shared) - len(lead) - len(task)
    if room < 0:
        return " ".join((shared + lead + task)[: max(1, words)])
    return " ".join(shared + lead + _drawn(own, room) + task)


def _drawn(rng: random.Random, words: int) -> list[str]:
    text, drawn = sentences(), list[str]()
    while len(drawn) < words:
        drawn += text[rng.randrange(len(text))]
    return drawn[:words]


@dataclass(frozen=True, slots=True)
class TokenLengthFit:
    """tokens = overhead_tok + tok_word · words."""

    overhead_tok: float
    tok_word: float

    def words(self, asked_tok: int) -> int:
        """The word count whose tokens come nearest to ``asked_tok``, at least 1."""
        return max(1, round((asked_tok - self.overhead_tok) / self.tok_word))


def fitted(samples: Sequence[tuple[int, int]], *, overhead_tok: float | None = None) -> TokenLengthFit:
    """Least-squares line through (words, tokens) pairs; the slope alone where the overhead is known or the words agree.

    Raises ServerError where no line with a positive slope goes through them: the server's counts do not follow the
    prompt's length.
    """
    n = len(samples)
    mean_words, mean_tok = sum(w for w, _ in samples) / n, sum(t for _, t in samples) / n
    spread = sum((w - mean_words) ** 2 for w, _ in samples)
    if overhead_tok is None and spread > 0:
        slope = sum((w - mean_words) * (t - mean_tok) for w, t in samples) / spread
        overhead = mean_tok - slope * mean_words
    else:
        overhead = overhead_tok or 0.0
        slope = (mean_tok - overhead) / mean_words
    if not slope > 0:
        raise ServerError(
            "the server's prompt_tokens do not grow with the prompt, prompts cannot be sized; check its usage counts",
            usage=True,
        )
    return TokenLengthFit(overhead, slope)


class PromptGenerator:
    """Makes prompts of asked token counts and learns from the counts that come back."""

    def __init__(self, seed: int, *, shared_prefix_tok: int = 0, salt: str = "") -> None:
        self.seed, self.salt = seed, salt
        self.shared_prefix_tok = shared_prefix_tok
        self.line = TokenLengthFit(0.0, GUESS_TOK_WORD)
        self._calibrated: TokenLengthFit | None = None
        self._recent: deque[tuple[int, int]] = deque(maxlen=MEMORY)
        self._errors: list[float] = []

    def prompt(self, index: int, asked_tok: int) -> tuple[str, int]:
        """Text and word count of prompt ``index`` for about ``asked_tok`` prompt tokens as the server counts them."""
        words = self.line.words(asked_tok)
        shared = round(self.shared_prefix_tok / self.line.tok_word) if self.shared_prefix_tok else 0
        return self.text(index, words, shared), words

    def text(self, index: int, words: int, shared_words: int = 0) -> str:
        """Prompt ``index`` of this run, of ``words`` words."""
        return prompt_text(self.seed, index, words, shared_words=shared_words, salt=self.salt)

    def calibrate(self, samples: Sequence[tuple[int, int]]) -> TokenLengthFit:
        """Take the line from calibration replies, (words, prompt tokens) each."""
        self.line = self._calibrated = fitted(samples)
        self._recent.clear()
        self._errors.clear()
        return self.line

    def learn(self, words: int, asked_tok: int, prompt_tok: int) -> None:
        """Take in one reply's count: the overhead stays, the slope follows the last MEMORY replies."""
        self._errors.append((prompt_tok - asked_tok) / asked_tok)
        overhead_tok = self._calibrated.overhead_tok if self._calibrated else 0.0
        if words < CALIBRATION_WORDS[0] or prompt_tok <= overhead_tok:
            return
        self._recent.append((words, prompt_tok))
        if len(self._recent) >= len(CALIBRATION_WORDS):
            self.line = fitted(self._recent, overhead_tok=overhead_tok)

    def achieved(self) -> dict[str, float | int | None]:
        """How well prompt lengths were met: mean and worst relative error of the prompts sent since calibration."""
        if not self._errors:
            return {"prompts": 0, "mean_error_ratio": None, "worst_error_ratio": None, "tok_word": self.line.tok_word}
        return {
            "prompts": len(self._errors),
            "mean_error_ratio": sum(self._errors) / len(self._errors),
            "worst_error_ratio": max(self._errors, key=abs),
            "tok_word": self.line.tok_word,
        }
