"""From the segments of one channel to conditioned samples, gaps and late packets included."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from box.memory import FeedMemory, ratio
from box.timing import ClockLog
from box.trace import ConditionedTrace
from models.conditioning import RATE, Conditioner
from ringbuffer.ring import ChannelRing, Outcome, Position
from ringbuffer.segment import NS, Flag, Segment, ns_to_samples, samples_to_ns

# What makes the samples before and after it unconnected.
BREAKS = Outcome.TIME_STEP | Outcome.RATE_CHANGE


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
    """

    def __init__(self, first: Segment, component: int, ring_s: float, reorder_s: float) -> None:
        """first: the segment with which the channel begins."""
        self._prepare(first.channel, first.rate, component, ring_s, reorder_s)
        self._begins_ns = first.start_ns
        self.append(first)

    def _prepare(
        self, channel: str, rate: Fraction, component: int, ring_s: float, reorder_s: float
    ) -> None:
        self.channel = channel
        self.component = component
        self.ring = ChannelRing(channel, rate, ring_s, reorder_s=reorder_s)
        self._reorder_ns = round(reorder_s * NS)
        self._conditioner = Conditioner(rate)
        self._delay_ns = round(self._conditioner.delay_s * NS)
        self._warm_up = 0  # samples at 100 Hz still to come that don't count as real
        self._cursor_ns: int | None = None  # time of the next raw sample to condition
        self._next = 0  # its index on the trace's grid
        self._flagged: deque[Flagged] = deque(maxlen=1000)
        self.clock = ClockLog()

    @classmethod
    def remembered(
        cls, memory: FeedMemory, component: int, ring_s: float, reorder_s: float
    ) -> ChannelFeed:
        """One that goes on where another was. Raises ValueError where that cannot have been."""
        feed = cls.__new__(cls)
        feed._prepare(memory.channel, Fraction(*memory.rate), component, ring_s, reorder_s)
        late = (memory.late_until_ns, memory.late_samples)
        feed.ring.resume(Position(memory.anchor_ns, memory.end, memory.offset_ns, *late))
        feed._conditioner.remember(memory.filters)
        feed._cursor_ns, feed._next, feed._warm_up = memory.cursor_ns, memory.next, memory.warm_up
        return feed

    def memory(self) -> FeedMemory | None:
        """None while a packet is waited for: what came after it is in the ring alone."""
        position = self.ring.position
        newest = self.ring.end_ns
        if position is None or newest is None or self._cursor_ns is None:
            return None
        if ns_to_samples(newest - self._cursor_ns, self.ring.rate) > 0:
            return None
        return FeedMemory(
            self.channel,
            ratio(self.ring.rate),
            *position,
            self._cursor_ns,
            self._next,
            self._warm_up,
            self._conditioner.memory(),
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
            window = self.ring.read(self._cursor_ns, count)
            missing = np.flatnonzero(~window.mask)
            run = int(missing[0]) if len(missing) else count
            if run:
                if window.flags:
                    end = self._cursor_ns + samples_to_ns(run, self.ring.rate)
                    self._flagged.append(Flagged(self._cursor_ns, end, window.flags))
                self._condition(trace, window.samples[:run])
                continue
            real = np.flatnonzero(window.mask)
            resume_ns = self._cursor_ns + samples_to_ns(
                int(real[0]) if len(real) else count, self.ring.rate
            )
            if newest - self._cursor_ns <= self._reorder_ns:
                return  # the missing packet may still come
            self._restart(trace, resume_ns)

    def _restart(self, trace: ConditionedTrace, start_ns: int) -> None:
        self._conditioner.reset()
        self._cursor_ns = start_ns
        self._next = trace.index_of(start_ns - self._delay_ns)
        self._warm_up = round(self._conditioner.warm_up_s * RATE)

    def _condition(self, trace: ConditionedTrace, samples: NDArray[np.int32]) -> None:
        assert self._cursor_ns is not None
        values = self._conditioner.process(samples)
        cold = min(self._warm_up, len(values))
        trace.put(self.component, self._next, values, warm_up=cold)
        self._warm_up -= cold
        self._next += len(values)
        self._cursor_ns += samples_to_ns(len(samples), self.ring.rate)
