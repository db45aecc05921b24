"""A whole recording at once through overlapping windows, merged and picked as a box does live."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.picker import WINDOW

Floats = NDArray[np.float32]


def vote(probabilities: Callable[[Floats], Floats], samples: Floats, stride: int = 100) -> Floats:
    """The median over the overlapping windows at each sample.

    probabilities: a picker's, (3000, 3) -> (3000, 3). samples: conditioned, shape (n, 3),
    n ≥ 3000 -> merged, shape (n, 3). The first and last 30 s have fewer votes; what lies beyond
    the last whole window has none and is 0.
    """
    windows = [
        probabilities(samples[start : start + WINDOW])
        for start in range(0, len(samples) - WINDOW + 1, stride)
    ]
    blocks = WINDOW // stride
    merged = np.zeros(samples.shape, np.float32)
    for block in range(len(windows) + blocks - 1):
        voters = range(max(0, block - blocks + 1), min(block, len(windows) - 1) + 1)
        votes = [windows[k][(block - k) * stride : (block - k + 1) * stride] for k in voters]
        merged[block * stride : (block + 1) * stride] = np.median(votes, axis=0)
    return merged


def find_picks(curve: Floats, threshold: float, separation: int = 50) -> list[tuple[float, float]]:
    """Peaks (position in samples, height) of a curve (n,) at or above a threshold.

    Positions are centroids of the part above 0.7 of the height: int8 outputs have flat tops.
    """
    padded = np.concatenate(([0.0], curve, [0.0]))
    tops, _ = signal.find_peaks(padded, height=threshold, distance=separation)
    return [(_centroid(curve, int(top) - 1), float(curve[top - 1])) for top in tops]


def _centroid(curve: Floats, top: int) -> float:
    low = 0.7 * curve[top]
    below = np.flatnonzero(curve < low)
    turn = int(np.searchsorted(below, top))
    first = int(below[turn - 1]) + 1 if turn else 0
    last = int(below[turn]) if turn < len(below) else len(curve)
    weights = curve[first:last].astype(np.float64) - low + 1e-9
    return float(np.average(np.arange(first, last), weights=weights))
