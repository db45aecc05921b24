"""Merging the overlapping windows: every sample is judged by up to 30 of them, one a second.

A pick whose probability depends on where the window happened to start is not to be trusted;
the median over the strides keeps what most windows agree on (Hong et al. 2023, KFpicker,
doi 10.3389/feart.2023.1306488).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Merge = Literal["median", "max", "mean"]

STRIDE = 100  # samples between windows: one second
LEVELS = 256  # an int8 sigmoid has as many; a vote is a whole number of them


class Vote:
    """The votes on the last `window` samples, shape (blocks, votes, classes, STRIDE).

    A block is one second of samples. Its vote number k comes from the window that ended k
    seconds after it did, so block b has had as many votes as seconds have passed since.
    """

    def __init__(self, window: int, classes: int, merge: Merge = "median") -> None:
        self.blocks = window // STRIDE
        self.classes = classes
        self.merge = merge
        self._votes = np.zeros((self.blocks, self.blocks, classes, STRIDE), np.uint8)
        self._highest = np.zeros((self.blocks, classes), np.uint8)
        self._count = np.zeros(self.blocks, np.int64)  # votes had by the block in each slot
        self.newest = -1  # number of the newest block; blocks are numbered by the caller

    def reset(self) -> None:
        """Forget all votes: what comes next is not connected with what was."""
        self._votes[:] = 0
        self._highest[:] = 0
        self._count[:] = 0
        self.newest = -1

    def add(self, newest: int, probabilities: NDArray[np.float32]) -> None:
        """The output of the window whose last block is `newest`, shape (window, classes)."""
        if newest != self.newest + 1:
            self.reset()
        levels = np.minimum(probabilities * LEVELS + 0.5, LEVELS - 1).astype(np.uint8)
        # Samples last: numpy is many times faster at what follows than with classes last.
        blocks = np.ascontiguousarray(levels.T).reshape(self.classes, self.blocks, STRIDE)
        self.newest = newest
        slot_of_newest = newest % self.blocks
        self._count[slot_of_newest] = 0
        self._highest[slot_of_newest] = 0
        slots = np.arange(newest - self.blocks + 1, newest + 1) % self.blocks
        # Blocks from before the first window get votes too; nobody asks for those of age > count.
        self._votes[slots, np.arange(self.blocks - 1, -1, -1)] = blocks.swapaxes(0, 1)
        self._highest[slots] = np.maximum(self._highest[slots], blocks.max(axis=2).T)
        self._count[slots] += 1

    def votes_of(self, block: int) -> NDArray[np.uint8]:
        """All votes on a block so far, oldest first, shape (votes, classes, STRIDE)."""
        slot = block % self.blocks
        age = self.newest - block
        count = min(age + 1, int(self._count[slot]))
        votes: NDArray[np.uint8] = self._votes[slot, age + 1 - count : age + 1]
        return votes

    def active(self, klass: int, level: float) -> NDArray[np.int64]:
        """Numbers of the blocks on which at least one vote reached `level`, ascending."""
        first = self.newest - self.blocks + 1
        numbers = np.arange(first, self.newest + 1)
        reached = self._highest[numbers % self.blocks, klass] >= level * LEVELS
        active: NDArray[np.int64] = numbers[reached & (self._count[numbers % self.blocks] > 0)]
        return active

    def merged(self, block: int, klass: int) -> NDArray[np.float32]:
        """The merged probability of a block, shape (STRIDE,), 0..1."""
        votes = self.votes_of(block)[:, klass]
        if self.merge == "max":
            levels = votes.max(axis=0)
        elif self.merge == "mean":
            levels = votes.mean(axis=0, dtype=np.float32)
        else:
            levels = _median(votes)
        merged: NDArray[np.float32] = levels.astype(np.float32) / np.float32(LEVELS)
        return merged

    def spread(self, block: int, sample: int, klass: int) -> float:
        """Interquartile range of the votes on one sample, 0..1."""
        low, high = np.percentile(self.votes_of(block)[:, klass, sample], (25, 75))
        return float(high - low) / LEVELS


def _median(votes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Median over the first axis; sorting bytes is several times faster than np.median."""
    ranked = np.sort(votes, axis=0)
    low, high = (len(votes) - 1) // 2, len(votes) // 2
    median: NDArray[np.float32] = (ranked[low].astype(np.float32) + ranked[high]) / 2
    return median
