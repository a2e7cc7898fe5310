"""Reason codes: why a joule figure is refused, or what must stand beside it.

A code is stable and for machines; its text says what happened and, where something can be done, what. A *fatal*
finding refuses the figure (value None); any other is a caveat that has already widened the interval or needs telling.
Nothing is ever clamped into looking right. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Codes, stable across versions."""

    NO_METER = "no_meter"
    NO_READINGS = "no_readings"
    TOO_FEW_READINGS = "too_few_readings"
    NOT_BRACKETED = "window_not_bracketed"
    WINDOW_TOO_SHORT = "window_too_short"
    GAP = "gap_exceeded"
    READ_FAILED = "read_failed"
    NOT_FINITE = "not_finite"
    NEGATIVE = "negative_reading"
    BLANK = "vendor_blank"
    IMPLAUSIBLE = "implausible_reading"
    JUMPED = "counter_jumped"
    DEAD_SENSOR = "dead_sensor"
    RESET = "counter_reset"
    WRAPPED = "counter_wrapped"
    WRAP_AMBIGUOUS = "wrap_ambiguous"
    STALE = "stale_counter"
    COARSE = "coarse_for_window"
    DUPLICATE = "duplicate_reading"
    CONFLICT = "conflicting_readings"
    LATE = "late_reading"
    CLOCK_OFFSET = "clock_offset"
    CLOCK_UNKNOWN = "clock_unknown"
    MISSING_DEVICE = "missing_device"
    UNEXPECTED_DEVICE = "unexpected_device"
    NO_IDENTITY = "no_device_identity"
    SHARED_DEVICE = "shared_device"
    DUPLICATE_CHANNEL = "duplicate_channel"
    OVERLAP = "overlap_resolved"
    AMBIGUOUS_DEVICES = "ambiguous_devices"
    DISAGREEMENT = "meters_disagree"
    PARTIAL = "partial_coverage"
    FELL_BACK = "better_meter_refused"
    NO_IDLE = "no_idle_baseline"
    NO_LOAD = "no_load_phase"
    NO_TOKENS = "no_tokens"
    NOT_STEADY = "not_steady"
    TOO_FEW_WINDOWS = "too_few_sub_windows"
    COLLINEAR = "collinear"
    INSIGNIFICANT = "insignificant"
    TOKENS_DISAGREE = "token_counts_disagree"
    UNCOUNTED_TOKENS = "uncounted_tokens"
    CACHED_PROMPTS = "prompts_cached_before"
    IMPLAUSIBLE_TOKENS = "implausible_tokens"
    CACHED_ABOVE_PROMPT = "cached_above_prompt"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason: code, what it is about (a channel, a scope), a sentence, and whether it refuses the figure."""

    code: Reason
    subject: str
    detail: str
    fatal: bool = False

    @property
    def text(self) -> str:
        """One line for a report."""
        return f"{self.code.value}: {self.subject}: {self.detail}"


def refused(findings: Iterable[Finding]) -> bool:
    """Whether any of ``findings`` refuses the figure."""
    return any(f.fatal for f in findings)


def why(findings: Iterable[Finding]) -> str:
    """The fatal findings as one line; empty where there are none."""
    return "; ".join(dict.fromkeys(f.text for f in findings if f.fatal))


def distinct(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """``findings`` without repetitions, order kept."""
    return tuple(dict.fromkeys(findings))
