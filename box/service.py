"""The daemon at work: sources feed boxes until they have ended or a signal comes."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from box.assembly import load_models, make_box
from box.clock import Clock
from box.config import BoxConfig
from box.feeds import Feeds
from box.host_clock import HostClock
from box.recording import Recording
from box.remote.state import Remote
from box.remote.steward import Steward
from box.sources.live import Source
from box.sources.miniseed import MiniSeedSource
from box.sources.seedlink import SeedLinkSource
from box.station_box import Box
from box.upkeep import Process, Upkeep
from ringbuffer.segment import Segment

_log = logging.getLogger(__name__)
DRAIN_S = 10.0  # for what is left in the outbox when the daemon is told to stop
SHORT_DRAIN_S = 1.0  # the same, where it goes on at once with another configuration


async def run_box(config: BoxConfig, clock: Clock, remote: Remote | None = None) -> int:
    """Run until all sources have ended or a signal comes, anew for each configuration from afar."""
    process = Process(Path(config.data_dir))
    stop = _Stop(process.stopping)
    host = HostClock(clock)
    feeds = Feeds(host)
    again = True
    while again and not stop.wanted:
        try:
            if remote is not None:
                gc.collect()  # of the boxes before: they refer to themselves
                remote.runs = False
                config = remote.effective()
            again = await _run_once(config, host, remote, feeds, process, stop)
        except Exception as error:
            if remote is None or not remote.fall_back(error):
                process.ended(error)
                with suppress(Exception):  # it has been told
                    await feeds.end()
                raise
            _log.error("%s: back to the configuration before", error)
    if remote is not None:
        remote.stop()
    process.ended()
    return 0


class _Stop:
    """SIGTERM and SIGINT, whenever they come."""

    def __init__(self, told: Callable[[], None]) -> None:
        """told: called at the first of them."""
        self.wanted = False
        self._told = told
        self._feeds: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop)

    def ends(self, feeds: list[asyncio.Task[None]]) -> None:
        """What a signal ends."""
        self._feeds = feeds
        if self.wanted:
            self._stop()

    def _stop(self) -> None:
        if not self.wanted:
            self._told()
        self.wanted = True
        for feed in self._feeds:
            feed.cancel()


async def _run_once(
    config: BoxConfig,
    clock: HostClock,
    remote: Remote | None,
    feeds: Feeds,
    process: Process,
    stop: _Stop,
) -> bool:
    """Under one configuration. True where that has been replaced by another."""
    models = load_models(config.picking)
    sources = await feeds.open(config)
    with ExitStack() as stack:
        recording = Recording(config, clock, stack)
        boxes = {
            station.id: make_box(station, config, sources, models, clock, recording, stack)
            for station in config.stations
        }
        recording.start(box.journal for box in boxes.values() if box.journal)
        upkeep = Upkeep(process, boxes, sources, config, clock, models)
        steward = None if remote is None else Steward(remote, config, boxes, clock)
        async with recording.serving():
            starting = asyncio.create_task(_start_sessions(boxes, clock))
            stack.callback(starting.cancel)
            again = await _serve(boxes, feeds, config, upkeep, recording, steward, stop)
    return again


async def _serve(
    boxes: dict[str, Box],
    feeds: Feeds,
    config: BoxConfig,
    upkeep: Upkeep,
    recording: Recording,
    steward: Steward | None,
    stop: _Stop,
) -> bool:
    """Feed the boxes from all sources, each in a task of its own, and say goodbye.

    Returns whether that was for another configuration.
    """
    for box in boxes.values():
        box.resume()
    if not feeds.tasks:
        _skip_what_was_replayed(feeds.sources, list(boxes.values()))
    syncing = asyncio.create_task(_sync(list(boxes.values()), recording, config.ring.flush_s))

    def take(segment: Segment) -> None:
        box = boxes.get(segment.channel.rsplit(".", 2)[0])
        if box is not None:
            box.take(segment)

    stop.ends(feeds.deliver(take))
    steering = [] if steward is None else [asyncio.create_task(steward.run())]
    await asyncio.sleep(0)  # the sources begin
    upkeep.ready()
    try:
        again = await _until_one_fails(feeds.tasks, steering) and not stop.wanted
        if not (again and steward is not None and feeds.fit(steward.in_force())):
            await feeds.end()
    finally:
        feeds.pause()
        upkeep.stopping()
        for task in (syncing, *steering):
            task.cancel()
    for box in boxes.values():
        if again:
            box.hand_over()
        else:
            box.finish()
    upkeep.report()
    drain_s = SHORT_DRAIN_S if again else DRAIN_S
    left = await asyncio.gather(*(box.session.stop(drain_s) for box in boxes.values()))
    _log.info("stopped, %d packets wait for the next start", sum(left))
    return again


async def _start_sessions(boxes: dict[str, Box], clock: HostClock) -> None:
    """Connect as soon as it is known what time it is. What is told before waits in the outbox."""
    for box in boxes.values():
        clock.not_before(box.journal.newest_arrival_ns if box.journal else 0)
    await clock.until_plausible()
    for box in boxes.values():
        box.session.start()


async def _until_one_fails(
    feeds: list[asyncio.Task[None]], steering: list[asyncio.Task[None]]
) -> bool:
    """Until all sources have ended, one with an error, or another configuration is to be in force.

    Returns whether it is that. Raises what the steering has ended with.
    """
    waits = {*feeds, *steering}
    while True:
        done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in steering:
            if task.done():
                task.result()
                return True
        failed = any(not task.cancelled() and task.exception() for task in done)
        if failed or waits <= {*steering}:
            return False


def _skip_what_was_replayed(sources: list[Source], boxes: list[Box]) -> None:
    """A recording goes on where it was: from its beginning it would be a clock set back; and a
    server is asked for what a power cut has taken out of the ring."""
    held = {c: end for b in boxes if b.journal for c, end in b.journal.held.items()}
    for source in sources:
        if isinstance(source, MiniSeedSource | SeedLinkSource):
            source.skip(held)


async def _sync(boxes: list[Box], recording: Recording, every_s: float) -> None:
    """The rings onto the disk, so often that a power cut takes no more than `every_s`."""
    while True:
        await asyncio.sleep(every_s)
        for box in boxes:
            if box.journal is not None:
                await asyncio.to_thread(box.journal.sync)
        await asyncio.to_thread(recording.sync)
