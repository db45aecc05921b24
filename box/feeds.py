"""The sources at work. Those that a new configuration leaves as they are run on meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque

from box.config import BoxConfig, MiniSeedConfig
from box.host_clock import HostClock
from box.sources.live import Source, Take
from box.sources.opening import open_sources
from ringbuffer.segment import Segment
from uplink.tasks import end

MOST_WAITING = 50_000  # segments while nobody takes them; the oldest go first


class Feeds:
    """Each source in a task of its own, and what they deliver between two configurations."""

    def __init__(self, clock: HostClock) -> None:
        self.sources: list[Source] = []
        self.tasks: list[asyncio.Task[None]] = []  # none before the first `deliver`
        self._clock = clock
        self._config: BoxConfig | None = None
        self._take: Take | None = None
        self._waiting: deque[Segment] = deque(maxlen=MOST_WAITING)

    async def open(self, config: BoxConfig) -> list[Source]:
        """The sources of a configuration: those that run, where it has the same, else new ones.

        Raises ConfigError, SourceError.
        """
        if not self.fit(config):
            await self.end()
            self.sources = open_sources(config, self._clock.clock, self._clock)
            self._config = config
        return self.sources

    def fit(self, config: BoxConfig) -> bool:
        """Whether those that run are the ones of a configuration. A recording never is: it is
        replayed from where the box stands."""
        now = self._config
        return (
            now is not None
            and (now.sources, now.stations, now.clock)
            == (config.sources, config.stations, config.clock)
            and not any(isinstance(source, MiniSeedConfig) for source in now.sources)
            and not any(task.done() for task in self.tasks)
        )

    def deliver(self, take: Take) -> list[asyncio.Task[None]]:
        """Hand what waits, and all that comes, to `take`. Returns the sources' tasks."""
        self._take = take
        while self._waiting:
            take(self._waiting.popleft())
        if not self.tasks:
            self.tasks = [asyncio.create_task(source.run(self._deliver)) for source in self.sources]
        return self.tasks

    def pause(self) -> None:
        """Let what comes wait."""
        self._take = None

    def _deliver(self, segment: Segment) -> None:
        if self._take is None:
            self._waiting.append(segment)
        else:
            self._take(segment)

    async def end(self) -> None:
        """Stop all sources. Raises what one has ended with."""
        tasks, self.tasks, self._config = self.tasks, [], None
        await end(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
