"""Speculative decoding: k tokens drafted a sequence and step, all checked at once, and how many of them hold. Pure.

A step that verifies has 1 + k queries a sequence: weights and keys are read once, arithmetic is done 1 + k times. Where
each drafted token is accepted with probability α as long as those before it were, a step yields (Leviathan et al. 2023,
arXiv:2211.17192, equation 1)

    E(α, k) = 1 + α + … + αᵏ = (1 − α^(k+1))/(1 − α)         tokens per sequence

Drafts come from a model of its own (k steps of it, one after another, and its pass over every prompt), from the model's
own drafting layers (k passes of one more layer: multi-token prediction), or from the prompt itself (n-grams, free).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision

#: Share of first drafted tokens that are accepted, and of each later one after an accepted one. First: DeepSeek-V3's
#: drafting layer, 85–90 % over generation topics (arXiv:2412.19437, section 5.4.3). Later, from the same layer run
#: again: three drafted are 2.16 times as fast as none at batch 1 (TensorRT-LLM, tech blog 2), about 2.6 tokens a step.
DRAFT_ACCEPTANCE_RATIO = (0.85, 0.58)
#: Acceptance of a draft model's tokens where nobody states it (assumed; it depends on the task and the pair of models).
USUAL_ACCEPTANCE_RATIO = 0.7
#: More drafted tokens are never accepted in a row.
MOST_DRAFTED = 64


@dataclass(frozen=True)
class Speculation:
    """How tokens are drafted.

    draft_count       drafted a sequence and step
    acceptance_ratio  α; None: that of the model's drafting layers as published, of a draft model 0.7 (assumed)
    architecture, precision   of the draft model; None: the model's own drafting layers, or n-grams of the prompt
    ngram             drafts are looked up in the text so far, which costs nothing on the devices
    """

    draft_count: int
    acceptance_ratio: float | None = None
    architecture: Architecture | None = None
    precision: Precision | None = None
    ngram: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.draft_count <= MOST_DRAFTED:
            raise InputError(f"{self.draft_count} draft tokens per step; it must lie between 0 and {MOST_DRAFTED}")
        if self.acceptance_ratio is not None and not 0.0 <= self.acceptance_ratio <= 1.0:
            raise InputError(f"acceptance rate is {self.acceptance_ratio}; it must lie between 0 and 1")

    @property
    def accepting_ratio(self) -> float:
        """α as it is computed with; NaN where the published acceptance of drafting layers holds."""
        if self.acceptance_ratio is not None:
            return self.acceptance_ratio
        return np.nan if self.architecture is None else USUAL_ACCEPTANCE_RATIO


def accepted_tok(draft_count: Array | float, acceptance_ratio: Array | float = np.nan) -> Array:
    """Tokens that a step yields a sequence: its own, and those accepted of k drafted. NaN: the published acceptance of
    a model's drafting layers, 1 + α₁(1 + λ + … + λᵏ⁻¹)."""
    k, a = np.asarray(draft_count, dtype=np.float64), np.asarray(acceptance_ratio, dtype=np.float64)
    first, later = DRAFT_ACCEPTANCE_RATIO
    own = 1.0 + first * (1.0 - later**k) / (1.0 - later)
    stated = np.where(a < 1.0, (1.0 - a ** (k + 1.0)) / np.where(a < 1.0, 1.0 - a, 1.0), k + 1.0)
    return np.asarray(np.where(np.isnan(a), own, stated))


def yield_acceptance_ratio(yielded_tok: float, draft_count: int) -> float:
    """α for which a step yields ``yielded_tok`` of ``draft_count`` drafted tokens: ``accepted_tok`` the other way."""
    from scipy.optimize import brentq  # heavy: imported when used

    def beyond_tok(ratio: float) -> float:
        return float(accepted_tok(draft_count, ratio)) - yielded_tok

    if yielded_tok <= 1.0:
        return 0.0
    return 1.0 if beyond_tok(1.0) <= 0.0 else float(brentq(beyond_tok, 0.0, 1.0))
