"""How well the time of a sample is known, by what its source has said of the clock."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from box.config import ClockConfig
from ringbuffer.segment import NS, ClockState, Flag, Segment

KEEP_NS = 600 * NS  # more than any pick waits for its vote
_TIMING = Flag.CLOCK_UNLOCKED | Flag.TIME_QUESTIONABLE


class Timing(NamedTuple):
    """How well a time is known.

    uncertainty_s: standard error
    age_s: since the clock's last lock, 0 while it is locked; None where no lock is known of
    """

    uncertainty_s: float
    age_s: float | None


def timing(time_ns: int, flags: Flag, clock: ClockState, config: ClockConfig) -> Timing:
    """Of a time on a clock.

    A clock that runs free is as wrong as it was at its last lock, and by its drift since. One of
    which nothing is known, and a time that its own source doubts, is as wrong as configured.
    """
    error_s = max(config.locked_uncertainty_s, (clock.error_us or 0) / 1e6)
    age_s: float | None = 0.0
    if flags & Flag.CLOCK_UNLOCKED:
        age_s = None if clock.locked_ns is None else max(0.0, (time_ns - clock.locked_ns) / NS)
        if age_s is not None:
            error_s += age_s * config.drift_ppm * 1e-6
        elif clock.error_us is None:
            error_s = max(error_s, config.unlocked_uncertainty_s)
    if flags & Flag.TIME_QUESTIONABLE:
        error_s = max(error_s, config.unlocked_uncertainty_s)
    return Timing(error_s, age_s)


class _Known(NamedTuple):
    start_ns: int
    end_ns: int
    flags: Flag
    clock: ClockState


class ClockLog:
    """What was known of the clock of a channel's newest samples."""

    def __init__(self) -> None:
        self._known: deque[_Known] = deque()

    def note(self, segment: Segment) -> None:
        known = _Known(segment.start_ns, segment.end_ns, segment.flags & _TIMING, segment.clock)
        if self._known:
            last = self._known[-1]
            if last.flags == known.flags and last.clock == known.clock:
                start_ns, end_ns = (
                    min(last.start_ns, known.start_ns),
                    max(last.end_ns, known.end_ns),
                )
                self._known[-1] = known._replace(start_ns=start_ns, end_ns=end_ns)
                return
        self._known.append(known)
        while self._known[0].end_ns < known.end_ns - KEEP_NS:
            self._known.popleft()

    def timing(
        self, time_ns: int, start_ns: int, end_ns: int, config: ClockConfig
    ) -> Timing | None:
        """The worst that holds for a time by what is known of the samples from `start_ns` to
        `end_ns`; None where there are none."""
        timings = [
            timing(time_ns, known.flags, known.clock, config)
            for known in self._known
            if known.start_ns < end_ns and known.end_ns > start_ns
        ]
        return worst(timings)


def worst(timings: list[Timing]) -> Timing | None:
    """The largest error, and the longest time without a lock; None of none."""
    if not timings:
        return None
    ages = [t.age_s for t in timings]
    longest = None if None in ages else max(age for age in ages if age is not None)
    return Timing(max(t.uncertainty_s for t in timings), longest)
