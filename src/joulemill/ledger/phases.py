"""Prefill and decode apart: J per prompt token computed and J per output token, by regression over sub-windows.

    above-idle joules_i = e_prefill · prompt_i + e_decode · output_i (+ c · dt_i where the data ask for it) + noise

Least squares; standard errors are widened for the residuals' autocorrelation. In a steady state prompt and output
tokens rise and fall together, and the data cannot tell them apart: then the answer is None with the reason, never
a split that was assumed. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.ledger.findings import Finding, Reason
from joulemill.statistics.ratio import autocorrelation_ratio

#: Fewest sub-windows, largest condition number of the scaled columns (Belsley: 30 is harmful), least |t|.
FEWEST = 10
CONDITION_MOST = 30.0
T_LEAST = 2.0
T_CONSTANT = 3.0
#: A sub-window should be this many times as long as work and its joules may be apart in time, at least the second.
ALIGNED_RATIO = 10.0
ALIGNED_LEAST_RATIO = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFit:
    """Energy of the phases, above idle. Values None where refused; then ``finding`` says why.

    prefill_j_tok per prompt token computed, decode_j_tok per output token, each with its standard error;
    constant_w   power above idle that follows neither, where significant
    """

    prefill_j_tok: float | None
    decode_j_tok: float | None
    prefill_stderr_j_tok: float | None
    decode_stderr_j_tok: float | None
    constant_w: float | None
    window_count: int
    freedom_count: int
    finding: Finding | None = None


def half_width_j_tok(stderr: float, freedom_count: int) -> float:
    """95 % half width that belongs to a standard error."""
    from scipy.special import stdtrit  # slow to load, and many a start needs none

    quantile: float = stdtrit(freedom_count, 0.975)
    return float(quantile) * stderr


@dataclass(frozen=True, slots=True)
class _Solution:
    coefficients: Array
    stderr: Array
    condition_ratio: float

    @property
    def t(self) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.stderr > 0.0, self.coefficients / self.stderr, np.inf * np.sign(self.coefficients))


def merged_edges_s(edges_s: Array, apart_s: float) -> Array | None:
    """Every m-th of ``edges_s``, so that sub-windows are long beside ``apart_s``; None where too few would be left.

    A prompt counts at its first token and its joules came before, and a meter lags: in sub-windows not much longer
    than that the joules of a token fall into another one, and the fit would be too small.
    """
    k, width = len(edges_s) - 1, float(edges_s[1] - edges_s[0])
    m = min(max(math.ceil(ALIGNED_RATIO * apart_s / width), 1), k // FEWEST)
    if m < 1 or m * width < ALIGNED_LEAST_RATIO * apart_s:
        return None
    return edges_s[: k - k % m + 1 : m]


def fit_phases(above_idle_j: Array, prompt_tok: Array, output_tok: Array, duration_s: Array) -> PhaseFit:
    """Fit over sub-windows [k]. Refuses, with a code, what is too short, collinear, negative or insignificant."""
    k = len(above_idle_j)
    if k < FEWEST:
        return refused_fit(k, Reason.TOO_FEW_WINDOWS, f"{k} sub-windows, {FEWEST} needed; run longer")
    if not prompt_tok.any() or not output_tok.any():
        return refused_fit(k, Reason.NO_TOKENS, "prompt or output tokens are all 0 in the window")
    two = np.column_stack([prompt_tok, output_tok])
    solved = _solve(two, above_idle_j)
    constant = None
    if solved.condition_ratio <= CONDITION_MOST:
        three = _solve(np.column_stack([two, duration_s]), above_idle_j)
        if abs(three.t[2]) > T_CONSTANT:
            solved, constant = three, float(three.coefficients[2])
    if solved.condition_ratio > CONDITION_MOST:
        detail = f"condition number {solved.condition_ratio:.0f} > {CONDITION_MOST:.0f}: prompt and output go together"
        return refused_fit(k, Reason.COLLINEAR, f"{detail}; vary the prompt length, or use bursts")
    weak = [n for n, t in zip(("prefill", "decode"), solved.t[:2], strict=True) if t < T_LEAST]
    if weak:
        t = ", ".join(f"{x:.1f}" for x in solved.t[:2])
        return refused_fit(k, Reason.INSIGNIFICANT, f"{' and '.join(weak)} not above zero (t = {t}); run longer")
    (e_p, e_d), (s_p, s_d) = solved.coefficients[:2], solved.stderr[:2]
    freedom = k - len(solved.coefficients)
    return PhaseFit(
        prefill_j_tok=float(e_p),
        decode_j_tok=float(e_d),
        prefill_stderr_j_tok=float(s_p),
        decode_stderr_j_tok=float(s_d),
        constant_w=constant,
        window_count=k,
        freedom_count=freedom,
    )


def refused_fit(k: int, code: Reason, detail: str) -> PhaseFit:
    """No split, and why."""
    return PhaseFit(
        prefill_j_tok=None,
        decode_j_tok=None,
        prefill_stderr_j_tok=None,
        decode_stderr_j_tok=None,
        constant_w=None,
        window_count=k,
        freedom_count=0,
        finding=Finding(code, "phases", detail, fatal=True),
    )


def _solve(x: Array, y: Array) -> _Solution:
    """Least squares on columns scaled to unit length, so that the condition number is about directions, not units."""
    scale = np.linalg.norm(x, axis=0)
    u, s, vt = np.linalg.svd(x / scale, full_matrices=False)
    condition = math.inf if s[-1] <= 1e-12 * s[0] else float(s[0] / s[-1])
    if math.isinf(condition):
        return _Solution(np.full(x.shape[1], np.nan), np.full(x.shape[1], np.inf), condition)
    beta = vt.T @ ((u.T @ y) / s)
    residual = y - (x / scale) @ beta
    phi = autocorrelation_ratio(residual)
    variance = float(residual @ residual) / (len(y) - x.shape[1]) * (1.0 + phi) / (1.0 - phi)
    stderr = np.sqrt(variance * np.sum((vt.T / s) ** 2, axis=1))
    return _Solution(beta / scale, stderr / scale, condition)
