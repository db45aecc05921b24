"""What the daemon does beside picking: say that it lives, how it is, and why it should not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from box.clock import NS
from box.config import BoxConfig
from box.health import SystemHealth
from box.host_clock import HostClock
from box.lateness import measure
from box.notify import Notifier
from box.sources.live import Source
from box.starts import RUNNING, STOPPED, Starts
from box.station_box import Box
from box.stretch import Models
from box.watchdog import SILENT, Watchdog, keep_watch
from uplink.outbox import OutboxError

_log = logging.getLogger(__name__)
PAUSE_S = 10.0  # after a failure of what is done for ever; less than the watchdog's patience
FIRST_HEALTH_S = 30.0  # after the start, when sources and broker have had their time to connect


class Process:
    """What the daemon is to the service manager, and to the daemon after it: one, however often
    its configuration changes."""

    def __init__(self, data_dir: Path) -> None:
        """Count a start."""
        self.notifier = Notifier()
        self.starts = Starts(data_dir / "starts.json")

    def stopping(self) -> None:
        self.notifier.send(STOPPING=1, STATUS="stopping")

    def ended(self, error: Exception | None = None) -> None:
        """The last word. error: what it did not survive."""
        self.stopping()
        self.starts.note(STOPPED if error is None else f"failed: {error}"[:200])


class Upkeep:
    """Health, the watchdog and the service manager, for all boxes of the daemon."""

    def __init__(
        self,
        process: Process,
        boxes: Mapping[str, Box],
        sources: Sequence[Source],
        config: BoxConfig,
        clock: HostClock,
        models: Models,
    ) -> None:
        """boxes, sources: as they are at any time; both may change."""
        self._process = process
        self._boxes = boxes
        self._sources = sources
        self._every_s = config.health_every_s
        self._clock = clock
        folders = [config.data_dir] + ([config.archive.path] if config.archive else [])
        self._health = SystemHealth(
            clock, process.starts, map(Path, folders), models.hashes(), models.picker.engine
        )
        self._watermark_every_s = config.watermark_every_s
        self._silent_s = config.silent_restart_s
        self._tasks: list[asyncio.Task[None]] = []

    def ready(self) -> None:
        """The sources run and the outboxes are open."""
        self._process.notifier.send(READY=1)
        watchdog = Watchdog(
            lambda: [box.pipeline for box in self._boxes.values()],
            self._clock,
            self._silent_s,
            patient=self._process.starts.last_end.startswith(SILENT),
        )
        watch = partial(keep_watch, watchdog, self._process.notifier, self._status, self._changed)
        tasks: dict[str, Callable[[], Awaitable[None]]] = {
            "watchdog": watch,
            "host clock": self._clock.watch,
            "lateness": partial(measure, self._health.lateness, self._clock),
            "health": partial(_repeat, self.report, FIRST_HEALTH_S, self._every_s),
        }
        for box in self._boxes.values():
            if box.waveforms is not None:
                tasks[f"waveforms of {box.station_id}"] = box.waveforms.run
        if (every_s := self._watermark_every_s) is not None:
            tasks["watermarks"] = partial(_repeat, self._watermark, every_s, every_s)
        self._tasks = [
            asyncio.create_task(keep_up(name, task, self._troubled)) for name, task in tasks.items()
        ]

    def stopping(self) -> None:
        for task in self._tasks:
            task.cancel()

    def report(self) -> None:
        """A health packet of each box, once it is known what time it is. Raises OutboxError."""
        if not self._clock.plausible:
            return
        system = self._health.collect()
        for box in self._boxes.values():
            mine = f"{box.station_id}."
            sources = (s for s in self._sources if any(c.startswith(mine) for c in s.channels))
            box.report_health(sources, system, self._clock)

    def _watermark(self) -> None:
        for box in self._boxes.values():
            box.tell_watermark()

    def _troubled(self, trouble: str) -> None:
        self._health.trouble = trouble

    def _changed(self, trouble: str) -> None:
        self._process.starts.note(trouble or RUNNING)

    def _status(self) -> str:
        """A line for people who ask the service manager."""
        boxes = self._boxes.values()
        picks = sum(box.pipeline.counters.picks for box in boxes)
        try:
            waiting = sum(box.session.state().waiting for box in boxes)
        except OutboxError as error:  # no reason to let the watchdog starve
            return str(error)
        up = sum(box.session.connection.up for box in boxes)
        until_ns = max((box.pipeline.data_until_ns for box in boxes), default=0)
        until = datetime.fromtimestamp(until_ns // NS, UTC).isoformat()[:19] if until_ns else "–"
        return (
            f"{len(boxes)} stations, {up} connected; data until {until}; {picks} picks;"
            f" {waiting} packets waiting"
        )


async def keep_up(
    name: str,
    what: Callable[[], Awaitable[None]],
    told: Callable[[str], None],
    pause_s: float = PAUSE_S,
) -> None:
    """Do what is done for ever; where it fails, tell so, and do it again.

    None of this is worth the picking's end, nor should it be missing until somebody notices.
    """
    while True:
        try:
            await what()
            return
        except Exception as error:
            _log.exception("%s: failed, and begins again", name)
            told(f"{name}: {str(error) or type(error).__name__}"[:200])
        await asyncio.sleep(pause_s)


async def _repeat(what: Callable[[], None], first_s: float, every_s: float) -> None:
    await asyncio.sleep(min(first_s, every_s))
    while True:
        what()
        await asyncio.sleep(every_s)
