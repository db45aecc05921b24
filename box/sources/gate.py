"""What is taken for a time at all, of what live sources say, and where a relocked clock stepped.

Recordings do not pass here: of these the past is to be expected.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from box.config import ClockConfig
from box.host_clock import HostClock
from ringbuffer.segment import NS, Flag, Segment

# So far ahead of a synchronised host's clock no sample can have been taken, on whatever bad clock.
AHEAD_NS = 600 * NS
LATEST_NS = 4_102_444_800 * NS  # 2100-01-01, for hosts that know nothing; packets end in 2116


class TimeGate:
    """Of one source. `problem` says in a line why the newest samples were refused, if they were.

    steps: of clocks, found where a lock came or went
    """

    def __init__(
        self, host: HostClock | None = None, earliest_year: int = ClockConfig().earliest_year
    ) -> None:
        """host: None where its clock tells nothing of the samples' times."""
        self.host = host
        self._earliest_ns = int(datetime(earliest_year, 1, 1, tzinfo=UTC).timestamp()) * NS
        self._before: dict[str, tuple[int, bool]] = {}  # channel -> where it ended, whether locked
        self.problem = ""
        self.refused = 0
        self.steps = 0

    def doubt(self, time_ns: int) -> str:
        """Why a time cannot be that of a sample that has just come; empty where it can."""
        if time_ns < self._earliest_ns:
            return f"{_date(time_ns)} is too long ago"
        if time_ns > LATEST_NS:
            return f"{_date(time_ns)} is too far ahead"
        if self.host is not None and self.host.synchronised:
            ahead_ns = time_ns - self.host.now_ns()
            if ahead_ns > AHEAD_NS:
                return f"{_date(time_ns)} is {ahead_ns // NS} s ahead of the host's clock"
        return ""

    def is_plausible(self, time_ns: int) -> bool:
        return not self.doubt(time_ns)

    def admit(self, segment: Segment, by_host: bool = False) -> Segment | None:
        """The segment, flagged where the clock has stepped; None where its time is no time.

        by_host: it was timed by the host's clock.
        """
        doubt = self.doubt(segment.start_ns) or self.doubt(segment.end_ns)
        if not doubt and by_host and self.host is not None and not self.host.is_set:
            doubt = "the host's clock, which times them, has not been set"
        if doubt:
            self.problem = f"samples refused, since {doubt}"
            self.refused += 1
            return None
        self.problem = ""
        if segment.flags & Flag.HISTORICAL:  # is not of the clock as it is now
            return segment
        if self.host is not None and segment.locked:
            self.host.told(segment.end_ns)
        before = self._before.get(segment.channel)
        self._before[segment.channel] = segment.end_ns, segment.locked
        if before is None or before[1] == segment.locked:
            return segment
        if abs(segment.start_ns - before[0]) * segment.rate * 2 <= NS:
            return segment
        self.steps += 1
        return replace(segment, flags=segment.flags | Flag.TIME_STEP)


def _date(time_ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(time_ns // NS, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"
