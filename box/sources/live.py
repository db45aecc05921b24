"""What every live source does: count, say what is wrong, and come back for ever."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from box.clock import Clock
from box.sources.gate import TimeGate
from box.sources.holes import Holes
from ringbuffer.segment import NS, Segment
from uplink.connection import backoff

_log = logging.getLogger(__name__)
SILENT_S = 60.0  # without a sample for so long, a source says so
Take = Callable[[Segment], None]


class SourceLost(Exception):
    """The other side does not speak as it should, or has had enough: one line says why."""


@dataclass(slots=True)
class Counters:
    """What a source has done, for health."""

    frames: int = 0  # frames, datagrams or records that were used
    bytes: int = 0  # that came, of whatever kind
    bad: int = 0  # frames, datagrams or records that were dropped as damaged
    resyncs: int = 0  # times that bytes were skipped to find the next frame
    gaps: int = 0  # times that a channel's samples did not begin where they had ended
    missing: int = 0  # samples that have not come between those that have
    implausible: int = 0  # segments refused, since no sample can have been taken at their time
    time_steps: int = 0  # of a clock that found or lost its reference
    connections: int = 0
    latency_ms: int = 0  # of the newest segment: from the end of its last sample to its arrival


def count_holes(segment: Segment, holes: Holes, counters: Counters) -> None:
    """holes: of its channel."""
    counters.gaps += not holes.joins(segment)
    counters.missing += holes.take(segment)


class Source(Protocol):
    """Where segments come from."""

    name: str  # for logs and health
    counters: Counters

    @property
    def channels(self) -> list[str]:
        """ "NET.STA.LOC.CHA" of all channels that it is expected to deliver."""
        ...

    @property
    def problems(self) -> list[str]:
        """What is wrong with it now, a line each."""
        ...

    async def run(self, take: Take) -> None:
        """Hand segments to `take` as they come, until there are no more, or cancelled."""
        ...


class LiveSource(ABC):
    """A source over a connection that is made again for ever, with jittered backoff.

    `run` ends by cancellation alone, and by what `take` raises. `gate` may be put in place of
    the one that knows nothing of the host's clock.
    """

    def __init__(
        self,
        name: str,
        channels: list[str],
        clock: Clock,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """random, sleep: of the backoff."""
        self.name = name
        self.channels = channels
        self.counters = Counters()
        self.gate = TimeGate()
        self._clock = clock
        self._random = random or Random()
        self._sleep = sleep
        self._trouble = ""
        self._heard_ns = clock.monotonic_ns()
        self._holes: defaultdict[str, Holes] = defaultdict(Holes)  # by channel

    @abstractmethod
    async def connection(self, take: Take) -> None:
        """Connect, call `established`, and deliver, until that is over.

        Raises OSError or SourceLost where it ends in another way than the other side's goodbye.
        """

    @property
    def problems(self) -> list[str]:
        if self._trouble:
            return [f"{self.name}: {self._trouble}"]
        if self.gate.problem:
            return [f"{self.name}: {self.gate.problem}"]
        silent_s = (self._clock.monotonic_ns() - self._heard_ns) // NS
        return [f"{self.name}: no samples for {silent_s} s"] if silent_s >= SILENT_S else []

    def established(self) -> None:
        self.counters.connections += 1
        self._trouble = ""
        _log.info("%s: connected", self.name)

    def deliver(self, segment: Segment, take: Take, by_host: bool = False) -> bool:
        """Count a segment and hand it on; False where its time is none, and it is refused.

        by_host: it was timed by the host's clock.
        """
        counters = self.counters
        counters.latency_ms = (self._clock.now_ns() - segment.end_ns) // 1_000_000
        self._heard_ns = self._clock.monotonic_ns()
        admitted = self.gate.admit(segment, by_host)
        counters.implausible, counters.time_steps = self.gate.refused, self.gate.steps
        if admitted is None:
            return False
        count_holes(admitted, self._holes[segment.channel], counters)
        take(admitted)
        return True

    async def run(self, take: Take) -> None:
        delays = backoff(self._random)
        failed = False

        def guarded(segment: Segment) -> None:
            nonlocal failed
            failed = True
            take(segment)
            failed = False

        while True:
            before = self.counters.frames
            try:
                await self.connection(guarded)
                self._trouble = "the other side has closed the connection"
            except (OSError, SourceLost, UnicodeError) as error:  # the last of impossible hosts
                if failed:  # a full disk, say: not for this source to live with
                    raise
                self._trouble = _reason(error)
            if self.counters.frames > before:
                delays = backoff(self._random)
            delay_s = next(delays)
            _log.warning("%s: %s; again in %.1f s", self.name, self._trouble, delay_s)
            await self._sleep(delay_s)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return str(error) or "no answer in time"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
