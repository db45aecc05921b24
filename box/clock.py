"""Clocks: the only place that asks the computer for the time. Everyone else is handed one."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

NS = 1_000_000_000


class Clock(Protocol):
    """What time it is for the pipeline."""

    def now_ns(self) -> int:
        """UTC, ns since 1970: of the wall in a live box, of the data in a replay."""
        ...

    def monotonic_ns(self) -> int:
        """For measuring latencies in real nanoseconds; never steps, has no epoch."""
        ...


class SystemClock:
    """The wall clock of a live box."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class ReplayClock:
    """Data time: it stands still until the source of the packets advances it.

    The pipeline therefore sees the same times at every speed; only how long `advance_to` takes
    differs. If the machine falls behind, the replay is late, and nothing else.

    speed: 1 is real time, N is N times as fast, None as fast as it goes.
    """

    def __init__(self, speed: float | None = None) -> None:
        if speed is not None and not speed > 0:
            raise ValueError(f"speed: {speed} is not positive")
        self._speed = speed
        self._now_ns = 0
        self._began: tuple[int, int] | None = None  # data time, monotonic time

    def now_ns(self) -> int:
        """The latest time advanced to, 0 before the first."""
        return self._now_ns

    async def advance_to(self, time_ns: int) -> None:
        """Wait as the speed demands, then let it be `time_ns`. Time never goes back."""
        if self._began is None:
            self._began = time_ns, self.monotonic_ns()
        wait_ns = 0.0
        if self._speed is not None:
            data_ns, real_ns = self._began
            wait_ns = (time_ns - data_ns) / self._speed - (self.monotonic_ns() - real_ns)
        await asyncio.sleep(max(0.0, wait_ns / NS))
        self._now_ns = max(self._now_ns, time_ns)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()
