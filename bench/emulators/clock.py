"""A clock for emulators."""

from __future__ import annotations

from box.clock import ReplayClock


class HandClock(ReplayClock):
    """Shows what it is set to: `at_ns`, UTC in ns since 1970."""

    def __init__(self, at_ns: int = 0) -> None:
        super().__init__()
        self.at_ns = at_ns

    def now_ns(self) -> int:
        return self.at_ns
