"""Finished records and who keeps them: put together by the configuration, whole after a restart."""

from __future__ import annotations

import asyncio
from bisect import bisect
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from pymseed import MS3Record

from box.archive import Archive
from box.clock import Clock
from box.config import BoxConfig
from box.journal import Journal
from box.packer import DAY_NS, Packer, span
from box.record_store import RECENT, RecordStore
from box.seedlink.server import SeedLinkServer
from ringbuffer.records import Finished
from ringbuffer.segment import Segment
from uplink.tasks import end


class Recording:
    """The SDS archive and the SeedLink server's rings, as far as they are configured.

    archive, store: None where it is not configured; the store serves the server
    """

    def __init__(self, config: BoxConfig, clock: Clock, stack: ExitStack) -> None:
        """`stack` will close what is opened. Raises OSError for an archive that cannot be made."""
        self.store: RecordStore | None = None
        self.archive: Archive | None = None
        if (server := config.seedlink_server) is not None:
            stations = [station.id for station in config.stations]
            self.store = RecordStore(
                Path(config.data_dir), stations, server.ring_mb << 20, clock.now_ns()
            )
            stack.callback(self.store.close)
        if (wanted := config.archive) is not None:
            self.archive = Archive(Path(wanted.path), wanted.max_mb, wanted.max_days, clock.now_ns)
        # The rings first: what they have, the archive is given after a kill.
        sinks = [sink for sink in (self.store, self.archive) if sink is not None]
        self._packer = Packer(sinks, config.longest_record_s, clock.monotonic_ns)
        self._sinks = sinks
        stack.callback(self._packer.close)
        self._server: SeedLinkServer | None = None
        if server is not None and self.store is not None:
            self._server = SeedLinkServer(server, self.store, clock, config.longest_record_s)

    def start(self, journals: Iterable[Journal]) -> None:
        """Make whole what a kill or a power cut has left, and begin."""
        if not self._sinks:
            return
        packed = self.archive.tails() if self.archive is not None else {}
        if self.store is not None:
            if self.archive is not None:
                try:
                    reconcile(self.store, self.archive, packed)
                except OSError as error:
                    self.archive.refuse(f"{error.filename or self.archive.root}: {error.strerror}")
            for station_id in self.store.rings:
                for channel, records in self.store.tails(station_id).items():
                    if _reaches(records) >= _reaches(packed.get(channel, [])):
                        packed[channel] = records
        self._packer.resume(packed)
        for journal in journals:
            self._packer.catch_up(journal.packets())
        self._packer.start()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve clients meanwhile."""
        if self._server is None:
            yield
            return
        task = asyncio.create_task(self._server.run())
        try:
            yield
        finally:
            await end([task])

    def put(self, segment: Segment, position: int) -> None:
        """Keep a packet, some time. position: in the station's journal. Never blocks."""
        if self._sinks:
            self._packer.put(segment, position)

    def sync(self) -> None:
        """Onto the disk with it: for a thread."""
        if self.store is not None:
            self.store.sync()

    @property
    def counters(self) -> Counter[str]:
        """For health: those of the packer, and of each who keeps its records, by name."""
        counters = Counter({f"records {name}": n for name, n in self._packer.counters.items()})
        parts = {"archive": self.archive, "seedlink ring": self.store, "seedlink": self._server}
        for name, part in parts.items():
            if part is not None:
                counters.update({f"{name} {key}": n for key, n in part.counters.items()})
        if self._server is not None:
            counters["seedlink clients"] = self._server.clients
        return counters

    @property
    def problems(self) -> list[str]:
        """What is wrong with it now, a line each."""
        served = [] if self._server is None else self._server.problems
        kept = [line for part in (self._packer, *self._sinks) for line in part.problems]
        return kept + served


def reconcile(store: RecordStore, archive: Archive, tails: dict[str, list[Finished]]) -> None:
    """Give each of the two the newest records that only the other has.

    Both are written one after the other, and a kill can come in between; a power cut takes from
    each what it likes; a full disk leaves the archive behind. What each has packed on its own,
    while the other was switched off, stays as it is: no sample comes twice. tails: the archive's.

    Raises OSError.
    """
    for station_id in store.rings:
        held = store.tails(station_id)
        recent = store.recent(station_id)
        for channel, records in tails.items():
            if channel.startswith(f"{station_id}."):
                kept = _Kept([record.raw for record in held.get(channel, [])])
                common = [i for i, record in enumerate(records) if record.raw in kept.raws]
                behind = records[common[-1] + 1 :] if common else records
                if missing := [record for record in behind if kept.lacks(record)]:
                    store.append(channel, missing)
        days: dict[tuple[str, int], _Kept] = {}
        for record in recent:
            day = record.channel, record.start_ns // DAY_NS
            if day not in days:
                start_ns = record.start_ns
                days[day] = _Kept(archive.last_of_day(record.channel, start_ns, 2 * RECENT))
            if days[day].lacks(record):
                archive.append(record.channel, [record])


def _reaches(records: list[Finished]) -> int:
    return max((record.end_ns for record in records), default=0)


class _Kept:
    """Records of a channel that are there."""

    def __init__(self, raws: list[bytes]) -> None:
        self.raws = frozenset(raws)
        self._spans: list[tuple[int, int]] | None = None  # start, end (ns); ascending

    def lacks(self, record: Finished) -> bool:
        """Is neither a record there, nor another one with samples of its time?"""
        if record.raw in self.raws:
            return False
        if self._spans is None:
            self._spans = sorted(map(span, self.raws))
        at = bisect(self._spans, (record.start_ns, record.end_ns))
        half_ns = (record.end_ns - record.start_ns) // (2 * MS3Record.parse(record.raw).samplecnt)
        return not any(
            begin_ns + half_ns < record.end_ns and record.start_ns + half_ns < end_ns
            for begin_ns, end_ns in self._spans[max(0, at - 1) : at + 1]
        )
