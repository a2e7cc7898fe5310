from __future__ import annotations

import numpy as np
import pytest

from joulemill.ledger.findings import Reason
from joulemill.ledger.phases import fit_phases, half_width_j_tok, merged_edges_s


def data(n: int = 80, noise_j: float = 0.0, constant_w: float = 0.0, seed: int = 1):
    rng = np.random.default_rng(seed)
    prompt, output = rng.uniform(0, 2000, n), rng.uniform(50, 300, n)
    joules = 0.02 * prompt + 1.5 * output + constant_w * 0.5 + noise_j * rng.standard_normal(n)
    return joules, prompt, output, np.full(n, 0.5)


def test_without_noise_the_truth_comes_back() -> None:
    fit = fit_phases(*data())
    assert (fit.prefill_j_tok, fit.decode_j_tok) == pytest.approx((0.02, 1.5))
    assert fit.finding is None and fit.prefill_stderr_j_tok < 1e-9


def test_a_power_that_follows_no_token_is_told_apart() -> None:
    fit = fit_phases(*data(noise_j=1.0, constant_w=60.0))
    assert fit.constant_w == pytest.approx(60.0, rel=0.1)
    assert (fit.prefill_j_tok, fit.decode_j_tok) == pytest.approx((0.02, 1.5), rel=0.05)


def test_standard_errors_are_honest() -> None:
    hits = 0
    for seed in range(200):
        fit = fit_phases(*data(40, noise_j=8.0, seed=seed))
        hits += abs(fit.decode_j_tok - 1.5) <= half_width_j_tok(fit.decode_stderr_j_tok, fit.freedom_count)
    assert 0.90 <= hits / 200 <= 0.995


def test_standard_errors_against_the_textbook() -> None:
    """σ²(XᵀX)⁻¹, by numpy's own inverse, where the residuals are alternating: no autocorrelation to widen for."""
    prompt = np.arange(1.0, 13.0)
    output = np.array([5.0, 1, 4, 2, 8, 5, 7, 1, 4, 2, 8, 5])
    joules = 3 * prompt + 7 * output + np.array([1.0, -1.0] * 6)
    fit = fit_phases(joules, prompt, output, np.ones(12))
    x = np.column_stack([prompt, output])
    beta = np.linalg.lstsq(x, joules, rcond=None)[0]
    sigma2 = np.sum((joules - x @ beta) ** 2) / 10
    assert (fit.prefill_j_tok, fit.decode_j_tok) == pytest.approx(tuple(beta))
    expected = np.sqrt(sigma2 * np.diag(np.linalg.inv(x.T @ x)))
    assert (fit.prefill_stderr_j_tok, fit.decode_stderr_j_tok) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda j, p, o, d: (j, 7 * o, o, d), Reason.COLLINEAR),
        (lambda j, p, o, d: (j, 7 * o + 1e-3 * p, o, d), Reason.COLLINEAR),
        (lambda j, p, o, d: (1.5 * o - 0.1 * p + 500, p, o, d), Reason.INSIGNIFICANT),
        (lambda j, p, o, d: (1000 * np.sin(7 * p) ** 2, p, o, d), Reason.INSIGNIFICANT),
        (lambda j, p, o, d: (j[:9], p[:9], o[:9], d[:9]), Reason.TOO_FEW_WINDOWS),
        (lambda j, p, o, d: (j, 0 * p, o, d), Reason.NO_TOKENS),
    ],
)
def test_nonsense_is_refused_with_its_code(change, code: Reason) -> None:
    fit = fit_phases(*change(*data()))
    assert fit.prefill_j_tok is None and fit.decode_j_tok is None and fit.finding.code is code


def test_scaling_joules_scales_the_fit() -> None:
    joules, *rest = data(noise_j=5.0)
    a, b = fit_phases(joules, *rest), fit_phases(4 * joules, *rest)
    assert b.decode_j_tok == pytest.approx(4 * a.decode_j_tok)
    assert b.decode_stderr_j_tok == pytest.approx(4 * a.decode_stderr_j_tok)


def test_sub_windows_are_merged_until_they_are_long_beside_the_delay() -> None:
    edges = np.linspace(0.0, 60.0, 121)
    assert np.diff(merged_edges_s(edges, 0.01)) == pytest.approx(0.5)
    assert np.diff(merged_edges_s(edges, 0.2)) == pytest.approx(2.0)
    assert len(merged_edges_s(edges, 1.5)) == 11  # ten sub-windows of 6 s: four times the delay still
    assert merged_edges_s(edges, 3.0) is None
