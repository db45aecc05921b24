"""`diting box`: the daemon beside a seismometer."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from box.archive import Archive
from box.clock import Clock, SystemClock
from box.config import BoxConfig, PickingConfig, StationConfig
from box.journal import Journal, pieces
from box.pipeline import StationPipeline
from box.sources.live import Source
from box.sources.miniseed import MiniSeedSource
from box.sources.opening import open_sources, source_problems
from box.sources.seedlink import SeedLinkSource
from box.stations import Station, StationError, load_stations
from box.stretch import Models
from models.fmp import FMP, FirstMotion
from models.magnitude import MAGNITUDE, StationMagnitude
from models.picker import PICKER, Picker
from ringbuffer.segment import Segment
from uplink.configuration import ConfigError, load_config
from uplink.connection import BrokerAddress
from uplink.outbox import Kind, Outbox, Packet
from uplink.packets import (
    Event,
    Health,
    Pick,
    PickFlag,
    Presence,
    encode_event,
    encode_json,
    encode_pick,
)
from uplink.session import Session
from uplink.topics import topic

_log = logging.getLogger(__name__)
BUILT_IN: dict[str, tuple[Callable[[Path], Any], Path]] = {  # in the order of `Models`
    "picker": (Picker, PICKER),
    "first_motion": (FirstMotion, FMP),
    "magnitude": (StationMagnitude, MAGNITUDE),
}
LATE_NS = 30_000_000_000  # after their arrival, samples are too old for a live alarm
DRAIN_S = 10.0  # for what is left in the outbox when the daemon is told to stop


class Box:
    """One station's box: samples in, packets out."""

    def __init__(
        self,
        pipeline: StationPipeline,
        session: Session,
        now_ns: Callable[[], int],
        observer: Callable[[str, bytes], None] = lambda station_id, payload: None,
        journal: Journal | None = None,
        archive: Archive | None = None,
    ) -> None:
        """observer: is shown the payload of each pick that goes out. journal: without one, what
        was not told is lost with the process."""
        self.pipeline = pipeline
        self.session = session
        self.station_id = pipeline.station.station_id
        self._now_ns = now_ns
        self._observer = observer
        self.journal = journal
        self._archive = archive

    def take(self, segment: Segment) -> None:
        """Digest a segment that has just arrived."""
        arrived_ns = self._now_ns()
        if self.journal is None:
            self._publish(self.pipeline.feed(segment), arrived_ns)
            return
        for packet in pieces(segment):
            position = self.journal.keep(packet, arrived_ns)
            if self._archive is not None:
                self._archive.put(packet)
            self._publish(self.pipeline.feed(packet), arrived_ns, position)
            self.journal.mark(self.pipeline, arrived_ns)

    def resume(self) -> None:
        """Go on where the process before this one was: tell what it had not yet told."""
        if self.journal is None:
            return
        known = self.session.position
        now_ns = self._now_ns()
        for record, packet in self.journal.resume(self.pipeline, now_ns):
            told = self.pipeline.feed(packet)
            if record.seq > known:
                late = now_ns - record.arrived_ns > LATE_NS
                self._publish(told, record.arrived_ns, record.seq, late)

    def finish(self) -> None:
        """The stream has ended."""
        now_ns = self._now_ns()
        # Noted first: to settle a pick twice, in two ways, would be worse than not at all.
        position = self.journal.finish(now_ns) if self.journal else 0
        self._publish(self.pipeline.flush(), now_ns, position)

    def report_health(self, sources: Iterable[Source] = ()) -> None:
        """sources: those of this station, whose counters and troubles are told with it."""
        now_ns = self._now_ns()
        counters = self.pipeline.counters.as_dict()
        notes = []
        for source in sources:
            counted = asdict(source.counters)
            counters |= {f"{source.name} {name}": count for name, count in counted.items()}
            notes += source.problems
        stores = {"ring": self.journal, "archive": self._archive}
        for name, store in stores.items():
            if store is not None:
                counters |= {f"{name} {key}": count for key, count in store.counters.items()}
                notes += store.problems
        health = Health(
            time_ns=now_ns,
            data_until_ns=self.pipeline.data_until_ns,
            counters={k: v for k, v in counters.items() if v},
            notes=notes,
        )
        name = topic(self.station_id, "health")
        self.session.publish([Packet(name, encode_json(health), Kind.HEALTH, now_ns)])

    def _publish(
        self, told: list[Pick | Event], arrived_ns: int, position: int = 0, late: bool = False
    ) -> None:
        """position: of the samples in the ring. late: these came too long ago for an alarm."""
        if late:
            told = [_historical(packet) for packet in told]
        if told:
            self.session.publish([self._pack(packet, arrived_ns) for packet in told], position)

    def _pack(self, packet: Pick | Event, arrived_ns: int) -> Packet:
        if isinstance(packet, Event):
            name = topic(self.station_id, "event")
            return Packet(name, encode_event(packet), Kind.EVENT, arrived_ns)
        payload = encode_pick(packet)
        self._observer(self.station_id, payload)
        return Packet(topic(self.station_id, "pick"), payload, Kind.PICK, arrived_ns)


def _historical(packet: Pick | Event) -> Pick | Event:
    """Only picks can say so of themselves."""
    if isinstance(packet, Event):
        return packet
    return msgspec.structs.replace(packet, flags=packet.flags | PickFlag.HISTORICAL)


def load_models(picking: PickingConfig) -> Models:
    """The models of a configuration. Raises ModelError for one that cannot be used."""
    return Models(*(load_model(picking, field) for field in BUILT_IN))


def load_model(picking: PickingConfig, field: str) -> Any:
    """The model that a field of the configuration names, or the built-in one."""
    kind, built_in = BUILT_IN[field]
    return kind(Path(getattr(picking, field) or built_in))


def birth(station: Station, channels: list[str], models: Models) -> Presence:
    """What a box says of itself when it connects."""
    return Presence(
        online=True,
        session=0,
        latitude=station.latitude,
        longitude=station.longitude,
        elevation_m=station.elevation_m,
        channels=channels,
        version=version("diting-smart-box"),
        models=models.hashes(),
    )


def find_station(config: StationConfig) -> Station:
    """The station of a configuration, from its StationXML or from the configuration itself."""
    if config.stationxml is not None:
        stations, problems = load_stations(Path(config.stationxml))
        if config.id not in stations:
            raise StationError(
                "\n".join([*problems, f"{config.stationxml}: {config.id} is not in it"])
            )
        return stations[config.id]
    if config.latitude is None or config.longitude is None:
        raise StationError(f"station.latitude, station.longitude: missing for {config.id}")
    return Station(
        config.id,
        config.latitude,
        config.longitude,
        config.elevation_m,
        sensitivity=config.sensitivity,
    )


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
            station.id: _make_box(station, config, sources, models, clock, archive, stack)
            for station in config.stations
        }
        if archive is not None:
            journals = [box.journal for box in boxes.values() if box.journal]
            archive.catch_up(packet for journal in journals for packet in journal.packets())
            archive.start()
        await _serve(boxes, sources, config)
    return 0


def _make_box(
    config: StationConfig,
    whole: BoxConfig,
    sources: list[Source],
    models: Models,
    clock: Clock,
    archive: Archive | None,
    stack: ExitStack,
) -> Box:
    station = find_station(config)
    channels = [c for source in sources for c in source.channels if c.startswith(config.id + ".")]
    pipeline = StationPipeline(
        station,
        channels,
        models,
        whole.picking,
        whole.trigger,
        whole.clock,
        whole.ring_s,
        whole.reorder_s,
    )
    if not pipeline.components:
        raise ConfigError([f"source: no channel of {config.id} to pick on"])
    outbox = Outbox(Path(whole.data_dir) / f"{config.id}.outbox.sqlite")
    stack.callback(outbox.close)
    journal = Journal(
        Path(whole.data_dir) / f"{config.id}.ring", whole.ring.size_mb << 20, outbox.position
    )
    stack.callback(journal.close)
    session = Session(
        BrokerAddress.parse(whole.broker.url),
        config.id,
        outbox,
        birth=birth(station, channels, models),
        now_ns=clock.now_ns,
    )
    return Box(pipeline, session, clock.now_ns, journal=journal, archive=archive)


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument("-v", "--verbose", action="store_true", help="log connections and counters")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    config = load_config(args.config, BoxConfig)
    if problems := source_problems(config):
        raise ConfigError([f"{args.config}: {line}" for line in problems])
    return asyncio.run(run_box(config, SystemClock()))
