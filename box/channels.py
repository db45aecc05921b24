"""From the segments of one channel to conditioned samples: gaps, late packets, faults included."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from box.config import QualityConfig
from box.memory import FeedMemory, ratio
from box.quality import Detector, Findings
from box.timing import ClockLog
from box.trace import ConditionedTrace
from box.vote import STRIDE
from models.conditioning import RATE, Conditioner
from ringbuffer.ring import ChannelRing, Outcome, Position
from ringbuffer.segment import NS, Flag, Segment, ns_to_samples, samples_to_ns

WARM_UP = round(Conditioner.warm_up_s * RATE)
# What makes the samples before and after it unconnected.
BREAKS = Outcome.TIME_STEP | Outcome.RATE_CHANGE


Observer = Callable[[int, Findings], None]


def _nobody(time_ns: int, findings: Findings) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Flagged:
    """A stretch of samples about which something is known."""

    start_ns: int
    end_ns: int
    flags: Flag


class ChannelFeed:
    """Feeds one component of the trace from a ring, in order and without gaps filled.

    A late packet is waited for until data `reorder_ns` newer than the hole have come; then the
    hole stays a hole, and the filter starts afresh behind it.

    Samples go by blocks, the seconds by which they are judged: each is looked at as a whole for
    faults (box/quality.py) before it is conditioned, which delays nothing. Only a hole cuts one
    short.
    """

    def __init__(
        self,
        first: Segment,
        component: int,
        ring_s: float,
        reorder_s: float,
        quality: QualityConfig | None = None,
        observe: Observer = _nobody,
    ) -> None:
        """first: the segment with which the channel begins. observe: is shown what each block
        shows, with the time of its first sample."""
        self._prepare(first.channel, first.rate, component, ring_s, reorder_s, quality, observe)
        self._begins_ns = first.start_ns
        self.append(first)

    def _prepare(
        self,
        channel: str,
        rate: Fraction,
        component: int,
        ring_s: float,
        reorder_s: float,
        quality: QualityConfig | None,
        observe: Observer,
    ) -> None:
        self.channel = channel
        self.component = component
        self.ring = ChannelRing(channel, rate, ring_s, reorder_s=reorder_s)
        self._reorder_ns = round(reorder_s * NS)
        self._detector = Detector(quality or QualityConfig(), rate)
        self._observe = observe
        self._conditioner = Conditioner(rate)
        self._delay_ns = round(self._conditioner.delay_s * NS)
        self._warm_up = 0  # samples at 100 Hz still to come that don't count as real
        self._cursor_ns: int | None = None  # time of the next raw sample to condition
        self._next = 0  # its index on the trace's grid
        self._flagged: deque[Flagged] = deque(maxlen=1000)
        self._shifts: deque[tuple[int, int]] = deque(maxlen=100)
        self.clock = ClockLog()

    @classmethod
    def remembered(
        cls,
        memory: FeedMemory,
        component: int,
        ring_s: float,
        reorder_s: float,
        quality: QualityConfig | None = None,
        observe: Observer = _nobody,
    ) -> ChannelFeed:
        """One that goes on where another was. Raises ValueError where that cannot have been."""
        feed = cls.__new__(cls)
        rate = Fraction(*memory.rate)
        feed._prepare(memory.channel, rate, component, ring_s, reorder_s, quality, observe)
        late = (memory.late_until_ns, memory.late_samples)
        position = Position(memory.anchor_ns, memory.end, memory.offset_ns, *late)
        feed.ring.resume(position, np.array(memory.pending, np.int32), Flag(memory.pending_flags))
        feed._conditioner.remember(memory.filters)
        feed._detector.remember(memory.detector)
        feed._cursor_ns, feed._next, feed._warm_up = memory.cursor_ns, memory.next, memory.warm_up
        return feed

    def memory(self) -> FeedMemory | None:
        """None while a packet is waited for: what came after it is in the ring alone."""
        position = self.ring.position
        newest = self.ring.end_ns
        if position is None or newest is None or self._cursor_ns is None:
            return None
        count = ns_to_samples(newest - self._cursor_ns, self.ring.rate)
        if count > self._block_length():
            return None
        pending = self.ring.read(self._cursor_ns, max(0, count))
        if not pending.mask.all():
            return None
        return FeedMemory(
            self.channel,
            ratio(self.ring.rate),
            *position,
            self._cursor_ns,
            self._next,
            self._warm_up,
            self._conditioner.memory(),
            self._detector.memory(),
            pending.samples.tolist(),
            int(pending.flags),
        )

    def append(self, segment: Segment) -> Outcome:
        outcome = self.ring.append(segment)
        if outcome & Outcome.APPENDED:
            self.clock.note(segment)
        return outcome

    def flags_between(self, start_ns: int, end_ns: int) -> Flag:
        flags = Flag.NONE
        for stretch in self._flagged:
            if stretch.start_ns < end_ns and stretch.end_ns > start_ns:
                flags |= stretch.flags
        return flags

    def shifts(self, first: int, last: int) -> list[tuple[int, int]]:
        """From when to when on the grid (index, excluded) the channel's level was shifting, as far
        as it is from `first` on and known by `last`: see box/quality.py."""
        return [shift for shift in self._shifts if first < shift[1] <= last]

    def pump(self, trace: ConditionedTrace) -> None:
        """Condition what has become contiguous, into the trace."""
        if self._cursor_ns is None:
            self._restart(trace, max(self._begins_ns, trace.anchor_ns))
        while (newest := self.ring.end_ns) is not None:
            assert self._cursor_ns is not None
            count = ns_to_samples(newest - self._cursor_ns, self.ring.rate)
            if count <= 0:
                return
            if count > self.ring.capacity:  # the ring has forgotten what was before
                held_ns = samples_to_ns(self.ring.capacity, self.ring.rate)
                self._restart(trace, newest - held_ns)
                continue
            block = self._block_length()
            window = self.ring.read(self._cursor_ns, min(count, block))
            missing = np.flatnonzero(~window.mask)
            run = int(missing[0]) if len(missing) else len(window.mask)
            if run < block:
                if run == count:
                    return  # the rest of the block is yet to come
                hole_ns = self._cursor_ns + samples_to_ns(run, self.ring.rate)
                if newest - hole_ns <= self._reorder_ns:
                    return  # the missing packet may still come
            if run:
                self._take(trace, window.samples[:run], window.flags)
            if run < block:
                assert self._cursor_ns is not None
                behind = self.ring.read(self._cursor_ns, count - run)
                real = np.flatnonzero(behind.mask)
                hole = int(real[0]) if len(real) else len(behind.mask)
                self._detector.restart()
                self._restart(trace, self._cursor_ns + samples_to_ns(hole, self.ring.rate))

    def _block_length(self) -> int:
        """Samples that the trace's next second is made of, or what is left of it."""
        return self._conditioner.samples_for(STRIDE - self._next % STRIDE)

    def _take(self, trace: ConditionedTrace, samples: NDArray[np.int32], flags: Flag) -> None:
        """Look at a block, and condition what of it is real."""
        assert self._cursor_ns is not None
        found = self._detector.inspect(samples, flags)
        start_ns, first = self._cursor_ns, self._next
        self._observe(start_ns, found)
        if found.clipped:
            flags |= Flag.CLIPPED
        end_ns = start_ns + samples_to_ns(len(samples), self.ring.rate)
        if flags:
            self._flagged.append(Flagged(start_ns, end_ns, flags))
        if found.shifted:
            last = first + round(len(samples) * RATE / self.ring.rate)
            self._shifts.append((last - found.shifted * STRIDE, last))
        if found.end == len(samples) and not found.spikes:  # as nearly always
            self._condition(trace, samples)
            return
        fresh = len(samples) if found.fresh is None else found.fresh
        self._condition(trace, found.samples[: found.end])
        self._condition(trace, found.samples[found.end : fresh], real=False)
        if found.fresh is not None:
            self._restart(trace, start_ns + samples_to_ns(fresh, self.ring.rate))
            self._condition(trace, found.samples[fresh:])
        for spike in found.spikes:
            at = first + spike * RATE / self.ring.rate
            trace.disown(self.component, math.floor(at), math.ceil(at) + 1)

    def _restart(self, trace: ConditionedTrace, start_ns: int) -> None:
        self._conditioner.reset()
        self._cursor_ns = start_ns
        self._next = trace.index_of(start_ns - self._delay_ns)
        self._warm_up = WARM_UP

    def _condition(
        self, trace: ConditionedTrace, samples: NDArray[np.int32], real: bool = True
    ) -> None:
        if not len(samples):
            return
        assert self._cursor_ns is not None
        values = self._conditioner.process(samples)
        cold = min(self._warm_up, len(values)) if real else len(values)
        if self._next >= WARM_UP:
            # Beside components that are real, noise that begins looks like an arrival. It begins
            # with what is real, where nothing is picked. (At first all of them warm up.)
            values[:cold] = 0
        trace.put(self.component, self._next, values, warm_up=cold)
        self._warm_up = max(0, self._warm_up - len(values))
        self._next += len(values)
        self._cursor_ns += samples_to_ns(len(samples), self.ring.rate)
