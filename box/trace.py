"""The newest stretch of three conditioned components on the station's own sample grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.conditioning import RATE

COMPONENTS = 3  # Z, N, E; or Z, 1, 2 where the horizontals are not turned to north
INTERVAL_NS = 1_000_000_000 // RATE


class ConditionedTrace:
    """A sliding store of conditioned samples at 100 Hz, shape (samples, components).

    Samples are numbered from the station's first one (index 0 at `anchor_ns`). At least the
    newest `length` are kept. What never came is zero and not real.
    """

    def __init__(self, anchor_ns: int, length: int, begin: int = 0) -> None:
        """begin: index of the first sample to come."""
        self.anchor_ns = anchor_ns
        self._length = length
        self._values = np.zeros((2 * length, COMPONENTS), np.float32)
        self._real = np.zeros((2 * length, COMPONENTS), np.bool_)
        self._first = begin - length  # index of row 0: there is room for a window that starts early
        self.ends = [begin] * COMPONENTS  # index after the newest sample of each component

    def index_of(self, time_ns: int) -> int:
        return round((time_ns - self.anchor_ns) / INTERVAL_NS)

    def time_ns(self, index: float) -> int:
        """Time of a position on the grid, to whole microseconds as packets carry them."""
        return (self.anchor_ns + round(index * INTERVAL_NS)) // 1000 * 1000

    def put(
        self, component: int, index: int, values: NDArray[np.float32], warm_up: int = 0
    ) -> None:
        """Store samples from `index` on; the first `warm_up` of them don't count as real."""
        while index + len(values) > self._first + len(self._values):
            self._slide()
        row = index - self._first
        if row < 0:  # older than all that is kept
            values, warm_up, row = values[-row:], max(0, warm_up + row), 0
        self._values[row : row + len(values), component] = values
        self._real[row + warm_up : row + len(values), component] = True
        self.ends[component] = max(self.ends[component], index + len(values))

    def disown(self, component: int, first: int, last: int) -> None:
        """Samples `first` (included) to `last` (excluded) don't count as real after all."""
        rows = slice(max(0, first - self._first), max(0, last - self._first))
        self._real[rows, component] = False

    def window(self, end: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The `count` samples before index `end`: values and what of them is real, as views.

        Raises IndexError where they are no longer, or not yet, within the store.
        """
        row = end - count - self._first
        if row < 0 or row + count > len(self._values):
            raise IndexError(f"samples {end - count} to {end} are outside the stored stretch")
        return self._values[row : row + count], self._real[row : row + count]

    def real_around(self, index: float, margin: int, end: int) -> NDArray[np.bool_]:
        """What is real from `margin` before to `margin` after a position, but before `end`."""
        first = max(round(index) - margin - self._first, 0)
        last = min(round(index) + margin, end) - self._first
        return self._real[first : max(last, first + 1)]

    def _slide(self) -> None:
        keep = self._length
        self._values[:keep], self._values[keep:] = self._values[keep:].copy(), 0
        self._real[:keep], self._real[keep:] = self._real[keep:].copy(), False
        self._first += keep
