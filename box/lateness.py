"""How late the event loop is: what everything else that it runs makes a timer wait."""

from __future__ import annotations

import asyncio
from math import log2
from typing import NamedTuple

from box.clock import NS, Clock

PERIOD_NS = NS // 10
_FINEST_NS = 100_000  # upper limit of the first bin; each of the others is 2^(1/4) times as wide
_BINS = 96  # up to half an hour


class Quantiles(NamedTuple):
    p50_ms: float
    p99_ms: float
    max_ms: float


class Lateness:
    """Quantiles of what was recorded since they were last taken, to a fifth, in constant memory."""

    def __init__(self) -> None:
        self._bins = [0] * _BINS
        self._max_ns = 0

    def record(self, late_ns: int) -> None:
        steps = log2(max(late_ns, 1) / _FINEST_NS) * 4
        self._bins[min(max(0, int(steps + 1)), _BINS - 1)] += 1
        self._max_ns = max(self._max_ns, late_ns)

    def take(self) -> Quantiles | None:
        """The quantiles (upper limits of their bins), None of nothing; and begin anew."""
        bins, max_ns = self._bins, self._max_ns
        self._bins, self._max_ns = [0] * _BINS, 0
        if not sum(bins):
            return None
        p50, p99 = (min(self._quantile(bins, q), max_ns) / 1e6 for q in (0.5, 0.99))
        return Quantiles(round(p50, 1), round(p99, 1), round(max_ns / 1e6, 1))

    @staticmethod
    def _quantile(bins: list[int], fraction: float) -> float:
        seen = 0
        for number, count in enumerate(bins):
            seen += count
            if seen >= fraction * sum(bins):
                return float(_FINEST_NS * 2 ** (number / 4))
        raise AssertionError("a fraction is at most 1")


async def measure(lateness: Lateness, clock: Clock) -> None:
    """Fire every tenth of a second, for ever, and record how late.

    The instants are fixed beforehand: of a loop that stood still for a second all ten count, as
    for anything else that would have been due meanwhile.
    """
    due_ns = clock.monotonic_ns() + PERIOD_NS
    while True:
        await asyncio.sleep(max(0, due_ns - clock.monotonic_ns()) / NS)
        now_ns = clock.monotonic_ns()
        while due_ns <= now_ns:
            lateness.record(now_ns - due_ns)
            due_ns += PERIOD_NS
