"""A whole recording at once through overlapping windows, merged as a box does live."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.conditioning import RATE
from models.picker import WINDOW

Floats = NDArray[np.float32]
BEGINS = 5 * RATE  # samples a box must have before it judges; what was before them is zeros


def vote(
    probabilities: Callable[[Floats], Floats],
    samples: Floats,
    stride: int = 100,
    window: int = WINDOW,
) -> Floats:
    """The median over the overlapping windows at each sample.

    probabilities: a picker's, (window, 3) -> (window, 3). samples: conditioned, shape (n, 3)
    -> merged, shape (n, 3). The newest samples have fewer votes than others; what lies beyond
    the last whole stride has none and is 0.
    """
    blocks = window // stride
    lead = (blocks - BEGINS // stride) * stride
    padded = np.concatenate([np.zeros((lead, samples.shape[1]), np.float32), samples])
    windows = [
        probabilities(padded[start : start + window])
        for start in range(0, len(padded) - window + 1, stride)
    ]
    merged = np.zeros(padded.shape, np.float32)
    for block in range(len(windows) + blocks - 1 if windows else 0):
        voters = range(max(0, block - blocks + 1), min(block, len(windows) - 1) + 1)
        votes = [windows[k][(block - k) * stride : (block - k + 1) * stride] for k in voters]
        merged[block * stride : (block + 1) * stride] = np.median(votes, axis=0)
    return merged[lead:]
