"""What is wrong with a channel's signal, told from the samples alone, and what follows from it.

Each second of a channel's contiguous raw samples (a block) is looked at before it is conditioned.

- **Dead or stuck**: an RMS below `flat_counts`, for `stuck_s` or, where that is not usual on the
  channel, for a second; or a jump onto a constant value. Not real.
- **Calibration**, by the source's flag: not real.
- **Spikes**: one or two samples far off, and all calm before and behind. They are bridged for the
  filters' sake, and not real. From `spikes_per_minute` on, nothing of the channel is.
- **Steps** (calibration pulses that nobody flags): the level jumps, calm before and behind. The
  filters begin afresh there, as behind a hole.
- **Shifts** (mass recentring): a second's mean is `FAR` times further off than the seconds before
  ever were from each other, and the second is calm. That is known when it is over: what was picked
  in it is not told, or retracted, and from then on these seconds are not real.
- **Clipping**: the source's flag, samples at `full_scale_counts`, or flat tops at one level. Picks
  on it say so: their amplitude is a lower bound.
- **Offset** beyond `offset_fraction` of `full_scale_counts`: told in health.

What is not real is to the picker as a component that is missing: it judges the others, picks
nothing within half a second of where a component begins or ceases to be real, and says NEAR_GAP of
picks within three seconds. So a fault costs what a hole of its length does, and picks beyond it
hardly change. Spikes and steps that went through the filters would be told as provisional P, until
the vote is in, and large ones hide earthquakes for the half minute that they are in the window; a
channel that comes back from the dead would be a P that stays (tests/box/test_quality.py).

Everything follows from the samples and from what `memory` returns, so that a box that was killed
tells what it would have told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from box.config import QualityConfig
from box.glitches import LEAST, UNDECIDED, Values, find_glitches, flat_tops
from ringbuffer.segment import Flag

MINUTE = 60  # blocks
TAIL = 2 * UNDECIDED  # samples of the block before that are looked at once more
SUSPECT = 8.0  # times the mean difference of neighbours: below it the largest is no glitch
BEFORE, DURING = 12, 4  # blocks before a shift, and those that it may take
FAR = 10.0
MOVED = 20.0  # part of a shift by which a second's mean is off when the shift has begun
MOST_SPIKES = 6  # samples of one block; of what has more, nothing is left
TOP_RMS = 100.0  # counts, below which there are no flat tops


@dataclass(slots=True)
class Findings:
    """What a block shows.

    samples: int32, shape (n,), spikes bridged: those to condition
    end, fresh: they are real up to index `end`, and again from index `fresh` on, where the filters
        begin afresh; None where nothing more of the block is real
    spikes: indices of samples that are not real all the same
    clipped: number of samples, at least
    steps: heights in counts
    shifted: blocks, counted back from this one, in which nothing that was picked is to be believed
    """

    samples: NDArray[np.int32]
    end: int
    mean: float
    variance: float  # about the mean
    clipped: int
    fresh: int | None = None
    spikes: list[int] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    shifted: int = 0
    dead: bool = False
    calibration: bool = False
    spiking: bool = False

    @property
    def plain(self) -> bool:
        """Whether there is nothing to tell."""
        strange = self.spikes or self.steps or self.clipped
        return not (strange or self.dead or self.calibration or self.spiking)


class Detector:
    """Looks at the blocks of one channel, in order."""

    def __init__(self, config: QualityConfig, rate: Fraction) -> None:
        self._config = config
        self._limit = config.full_scale_counts
        self._stuck = None if config.stuck_s is None else round(config.stuck_s * rate)
        self._second = math.floor(rate)
        self._ones: Values = np.empty(0)
        self._tail: Values = np.empty(0)
        self._flat = 0  # samples since the channel was last alive
        self._dead = False
        self._lively = 0  # blocks that were not flat, less those that were
        self._out = False  # the newest sample was not real
        self._spiking = False
        self._block = 0
        self._means: list[float] = []  # of the newest blocks, without a break between them
        self._spiked: list[int] = []  # of each spike of the last minute, its block

    def memory(self) -> list[float]:
        """What is kept of the past."""
        states = (self._flat, self._lively, self._dead, self._out, self._spiking, self._block)
        spiked, means = self._spiked, self._means
        numbers = (*states, len(spiked), *spiked, len(means))
        # Whole numbers need less space.
        return [*map(int, numbers), *means, *(int(x) for x in self._tail)]

    def remember(self, memory: list[float]) -> None:
        """Go on where another was. Raises ValueError for what is not a memory."""
        if len(memory) < 8:
            raise ValueError("quality: the memory of others")
        numbers = [int(x) for x in memory[:7]]
        self._flat, self._lively = numbers[:2]
        self._dead, self._out, self._spiking = map(bool, numbers[2:5])
        self._block, count = numbers[5:]
        self._spiked = [int(x) for x in memory[7 : 7 + count]]
        means = 8 + count
        self._means = memory[means : means + int(memory[means - 1])]
        self._tail = np.array(memory[means + len(self._means) :], np.float64)

    def restart(self) -> None:
        """What comes is not connected with what was."""
        self._tail = np.empty(0)
        self._means = []

    def inspect(self, samples: NDArray[np.int32], flags: Flag) -> Findings:
        """Look at the next samples, shape (n > 0,)."""
        n = len(samples)
        values = np.empty(n + 1)
        values[0] = self._tail[-1] if len(self._tail) else samples[0]
        values[1:] = samples
        new = values[1:]
        change = new - values[:-1]
        np.abs(change, out=change)
        if len(self._ones) != n:
            self._ones = np.ones(n)
        # Sums as products: numpy takes a third of the time, and whole numbers add up exactly.
        largest, total = float(np.maximum.reduce(change)), float(self._ones.dot(change))
        first = float(new[0])
        about = new - first
        shift = float(self._ones.dot(about)) / n
        mean, variance = first + shift, max(0.0, float(about.dot(about)) / n - shift**2)
        clipped = self._clipped(new, change, variance, flags)
        shown = Findings(samples, n, mean, variance, clipped)
        shown.calibration = bool(flags) and Flag.CALIBRATION in flags
        self._block += 1
        self._look_for_life(shown)
        if shown.calibration:
            self._tail = np.empty(0)
        # What stands out cannot be a glitch unless it stands out from the mean.
        elif n * largest > SUSPECT * (total - 2 * largest) and largest > 0:
            self._look_for_glitches(shown, new)
        else:
            self._tail = new[-TAIL:]
        self._conclude(shown)
        self._look_for_shift(shown)
        return shown

    def _clipped(self, new: Values, change: Values, variance: float, flags: Flag) -> int:
        count = 0
        if self._limit is not None:
            if max(np.maximum.reduce(new), -np.minimum.reduce(new)) >= self._limit:
                count = int(np.count_nonzero(np.abs(new) >= self._limit))
        elif variance > TOP_RMS**2 and np.count_nonzero(change) <= len(change) - 4:
            count = flat_tops(new)
        return max(count, int(Flag.CLIPPED in flags)) if flags else count

    def _look_for_life(self, shown: Findings) -> None:
        """Dead is what is flat for long, or at once where the channel is usually not."""
        if shown.variance >= self._config.flat_counts**2:
            self._flat, self._dead = 0, False
            self._lively = min(self._lively + 1, MINUTE)
            return
        self._flat += len(shown.samples)
        if self._flat < self._second:  # what a hole has left of a second
            return
        self._lively = max(self._lively - 1, 0)
        if self._stuck is not None:
            self._dead |= self._flat >= self._stuck or self._lively >= MINUTE // 2

    def _look_for_glitches(self, shown: Findings, new: Values) -> None:
        begin = len(self._tail)
        values = np.concatenate((self._tail, new))
        found = find_glitches(values, begin)
        levels = [at for at, _ in found.steps]
        # A step is not to be found again.
        self._tail = values[max(begin + levels[-1] if levels else 0, len(values) - TAIL) :]
        breaks = [max(0, at) for at in levels]
        if any(at < 0 for at in found.spikes):  # it has been conditioned
            breaks.append(0)
        if breaks:
            shown.end, shown.fresh = min(breaks), max(breaks)
        if found.dropout is not None:
            shown.end, shown.fresh = min(shown.end, max(0, found.dropout)), None
            self._dead = True
        if found.spikes:
            shown.samples = values[begin:].astype(np.int32)
            shown.spikes = [at for at in found.spikes if at >= 0]
            self._spiked += [self._block] * len(found.spikes)
        shown.steps = [height for _, height in found.steps]

    def _look_for_shift(self, shown: Findings) -> None:
        if shown.end < len(shown.samples):
            self._means = []
            return
        means = self._means
        means.append(shown.mean)
        if len(means) <= BEFORE + DURING:
            return
        del means[0]
        height = shown.mean - means[0]
        if abs(height) < FAR or height**2 < (2 * FAR) ** 2 * shown.variance:  # as nearly always
            return
        low, high = min(means[:BEFORE]), max(means[:BEFORE])
        height = shown.mean - (low + high) / 2
        if abs(height) >= FAR * max(high - low, 2 * shown.variance**0.5, LEAST / FAR):
            middle = (low + high) / 2
            off = [abs(mean - middle) > abs(height) / MOVED for mean in means[BEFORE:]]
            shown.shifted = DURING - off.index(True) + 1  # it may have begun late in a second
            shown.steps.append(height)
            self._means = []

    def _conclude(self, shown: Findings) -> None:
        """Which of the samples are real."""
        while self._spiked and self._spiked[0] <= self._block - MINUTE:
            del self._spiked[0]
        most = self._config.spikes_per_minute
        self._spiking = len(self._spiked) >= (most / 2 if self._spiking else most)
        shown.dead, shown.spiking = self._dead, self._spiking
        drops_out = shown.end < len(shown.samples) and shown.fresh is None
        torn = self._spiking or len(shown.spikes) > MOST_SPIKES
        if shown.calibration or torn or (self._dead and not drops_out):
            shown.end, shown.fresh = 0, None
        elif self._out and not self._dead:
            shown.end, shown.fresh = 0, shown.fresh or 0
        self._out = shown.end < len(shown.samples) and shown.fresh is None
