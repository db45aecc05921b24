"""The ring of one channel, in memory: its last minutes of samples, and which of them are real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Flag as EnumFlag
from enum import auto
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringbuffer.segment import NS, Flag, Segment, ns_to_samples, samples_to_ns

TOLERANCE = Fraction(1, 2)  # of a sample interval: less is jitter, more is a gap or a step
OFF_PHASE = Fraction(1, 4)  # of a sample interval, from a whole number: not lost samples, a step
NONE = np.empty(0, np.int32)
SET_BACK_S = 30  # of nothing but late data: then it is the clock
CONTRADICTED = 30  # times as much is said by late data that contradict what is there


class Outcome(EnumFlag):
    """What became of a segment; several may hold at once."""

    NONE = 0  # it had no samples
    APPENDED = auto()  # at least one of its samples is now in the ring
    DUPLICATE = auto()  # all of its samples were there already, and equal: dropped
    OVERLAP = auto()  # some of its samples contradicted earlier ones and were dropped
    LATE = auto()  # some of its samples were beyond the reorder horizon and were dropped
    OUT_OF_ORDER = auto()  # it began before the newest sample, and was still in time
    GAP = auto()  # samples are missing between the newest one and this segment
    TIME_STEP = auto()  # the clock stepped: see `ChannelRing`
    RATE_CHANGE = auto()  # the ring was emptied and goes on at the new rate


class _Storage(NamedTuple):
    """The arrays behind a ring, each of shape (capacity,); 10 bytes per sample."""

    samples: NDArray[np.int32]  # counts
    mask: NDArray[np.bool_]  # True where a sample is real
    flags: NDArray[np.uint8]  # ringbuffer.segment.Flag
    offset_ns: NDArray[np.int32]  # of the sample from the ring's grid


class Position(NamedTuple):
    """Where a ring stands in time, without its samples."""

    anchor_ns: int  # time of index 0 of the grid
    end: int  # index after the newest sample
    offset_ns: int  # of the newest stretch from the grid
    late_until_ns: int | None  # end of the late segments so far
    late_samples: int


@dataclass(frozen=True, slots=True)
class Window:
    """Evenly spaced samples out of a ring.

    start_ns: time of the first sample, exact; where it is not real, counted from the first real one
    samples: int32, shape (n,), counts, 0 where not real
    mask: bool, shape (n,), True where a sample is real
    flags: all flags of the real samples together
    """

    start_ns: int
    rate: Fraction
    samples: NDArray[np.int32]
    mask: NDArray[np.bool_]
    flags: Flag


class ChannelRing:
    """The newest `duration_s` of one channel, appended in any order within `reorder_s`.

    The rules, for whatever arrives:

    - **Gaps** stay gaps: their samples are masked, never filled.
    - **Late** samples, more than `reorder_s` before the newest, are dropped. Those in time go
      where their time says, whatever their order.
    - **Repeats**: a segment of which everything is there already, and equal, is dropped.
    - **Overlaps**: the first arrival wins, sample by sample, so that what was read once, and
      picked on, never changes; a live box and its replay then see the same.
    - **Jitter**: a segment that begins within half a sample of where the newest one ended
      continues it, at the times of its first sample. `drift_ns` says by how much the last such
      segment was off; since that is counted from the beginning of the stretch, a slow drift
      adds up until it exceeds half a sample, and is then a time step.
    - **Time steps**: a segment at the newest edge that is off by more than half a sample begins
      a new stretch with its own exact times. Its samples are flagged TIME_STEP where it
      contradicts what is there (the clock went back), or where the distance is a quarter of a
      sample or more from a whole number (lost samples come in whole numbers). A forward step of
      whole samples cannot be told from a gap, and is one. A gap longer than the ring empties it.
    - **A clock set back** looks like late data. Once late segments have followed upon each other,
      without one in time, for `SET_BACK_S`, the ring is emptied and begins anew there, flagged
      TIME_STEP; where they contradict what is there, as they do unless the clock was set back by
      more than the ring holds, a second of them will do. Backfill marked HISTORICAL never does
      that.
    - **A segment flagged TIME_STEP** by its source empties the ring, unless it continues it.
    - **Rate**: a segment whose rate differs from the ring's by half a sample or more over its
      length empties the ring, which goes on at the new rate.

    channel: "NET.STA.LOC.CHA"
    rate: samples per second
    """

    def __init__(
        self,
        channel: str,
        rate: Fraction,
        duration_s: float,
        reorder_s: float = 30.0,
    ) -> None:
        if not 0 < reorder_s <= duration_s:
            raise ValueError(f"reorder_s: {reorder_s} is not in 0..{duration_s} (duration_s)")
        self.channel = channel
        self.duration_s = duration_s
        self.reorder_s = reorder_s
        self.counts: Counter[Outcome] = Counter()  # segments, per outcome
        self.drift_ns = 0
        self._begin(rate)

    def _begin(self, rate: Fraction) -> None:
        self.rate = rate
        self.capacity = max(1, round(Fraction(self.duration_s) * rate))
        self._horizon = round(Fraction(self.reorder_s) * rate)
        self._storage = _Storage(
            np.zeros(self.capacity, np.int32),
            np.zeros(self.capacity, np.bool_),
            np.zeros(self.capacity, np.uint8),
            np.zeros(self.capacity, np.int32),
        )
        self._clear()

    def _clear(self) -> None:
        self._storage.mask[:] = False
        self._anchor_ns: int | None = None  # time of index 0 of the grid
        self._end = 0  # index after the newest sample
        self._offset_ns = 0  # of the newest stretch from the grid
        self._late_until_ns: int | None = None  # end of the late segments so far
        self._late_samples = 0

    @property
    def position(self) -> Position | None:
        """None while the ring is empty."""
        if self._anchor_ns is None:
            return None
        late = (self._late_until_ns, self._late_samples)
        return Position(self._anchor_ns, self._end, self._offset_ns, *late)

    def resume(
        self, position: Position, newest: NDArray[np.int32] = NONE, flags: Flag = Flag.NONE
    ) -> None:
        """Go on from a position with the newest samples before it, which may be none: what comes
        is placed as if all samples before it were there."""
        self._clear()
        self._anchor_ns, self._end, self._offset_ns = position[:3]
        self._late_until_ns, self._late_samples = position[3:]
        for slots, part in self._slots(self._end - len(newest), self._end, self._end):
            self._storage.samples[slots] = newest[part]
            self._storage.mask[slots] = True
            self._storage.flags[slots] = int(flags)
            self._storage.offset_ns[slots] = self._offset_ns

    @property
    def end_ns(self) -> int | None:
        """Time at which the next sample is due; None while the ring is empty."""
        return None if self._anchor_ns is None else self._time_ns(self._end)

    def _time_ns(self, index: int) -> int:
        """Time of an index, by the clock of the newest stretch."""
        assert self._anchor_ns is not None
        return self._anchor_ns + samples_to_ns(index, self.rate) + self._offset_ns

    def append(self, segment: Segment) -> Outcome:
        """Take in a segment of this channel, and say (and count) what became of it."""
        outcome = self._append(segment)
        for member in outcome:
            self.counts[member] += 1
        return outcome

    def _append(self, segment: Segment) -> Outcome:
        if not len(segment.samples):
            return Outcome.NONE
        if segment.rate != self.rate and (
            abs(segment.rate / self.rate - 1) * len(segment.samples) >= TOLERANCE
        ):
            self._begin(segment.rate)
            return Outcome.RATE_CHANGE | self._append(segment)
        if self._anchor_ns is None:
            self._anchor_ns = segment.start_ns
            return self._write(segment, 0, 0, Outcome.NONE)

        first, offset_ns, off_phase = self._place(segment.start_ns)
        last = first + len(segment.samples)
        count = len(segment.samples)
        n_equal, n_other = self._compare(first, segment.samples)
        if n_equal == count:
            return Outcome.DUPLICATE
        if segment.flags & Flag.TIME_STEP and (first != self._end or off_phase):
            return self._begin_anew(segment)
        contradicted = n_other > 0
        outcome = Outcome.OVERLAP if contradicted else Outcome.NONE
        too_late = last <= self._end - self._horizon
        denied = n_other > n_equal and n_other + n_equal == count  # nothing in it is new
        if (too_late or denied) and self._was_set_back(segment, denied):
            return outcome | self._begin_anew(segment)
        if first < self._end - self._horizon:
            outcome |= Outcome.LATE
            if too_late:
                return outcome
        if first > self._end:
            outcome |= Outcome.GAP
        elif first < self._end:
            outcome |= Outcome.OUT_OF_ORDER
        if last > self._end and (off_phase or contradicted):
            outcome |= Outcome.TIME_STEP
            segment = replace(segment, flags=segment.flags | Flag.TIME_STEP)
        return self._write(segment, first, offset_ns, outcome)

    def _begin_anew(self, segment: Segment) -> Outcome:
        self._clear()
        stepped = replace(segment, flags=segment.flags | Flag.TIME_STEP)
        return Outcome.TIME_STEP | self._append(stepped)

    def _place(self, start_ns: int) -> tuple[int, int, bool]:
        """Index on the grid, offset from it, and whether that is a new sampling phase."""
        assert self._anchor_ns is not None
        drift_ns = start_ns - self._time_ns(self._end)
        if drift_ns == 0:  # as nearly always
            self.drift_ns = 0
            return self._end, self._offset_ns, False
        drift = drift_ns * self.rate / NS
        if abs(drift) <= TOLERANCE:
            self.drift_ns = drift_ns
            return self._end, self._offset_ns, False
        since_ns = start_ns - self._anchor_ns
        index = ns_to_samples(since_ns, self.rate)
        offset_ns = since_ns - samples_to_ns(index, self.rate)
        return index, offset_ns, abs(drift - round(drift)) >= OFF_PHASE

    def _compare(self, first: int, samples: NDArray[np.int32]) -> tuple[int, int]:
        """How many of the samples are there already, and how many are there as others?"""
        n_equal = n_other = 0
        for slots, part in self._slots(first, first + len(samples), self._end):
            equal = self._storage.samples[slots] == samples[part]
            real = self._storage.mask[slots]
            n_equal += int(np.count_nonzero(equal & real))
            n_other += int(np.count_nonzero(~equal & real))
        return n_equal, n_other

    def _was_set_back(self, segment: Segment, denied: bool) -> bool:
        """Have late segments lasted long enough to believe that the clock was set back?

        denied: it contradicts what is there.
        """
        if segment.flags & Flag.HISTORICAL:
            return False
        if self._late_until_ns is None or segment.start_ns < self._late_until_ns:
            self._late_samples = 0
        self._late_until_ns = segment.time_ns(len(segment.samples) - 1)
        self._late_samples += len(segment.samples) * (CONTRADICTED if denied else 1)
        return self._late_samples >= SET_BACK_S * self.rate

    def _write(self, segment: Segment, first: int, offset_ns: int, outcome: Outcome) -> Outcome:
        """Put the samples where none are yet and that are in time."""
        last = first + len(segment.samples)
        in_time = max(first, self._end - self._horizon)
        if last > self._end:
            for slots, _ in self._slots(self._end, last, last):
                self._storage.mask[slots] = False
            self._end, self._offset_ns = last, offset_ns
        for slots, part in self._slots(in_time, last, self._end):
            free = ~self._storage.mask[slots]
            if free.any():
                outcome |= Outcome.APPENDED
            source = segment.samples[in_time - first :][part]
            np.copyto(self._storage.samples[slots], source, where=free)
            self._storage.flags[slots][free] = int(segment.flags)
            self._storage.offset_ns[slots][free] = offset_ns
            self._storage.mask[slots] = True
        if outcome & Outcome.APPENDED:
            self._late_until_ns, self._late_samples = None, 0
        return outcome

    def _slots(self, first: int, last: int, end: int) -> Iterator[tuple[slice, slice]]:
        """Where indices first (included) to last (excluded) lie in a ring that ends at `end`.

        Yields slices of the storage with those of an array that begins at `first`, two where
        the range goes over the edge, none for what the ring does not hold.
        """
        begin, stop = max(first, end - self.capacity), min(last, end)
        while begin < stop:
            slot = begin % self.capacity
            count = min(stop - begin, self.capacity - slot)
            yield slice(slot, slot + count), slice(begin - first, begin - first + count)
            begin += count

    def read(self, start_ns: int, count: int) -> Window:
        """The `count` samples from the one nearest to `start_ns` on; masked where none are."""
        samples = np.zeros(count, np.int32)
        mask = np.zeros(count, np.bool_)
        if self._anchor_ns is None:
            return Window(start_ns, self.rate, samples, mask, Flag.NONE)
        since_ns = start_ns - self._offset_ns - self._anchor_ns
        first = ns_to_samples(since_ns, self.rate)
        flags = 0
        offset_ns: int | None = None
        for slots, part in self._slots(first, first + count, self._end):
            real = self._storage.mask[slots]
            mask[part] = real
            np.copyto(samples[part], self._storage.samples[slots], where=real)
            flags |= int(np.bitwise_or.reduce(self._storage.flags[slots], where=real))
            if offset_ns is None and real.any():
                offset_ns = int(self._storage.offset_ns[slots][int(np.argmax(real))])
        if offset_ns is None:
            offset_ns = self._offset_ns
        exact_ns = self._anchor_ns + samples_to_ns(first, self.rate) + offset_ns
        return Window(exact_ns, self.rate, samples, mask, Flag(flags))
