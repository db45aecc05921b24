"""A whole recording at once through overlapping windows, merged as a box does live."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.picker import WINDOW

Floats = NDArray[np.float32]


def vote(
    probabilities: Callable[[Floats], Floats],
    samples: Floats,
    stride: int = 100,
    window: int = WINDOW,
) -> Floats:
    """The median over the overlapping windows at each sample.

    probabilities: a picker's, (window, 3) -> (window, 3). samples: conditioned, shape (n, 3),
    n ≥ window -> merged, shape (n, 3). The first and last window have fewer votes; what lies
    beyond the last whole one has none and is 0.
    """
    windows = [
        probabilities(samples[start : start + window])
        for start in range(0, len(samples) - window + 1, stride)
    ]
    blocks = window // stride
    merged = np.zeros(samples.shape, np.float32)
    for block in range(len(windows) + blocks - 1):
        voters = range(max(0, block - blocks + 1), min(block, len(windows) - 1) + 1)
        votes = [windows[k][(block - k) * stride : (block - k + 1) * stride] for k in voters]
        merged[block * stride : (block + 1) * stride] = np.median(votes, axis=0)
    return merged
