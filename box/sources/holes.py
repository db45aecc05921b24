"""Whether a channel's samples join up, and how many have not come, as far as their times tell."""

from __future__ import annotations

from collections import deque

from ringbuffer.segment import NS, Segment, ns_to_samples

HOLES = 100  # that a late packet may still fill
LATE_NS = 600 * NS  # what comes later than that, or so far ahead of anything plausible, is a clock
AHEAD_NS = 30 * 86_400 * NS  # that was set


class Holes:
    """Of one channel. Lost packets make holes; late ones fill them; repeats change nothing."""

    def __init__(self) -> None:
        self._end_ns: int | None = None  # of the newest sample
        self._last_ns: int | None = None  # of the last packet
        self._holes: deque[tuple[int, int]] = deque(maxlen=HOLES)  # begin, end (ns)

    def joins(self, segment: Segment) -> bool:
        """Whether it begins where the last one ended; ask before `take`."""
        last_ns = self._last_ns
        return last_ns is None or abs(segment.start_ns - last_ns) * segment.rate * 2 <= NS

    def take(self, segment: Segment) -> int:
        """By how many samples more are missing now, negative where a hole was filled."""
        end_ns, self._last_ns = self._end_ns, segment.end_ns
        if end_ns is None or not -LATE_NS < segment.start_ns - end_ns < AHEAD_NS:
            self._end_ns = segment.end_ns
            self._holes.clear()
            return 0
        self._end_ns = max(end_ns, segment.end_ns)
        missing = ns_to_samples(segment.start_ns - end_ns, segment.rate)
        if missing > 0:
            self._holes.append((end_ns, segment.start_ns))
            return missing
        return -self._fill(segment) if missing < 0 else 0

    def _fill(self, segment: Segment) -> int:
        """Returns how many samples of the holes there were in it."""
        filled = 0
        left: list[tuple[int, int]] = []
        for begin_ns, end_ns in self._holes:
            first_ns, last_ns = max(begin_ns, segment.start_ns), min(end_ns, segment.end_ns)
            count = ns_to_samples(last_ns - first_ns, segment.rate)
            if count <= 0:
                left.append((begin_ns, end_ns))
                continue
            filled += count
            rests = ((begin_ns, first_ns), (last_ns, end_ns))
            left += [rest for rest in rests if ns_to_samples(rest[1] - rest[0], segment.rate) > 0]
        self._holes = deque(left, maxlen=HOLES)
        return filled
