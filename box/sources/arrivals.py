"""When samples were taken that carry no time: from when they come, by the host's clock.

What comes is late by some jitter and never early, and the device's clock drifts against the
host's. So the earliest arrival of every few seconds counts, and a line through those, by medians
of slopes (Theil 1950, Sen 1968), which a stall of the host does not bend.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from ringbuffer.segment import NS, samples_to_ns

T = TypeVar("T")
BIN_NS = 5 * NS
BINS = 120  # ten minutes
FOR_A_SLOPE = 12  # bins; a minute tells of no drift
STEP_NS = 40_000_000  # earlier than that before the line, or always later: a clock has been set
LATE_FOR_NS = 10 * NS
# Times are told by a steady clock as long as it is this near to the line: a drifting one that
# followed it closely would step every few minutes, and what is before and after a step is
# unconnected.
HOLD_NS = 20_000_000


class _Arrival(NamedTuple):
    device_ns: int
    delay_ns: int  # host's time of arrival less the device's time


class ArrivalLine:
    """The host's time for a device's time.

    settled: enough has come to tell
    restarts: times that it has begun anew
    """

    def __init__(self) -> None:
        self.restarts = -1
        self.restart()

    def restart(self) -> None:
        self.restarts += 1
        self.settled = False
        self._bins: deque[_Arrival] = deque(maxlen=BINS)
        self._bin: tuple[int, _Arrival] | None = None  # its beginning, its earliest arrival so far
        self._slope, self._offset_ns = 0.0, 0.0  # of the delay, about the first bin
        self._held_ns: int | None = None
        self._late_since_ns: int | None = None

    def add(self, device_ns: int, arrival_ns: int) -> None:
        """Something that the device did at `device_ns` has arrived.

        Where that fits nothing before, since a clock was set, the line begins anew.
        """
        delay_ns = arrival_ns - device_ns
        if self.settled:
            late_ns = delay_ns - self._delay_ns(device_ns)
            if late_ns > STEP_NS:
                if self._late_since_ns is None:
                    self._late_since_ns = device_ns
                if device_ns - self._late_since_ns <= LATE_FOR_NS:
                    return  # a stall, from which there is nothing to learn
                self.restart()
            elif late_ns < -STEP_NS:
                self.restart()
            self._late_since_ns = None
        self._put(_Arrival(device_ns, delay_ns))

    def expected_ns(self, device_ns: int) -> int | None:
        """When something would arrive, without jitter; None where nothing has arrived yet."""
        if self.settled:
            return device_ns + self._delay_ns(device_ns)
        return None if self._bin is None else device_ns + self._bin[1].delay_ns

    def host_ns(self, device_ns: int) -> int:
        """The time of something at `device_ns`. Ask only when something has arrived."""
        expected_ns = self.expected_ns(device_ns)
        assert expected_ns is not None
        if not self.settled:
            return expected_ns
        delay_ns = expected_ns - device_ns
        if self._held_ns is None or abs(delay_ns - self._held_ns) > HOLD_NS:
            self._held_ns = delay_ns
        return device_ns + self._held_ns

    def _put(self, arrival: _Arrival) -> None:
        if self._bin is None:
            self._bin = arrival.device_ns, arrival
            return
        begin_ns, earliest = self._bin
        if arrival.device_ns - begin_ns >= BIN_NS:
            self._bins.append(earliest)
            self._bin = arrival.device_ns, arrival
            self._fit()
        elif arrival.delay_ns < earliest.delay_ns:
            self._bin = begin_ns, arrival

    def _fit(self) -> None:
        origin = self._bins[0]
        x = np.array([a.device_ns - origin.device_ns for a in self._bins], np.float64)
        y = np.array([a.delay_ns - origin.delay_ns for a in self._bins], np.float64)
        self._slope = 0.0
        if len(x) >= FOR_A_SLOPE:
            first, last = np.triu_indices(len(x), 1)
            self._slope = float(np.median((y[last] - y[first]) / (x[last] - x[first])))
        self._offset_ns = float(np.median(y - self._slope * x))
        self.settled = True

    def _delay_ns(self, device_ns: int) -> int:
        origin = self._bins[0]
        bent_ns = self._slope * (device_ns - origin.device_ns) + self._offset_ns
        return origin.delay_ns + round(bent_ns)


class HostStamp(Generic[T]):
    """Stamps things whose time the device tells by a clock of its own.

    What comes before the line has settled is kept until then.
    """

    def __init__(self) -> None:
        self.line = ArrivalLine()
        self._waiting: list[tuple[int, T]] = []

    def stamp(self, device_ns: int, arrival_ns: int, thing: T) -> list[tuple[int, T]]:
        """Host's times (ns since 1970) and things that can be told now, in order."""
        self.line.add(device_ns, arrival_ns)
        self._waiting.append((device_ns, thing))
        return self.flush() if self.line.settled else []

    def restart(self) -> list[tuple[int, T]]:
        """The device's clock is another from now on; returns what waited, by the best guess."""
        told = self.flush()
        self.line.restart()
        return told

    def flush(self) -> list[tuple[int, T]]:
        waiting, self._waiting = self._waiting, []
        return [(self.line.host_ns(device_ns), thing) for device_ns, thing in waiting]


class CountedStamp(Generic[T]):
    """Stamps blocks of samples that carry no time at all, by counting them.

    Where bytes were lost, or a block comes later than jitter makes it, blocks may be missing. How
    many is found from those of the second behind: by how many even the earliest of them came late.
    """

    def __init__(self, rate: Fraction, block: int) -> None:
        """block: samples in each."""
        self._rate = rate
        self._block = block
        self._block_ns = samples_to_ns(block, rate)
        self._count = 0  # samples so far
        self._host: HostStamp[T] = HostStamp()
        self._after_loss: list[tuple[int, T]] = []  # arrival and block, while in doubt

    def stamp(self, arrival_ns: int, block: T, after_loss: bool) -> list[tuple[int, T]]:
        """Times of the first samples of blocks, and the blocks, that can be told now."""
        told = []
        if self._count and (after_loss or self._is_late(arrival_ns)):
            told = self._find_loss()
            self._after_loss = [(arrival_ns, block)]
        elif self._after_loss:
            self._after_loss.append((arrival_ns, block))
        else:
            return self._next(arrival_ns, block)
        if len(self._after_loss) * self._block_ns >= NS:
            told += self._find_loss()
        return told

    def flush(self) -> list[tuple[int, T]]:
        """Whatever still waits, by the best guess."""
        return self._find_loss() + self._told(self._host.flush())

    def _is_late(self, arrival_ns: int) -> bool:
        """Later than jitter makes it. A device that was off for a moment loses whole blocks."""
        late_ns = self._late_ns([*self._after_loss, (arrival_ns, None)])
        least_ns = min(late_ns[:-1], default=0)
        return bool(late_ns) and late_ns[-1] - least_ns > max(STEP_NS, self._block_ns // 2)

    def _late_ns(self, doubtful: Sequence[tuple[int, object]]) -> list[int]:
        """How late each of some blocks came, by the count; nothing where none is expected yet."""
        late_ns = []
        for number, (arrival_ns, _) in enumerate(doubtful):
            expected_ns = self._host.line.expected_ns(self._device_ns(number))
            if expected_ns is not None:
                late_ns.append(arrival_ns - expected_ns)
        return late_ns

    def _find_loss(self) -> list[tuple[int, T]]:
        doubtful, self._after_loss = self._after_loss, []
        if late_ns := self._late_ns(doubtful):
            self._count += max(0, round(min(late_ns) / self._block_ns)) * self._block
        return [t for arrival_ns, block in doubtful for t in self._next(arrival_ns, block)]

    def _device_ns(self, ahead: int) -> int:
        """When the last sample of a block was taken, by the count, after which it is sent."""
        return samples_to_ns(self._count + (ahead + 1) * self._block - 1, self._rate)

    def _next(self, arrival_ns: int, block: T) -> list[tuple[int, T]]:
        device_ns = self._device_ns(0)
        self._count += self._block
        return self._told(self._host.stamp(device_ns, arrival_ns, block))

    def _told(self, stamped: list[tuple[int, T]]) -> list[tuple[int, T]]:
        length_ns = samples_to_ns(self._block - 1, self._rate)
        return [(last_ns - length_ns, block) for last_ns, block in stamped]
