"""The daemon at work: sources feed boxes until they have ended or a signal comes."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from box.archive import Archive
from box.assembly import load_models, make_box
from box.clock import Clock
from box.config import BoxConfig
from box.sources.live import Source
from box.sources.miniseed import MiniSeedSource
from box.sources.opening import open_sources
from box.sources.seedlink import SeedLinkSource
from box.station_box import Box
from ringbuffer.segment import Segment

_log = logging.getLogger(__name__)
DRAIN_S = 10.0  # for what is left in the outbox when the daemon is told to stop


async def run_box(config: BoxConfig, clock: Clock) -> int:
    """Run until all sources have ended or a signal comes."""
    models = load_models(config.picking)
    sources = open_sources(config, clock)
    with ExitStack() as stack:
        archive = None
        if (wanted := config.archive) is not None:
            archive = Archive(Path(wanted.path), wanted.max_mb, wanted.max_days, clock.now_ns)
            stack.callback(archive.close)
        boxes = {
            station.id: make_box(station, config, sources, models, clock, archive, stack)
            for station in config.stations
        }
        if archive is not None:
            journals = [box.journal for box in boxes.values() if box.journal]
            archive.catch_up(packet for journal in journals for packet in journal.packets())
            archive.start()
        await _serve(boxes, sources, config)
    return 0


async def _serve(boxes: dict[str, Box], sources: list[Source], config: BoxConfig) -> None:
    """Feed the boxes from all sources, each in a task of its own, and say goodbye."""
    for box in boxes.values():
        box.resume()
        box.session.start()
    _skip_what_was_replayed(sources, list(boxes.values()))
    syncing = asyncio.create_task(_sync(list(boxes.values()), config.ring.flush_s))

    def take(segment: Segment) -> None:
        box = boxes.get(segment.channel.rsplit(".", 2)[0])
        if box is not None:
            box.take(segment)

    def report() -> None:
        for box in boxes.values():
            mine = f"{box.station_id}."
            box.report_health(s for s in sources if any(c.startswith(mine) for c in s.channels))

    pace = asyncio.create_task(_repeat(report, config.health_every_s))
    feeds = [asyncio.create_task(source.run(take)) for source in sources]
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, lambda: [feed.cancel() for feed in feeds])
    await asyncio.wait(feeds, return_when=asyncio.FIRST_EXCEPTION)
    for task in (pace, syncing, *feeds):
        task.cancel()
    for ended in await asyncio.gather(*feeds, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    for box in boxes.values():
        box.finish()
    report()
    left = await asyncio.gather(*(box.session.stop(DRAIN_S) for box in boxes.values()))
    _log.info("stopped, %d packets wait for the next start", sum(left))


def _skip_what_was_replayed(sources: list[Source], boxes: list[Box]) -> None:
    """A recording goes on where it was: from its beginning it would be a clock set back; and a
    server is asked for what a power cut has taken out of the ring."""
    held = {c: end for b in boxes if b.journal for c, end in b.journal.held.items()}
    for source in sources:
        if isinstance(source, MiniSeedSource | SeedLinkSource):
            source.skip(held)


async def _sync(boxes: list[Box], every_s: float) -> None:
    """The rings onto the disk, so often that a power cut takes no more than `every_s`."""
    while True:
        await asyncio.sleep(every_s)
        for box in boxes:
            if box.journal is not None:
                await asyncio.to_thread(box.journal.sync)


async def _repeat(what: Callable[[], None], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        what()
