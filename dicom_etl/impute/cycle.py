"""Times in the cardiac cycle: a cine stack shows one beat, so the last phase is followed by the first.

The ventricle does not empty and fill at an even pace. In systole it goes from end-diastole (ED) to
end-systole (ES) about like half a cosine. In diastole the first third brings most of the blood, the middle
third (diastasis) almost none, and in the last third the atria contract and add about a fifth (Guyton and
Hall, Textbook of Medical Physiology, chapter 9, "The Heart as a Pump").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHARE_DIGITS = 9
"""Shares are rounded, since two processors may disagree about the last bit of a cosine."""

_THIRDS = (0.0, 1 / 3, 2 / 3, 1.0)
_FILLED = (0.0, 0.75, 0.8, 1.0)
"""Share of the stroke volume that has come back after each third of diastole."""


def period_ms(times_ms: Sequence[float]) -> float:
    """Return the length of the cycle that phases at these times are part of: their span and one more step.

    NaN when fewer than three times are known, which is too few to tell.
    """
    times = np.sort(np.asarray(times_ms, dtype=np.float64))
    times = times[np.isfinite(times)]
    if len(times) < 3:
        return float("nan")
    return float(times[-1] - times[0] + np.median(np.diff(times)))


def contraction(time_ms: float, ed_ms: float, es_ms: float, period: float) -> float:
    """Return how far the ventricle has contracted at a trigger time, of whatever beat: 0 at ED, 1 at ES."""
    systole = (es_ms - ed_ms) % period
    since_ed = (time_ms - ed_ms) % period
    if since_ed <= systole:
        return float(_ease(since_ed / systole))
    part = (since_ed - systole) / (period - systole)
    third = min(int(part * 3), 2)
    eased = _ease((part - _THIRDS[third]) * 3)
    return float(1 - (_FILLED[third] + eased * (_FILLED[third + 1] - _FILLED[third])))


def _ease(part: float) -> float:
    """Go from 0 to 1 like half a cosine: at rest at both ends."""
    return float((1 - np.cos(np.pi * part)) / 2)


def later_share(
    time_ms: float, before_ms: float, after_ms: float, period: float, ed_es_ms: tuple[float, float] | None
) -> float:
    """Return the weight, 0 to 1, of the later of two drawn phases for a time between them.

    When both lie in systole, or both in diastole (ED and ES count for either), the weight follows the
    contraction; when ED or ES lies between them, or is not known, it follows the time. The phases follow each other
    in the order before, time, after around the cycle.
    """
    span = (after_ms - before_ms) % period
    elapsed = (time_ms - before_ms) % period
    if ed_es_ms is not None and not any(0 < (turn - before_ms) % period < span for turn in ed_es_ms):
        start, now, end = (
            contraction(when, ed_es_ms[0], ed_es_ms[1], period) for when in (before_ms, time_ms, after_ms)
        )
        # ED opens systole at 0 and ends diastole at 0, ES is 1 from both sides: only a flat stretch leaves
        # nothing to go by.
        if abs(end - start) > 0.05:
            return round(min(1.0, max(0.0, (now - start) / (end - start))), SHARE_DIGITS)
    return round(elapsed / span, SHARE_DIGITS)
