"""Lengths of prompts and replies: fixed or drawn, as the user writes them.

``128`` fixed · ``64-256`` uniform, ends included · ``normal:MEAN:SD`` · ``lognormal:MEAN:SD`` (mean and standard
deviation of the length itself, not of its logarithm).
Randomness comes from a passed generator; nothing else is touched.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulemill.errors import InputError

#: A drawn length stays within this many standard deviations of its mean, so that one draw cannot overrun a context.
TAIL_SD = 4.0
#: More tokens than any context holds (assumed).
MOST_TOK = 10_000_000
_UNIFORM = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of token counts, never below 1.

    kind    "fixed", "uniform", "normal" or "lognormal"
    a, b    value and 0; least and greatest; mean and standard deviation
    """

    kind: str
    a: float
    b: float = 0.0

    @property
    def bound_tok(self) -> int:
        """The greatest length that can be drawn."""
        if self.kind == "fixed":
            return int(self.a)
        return int(self.b) if self.kind == "uniform" else max(1, math.floor(self.a + TAIL_SD * self.b))

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """``count`` lengths, shape (count,), tokens. The cut tails move the mean of wide distributions slightly."""
        if self.kind == "fixed":
            return np.full(count, int(self.a), dtype=np.int64)
        if self.kind == "uniform":
            return rng.integers(int(self.a), int(self.b), size=count, endpoint=True)
        if self.kind == "normal":
            drawn = rng.normal(self.a, self.b, size=count)
        else:
            spread = math.sqrt(math.log1p((self.b / self.a) ** 2))
            drawn = rng.lognormal(math.log(self.a) - spread**2 / 2, spread, size=count)
        return np.clip(np.rint(drawn), 1, self.bound_tok).astype(np.int64)


def parse_lengths(text: str, name: str = "length") -> Lengths:
    """Read a length specification. Raises InputError that names the flag ``name`` and the forms that would do."""
    wrong = InputError(
        f"{name}: {text!r} is not a length; write 128, 64-256, normal:128:32 or lognormal:128:64 (tokens)"
    )
    text = text.strip()
    uniform = _UNIFORM.fullmatch(text)
    if uniform is not None:
        low, high = int(uniform.group(1)), int(uniform.group(2))
        _bounded(high, text, name)
        if not 1 <= low <= high:
            raise InputError(f"{name}: {text!r} must run from at least 1 up to something not smaller")
        return Lengths("uniform", low, high)
    if text.isascii() and text.isdigit():
        _bounded(int(text) if len(text) <= 9 else math.inf, text, name)
        if int(text) < 1:
            raise InputError(f"{name}: must be at least 1 token, not {text}")
        return Lengths("fixed", int(text))
    kind, *numbers = text.split(":")
    if kind not in {"normal", "lognormal"} or len(numbers) != 2:
        raise wrong
    try:
        mean, deviation = (float(n) for n in numbers)
    except ValueError:
        raise wrong from None
    if not (math.isfinite(mean) and math.isfinite(deviation) and mean >= 1 and deviation >= 0):
        raise InputError(f"{name}: {text!r} needs a mean of at least 1 and a standard deviation of at least 0")
    _bounded(mean + TAIL_SD * deviation, text, name)
    return Lengths(kind, mean, deviation)


def _bounded(most_tok: float, text: str, name: str) -> None:
    if most_tok > MOST_TOK:
        raise InputError(f"{name}: {text[:40]!r} goes beyond {MOST_TOK:,} tokens, more than any context holds")
