"""Quantiles of the standard normal distribution that intervals are made with, in one place. Pure."""

from __future__ import annotations

#: Half-width of the interval that holds 95 %, in standard deviations.
Z_95 = 1.959963984540054
#: Of the one that holds 80 %: nine tenths lie below it.
Z_80 = 1.2816
