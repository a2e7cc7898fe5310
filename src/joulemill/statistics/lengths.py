"""Lengths of prompts and replies: fixed or drawn, as the user writes them.

``128`` fixed · ``64-256`` uniform, ends included · ``normal:MEAN:SD`` · ``lognormal:MEAN:SD`` (mean and standard
deviation of the length itself, not of its logarithm) · ``lognormal:MEAN:p90=LENGTH`` · or a sample to draw from.
Randomness comes from a passed generator; nothing else is touched. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulemill.errors import InputError

#: A drawn length stays within this many standard deviations of its mean, so that one draw cannot overrun a context.
TAIL_SD = 4.0
#: More tokens than any context holds (assumed).
MOST_TOK = 10_000_000
#: 90th percentile of the standard normal.
Z90 = 1.2815515655446004
_UNIFORM = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of token counts, never below 1.

    kind    "fixed", "uniform", "normal", "lognormal" or "sample"
    a_tok, b_tok   value and 0; least and greatest; mean and standard deviation; mean of the sample and 0
    sample_tok   lengths to draw from, with replacement
    """

    kind: str
    a_tok: float
    b_tok: float = 0.0
    sample_tok: tuple[int, ...] = ()

    @property
    def mean_tok(self) -> float:
        """Mean of the distribution, before its tails are cut."""
        return (self.a_tok + self.b_tok) / 2.0 if self.kind == "uniform" else self.a_tok

    @property
    def bound_tok(self) -> int:
        """The greatest length that can be drawn."""
        if self.kind == "fixed":
            return int(self.a_tok)
        if self.kind == "sample":
            return max(self.sample_tok)
        return int(self.b_tok) if self.kind == "uniform" else max(1, math.floor(self.a_tok + TAIL_SD * self.b_tok))

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """``count`` lengths, shape (count,), tokens. The cut tails move the mean of wide distributions slightly."""
        if self.kind == "fixed":
            return np.full(count, int(self.a_tok), dtype=np.int64)
        if self.kind == "uniform":
            return rng.integers(int(self.a_tok), int(self.b_tok), size=count, endpoint=True)
        if self.kind == "sample":
            return rng.choice(np.asarray(self.sample_tok, dtype=np.int64), size=count)
        if self.kind == "normal":
            drawn = rng.normal(self.a_tok, self.b_tok, size=count)
        else:
            spread = math.sqrt(math.log1p((self.b_tok / self.a_tok) ** 2))
            drawn = rng.lognormal(math.log(self.a_tok) - spread**2 / 2, spread, size=count)
        return np.clip(np.rint(drawn), 1, self.bound_tok).astype(np.int64)


def parse_lengths(text: str, name: str = "length") -> Lengths:
    """Read a length specification. Raises InputError that names the flag ``name`` and the forms that would do."""
    wrong = InputError(
        f"{name}: {text!r} is not a length; write 128, 64-256, normal:128:32, lognormal:128:64 or "
        "lognormal:128:p90=300 (tokens)"
    )
    text = text.strip()
    bounds = _UNIFORM.fullmatch(text)
    if bounds is not None:
        return _uniform(int(bounds.group(1)), int(bounds.group(2)), text, name)
    if text.isascii() and text.isdigit():
        _bounded(int(text) if len(text) <= 9 else math.inf, text, name)
        if int(text) < 1:
            raise InputError(f"{name}: must be at least 1 token, not {text}")
        return Lengths("fixed", int(text))
    kind, *numbers = text.split(":")
    if kind not in {"normal", "lognormal"} or len(numbers) != 2:
        raise wrong
    p90 = kind == "lognormal" and numbers[1].startswith("p90=")
    try:
        mean, deviation = float(numbers[0]), float(numbers[1].removeprefix("p90=") if p90 else numbers[1])
    except ValueError:
        raise wrong from None
    deviation = _deviation_tok(mean, deviation, text, name) if p90 else deviation
    if not (math.isfinite(mean) and math.isfinite(deviation) and mean >= 1 and deviation >= 0):
        raise InputError(f"{name}: {text!r} needs a mean of at least 1 and a standard deviation of at least 0")
    _bounded(mean + TAIL_SD * deviation, text, name)
    return Lengths(kind, mean, deviation)


def _uniform(low: int, high: int, text: str, name: str) -> Lengths:
    _bounded(high, text, name)
    if not 1 <= low <= high:
        raise InputError(f"{name}: {text!r} must run from at least 1 up to something not smaller")
    return Lengths("uniform", low, high)


def sample_lengths(lengths_tok: Sequence[int], name: str = "length") -> Lengths:
    """Lengths to be drawn from a sample of them. Raises InputError where one is no length, or there are none."""
    sample = tuple(int(n) for n in lengths_tok)
    if not sample or min(sample) < 1 or max(sample) > MOST_TOK:
        raise InputError(f"{name}: a sample needs lengths from 1 to {MOST_TOK:,} tokens, at least one")
    return Lengths("sample", math.fsum(sample) / len(sample), sample_tok=sample)


def _deviation_tok(mean_tok: float, p90_tok: float, text: str, name: str) -> float:
    """Standard deviation of the lognormal with mean m and 90th percentile q: ln q = ln m − s²/2 + z·s, lesser s."""
    most = math.exp(Z90**2 / 2.0)
    ratio = p90_tok / mean_tok if mean_tok > 0 and math.isfinite(p90_tok) else math.nan
    if not 1.0 <= ratio <= most:
        raise InputError(f"{name}: {text!r}: no lognormal has that; p90 lies between 1 and {most:.2f} times the mean")
    spread = Z90 - math.sqrt(max(Z90**2 - 2.0 * math.log(ratio), 0.0))
    return mean_tok * math.sqrt(math.expm1(spread**2))


def _bounded(most_tok: float, text: str, name: str) -> None:
    if most_tok > MOST_TOK:
        raise InputError(f"{name}: {text[:40]!r} goes beyond {MOST_TOK:,} tokens, more than any context holds")
