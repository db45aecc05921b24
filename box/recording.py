"""Finished records and who keeps them: put together by the configuration, whole after a restart."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from box.archive import Archive
from box.clock import Clock
from box.config import BoxConfig
from box.journal import Journal
from box.packer import DAY_NS, Packer
from box.record_store import RECENT, RecordStore
from box.seedlink_server import SeedLinkServer
from ringbuffer.records import Finished
from ringbuffer.segment import Segment


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
            self._server = SeedLinkServer(server, self.store, clock)

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
                packed |= self.store.tails(station_id)
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
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

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
    each what it likes; a full disk leaves the archive behind. tails: the archive's
    """
    for station_id in store.rings:
        recent = store.recent(station_id)
        held: dict[str, set[bytes]] = {}
        for record in recent:
            held.setdefault(record.channel, set()).add(record.raw)
        for channel, records in tails.items():
            if channel.startswith(f"{station_id}."):
                _give_what_follows(store, channel, records, held.get(channel, set()))
        archived: dict[tuple[str, int], set[bytes]] = {}
        for record in recent:
            day = record.channel, record.start_ns // DAY_NS
            if day not in archived:
                archived[day] = set(
                    archive.last_of_day(record.channel, record.start_ns, 2 * RECENT)
                )
            if record.raw not in archived[day]:
                archive.append(record.channel, [record])


def _give_what_follows(
    store: RecordStore, channel: str, records: list[Finished], held: set[bytes]
) -> None:
    """To the ring: what lies in the archive behind the last record that both have, or all where the
    ring has nothing of the channel."""
    common = [i for i, record in enumerate(records) if record.raw in held]
    if common or not held:
        missing = records[common[-1] + 1 :] if common else records
        if missing:
            store.append(channel, missing)
