"""Segments: runs of evenly spaced samples with an exact start, an exact rate, and flags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NS = 1_000_000_000  # nanoseconds per second


class Flag(IntFlag):
    """What is known about the samples of a segment; kept in the ring and carried into picks."""

    NONE = 0
    CLOCK_UNLOCKED = 1  # the digitizer's clock had no reference
    TIME_QUESTIONABLE = 2  # the source itself doubts its time tag
    CALIBRATION = 4  # a calibration signal was on
    CLIPPED = 8  # at least one sample at the converter's limit
    HISTORICAL = 16  # backfill: must never raise a live alarm
    TIME_STEP = 32  # the clock stepped just before this segment


class ClockState(NamedTuple):
    """What is known of the clock that timed a segment, besides whether it is locked: that is in
    the flags. It stays the same from segment to segment while a clock runs free.

    error_us: estimated standard error, at `locked_ns` where the clock is not locked now; None
        where nobody estimates it
    locked_ns: when it was locked last, by itself; None where it is locked, or no lock is known of
    """

    error_us: int | None = None
    locked_ns: int | None = None


NOTHING_KNOWN = ClockState()


@dataclass(frozen=True, slots=True)
class Segment:
    """A gapless run of samples of one channel.

    channel: "NET.STA.LOC.CHA" (an NSLC, LOC may be empty)
    start_ns: time of the first sample, int64 nanoseconds since 1970 UTC
    rate: samples per second, exact
    samples: int32, shape (n,), digitizer counts
    """

    channel: str
    start_ns: int
    rate: Fraction
    samples: NDArray[np.int32]
    flags: Flag = Flag.NONE
    clock: ClockState = NOTHING_KNOWN

    @property
    def locked(self) -> bool:
        """Whether the clock had a reference, as far as the source can tell."""
        return not self.flags & Flag.CLOCK_UNLOCKED

    @property
    def end_ns(self) -> int:
        """Time at which the next sample is due (one interval after the last one)."""
        return self.start_ns + samples_to_ns(len(self.samples), self.rate)

    def time_ns(self, index: int) -> int:
        return self.start_ns + samples_to_ns(index, self.rate)

    def cut(self, first: int, last: int) -> Segment:
        """Samples first (included) to last (excluded)."""
        return replace(self, start_ns=self.time_ns(first), samples=self.samples[first:last])


def samples_to_ns(count: int, rate: Fraction) -> int:
    """Duration of `count` sample intervals, rounded to the nearest nanosecond (no drift)."""
    return _nearest(count * NS * rate.denominator, rate.numerator)


def ns_to_samples(duration_ns: int, rate: Fraction) -> int:
    """The whole number of sample intervals nearest to a duration."""
    return _nearest(duration_ns * rate.numerator, NS * rate.denominator)


def _nearest(a: int, b: int) -> int:
    """a/b to the nearest whole number. In integers: ten times as fast as in Fractions, and this
    is asked several times for every packet."""
    return (2 * a + b) // (2 * b)
