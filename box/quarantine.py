"""A station that shouts: more picks than earthquakes make, from a fault that nothing else shows.

Its picks go on being told, since an operator wants to see them, but marked QUARANTINED, and the
cloud makes no events of them. Picks are counted when they are first told, by minutes of data time.
The limits are far above what earthquakes do: see `QualityConfig`.
"""

from __future__ import annotations

import msgspec

from box.config import QualityConfig
from ringbuffer.segment import NS

MINUTE_NS = 60 * NS
HOUR = 60  # minutes


class QuarantineMemory(msgspec.Struct, frozen=True, array_like=True):
    """counts: (minute since 1970, picks), of the last hour and ascending."""

    counts: list[tuple[int, int]] = []
    since_ns: int = 0
    over_ns: int = 0
    reason: str = ""


class Quarantine:
    """Whether a station is shouting, by the picks that it tells."""

    def __init__(self, config: QualityConfig) -> None:
        self._config = config
        self._counts: dict[int, int] = {}  # minute since 1970 -> picks
        self._over_ns = 0  # when a limit was last exceeded
        self.since_ns = 0  # 0: it is not in quarantine
        self.reason = ""

    def memory(self) -> QuarantineMemory:
        return QuarantineMemory(
            list(self._counts.items()), self.since_ns, self._over_ns, self.reason
        )

    def remember(self, memory: QuarantineMemory) -> None:
        self._counts = dict(memory.counts)
        self.since_ns, self._over_ns = memory.since_ns, memory.over_ns
        self.reason = memory.reason

    @property
    def active(self) -> bool:
        return self.since_ns > 0

    def note(self, now_ns: int) -> None:
        """A new pick is told."""
        minute = now_ns // MINUTE_NS
        self._counts[minute] = self._counts.get(minute, 0) + 1
        self._judge(now_ns)

    def advance(self, now_ns: int) -> None:
        """Data time has come so far."""
        minute = now_ns // MINUTE_NS
        if self._counts and not minute - HOUR < min(self._counts) <= max(self._counts) <= minute:
            # What is older, or, where a clock was set back, of the future.
            self._counts = {m: n for m, n in self._counts.items() if minute - HOUR < m <= minute}
        if self.active:
            self._judge(now_ns)
            if abs(now_ns - self._over_ns) >= self._config.quarantine_s * NS:
                self.since_ns, self.reason = 0, ""

    def _judge(self, now_ns: int) -> None:
        last, total = self._counts.get(now_ns // MINUTE_NS, 0), sum(self._counts.values())
        for count, most, span in (
            (last, self._config.picks_per_minute, "a minute"),
            (total, self._config.picks_per_hour, "an hour"),
        ):
            if count > most:
                self._over_ns = now_ns
                if not self.active:
                    self.since_ns = now_ns
                    self.reason = f"{count} picks in {span}, more than {most}"
                return
