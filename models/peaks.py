"""Onsets in a probability curve: peaks, refined to a fraction of a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

SEPARATION = 50  # samples: two onsets of one phase are at least half a second apart
TOP = 0.7  # of a peak's height: the part of it that tells where it stands


def find_peaks(
    curve: NDArray[np.float32], threshold: float, separation: int = SEPARATION
) -> list[tuple[float, float]]:
    """Peaks (position in samples, height) of a curve (n,) at or above a threshold.

    The position is the centroid of the peak's upper part: an int8 output has flat tops, on
    which the highest sample is arbitrary. Two peaks are at least `separation` samples apart;
    of closer ones the highest stays. Peaks on the very edge count: the newest second has one
    while an onset is only half seen.
    """
    # find_peaks wants a descent on both sides of a peak.
    padded = np.concatenate(([0.0], curve, [0.0]))
    tops, _ = signal.find_peaks(padded, height=threshold, distance=max(1, separation))
    return [(_centroid(curve, int(top) - 1), float(curve[top - 1])) for top in tops]


def _centroid(curve: NDArray[np.float32], top: int) -> float:
    low = TOP * curve[top]
    first = last = top
    while first > 0 and curve[first - 1] >= low:
        first -= 1
    while last < len(curve) - 1 and curve[last + 1] >= low:
        last += 1
    weights = curve[first : last + 1].astype(np.float64) - low + 1e-9
    return float(np.average(np.arange(first, last + 1), weights=weights))
