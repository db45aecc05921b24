"""The record rings of all stations: from them the SeedLink server gives."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ringbuffer.file import RingError
from ringbuffer.records import Finished, RecordRing

RECENT = 2048  # records of a station that are looked at when its ring is opened
HEAD = 256  # records at the old end of a ring that are looked at to tell where channels begin
GAPS = 50  # of a channel, the newest of which are told
_GAP_NS = 1_000_000_000  # a shorter one is not told


@dataclass
class Stream:
    """What is known of a channel in a ring; times in ns."""

    begin_ns: int
    end_ns: int
    gaps: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=GAPS))

    def extend(self, record: Finished) -> None:
        if record.start_ns - self.end_ns > _GAP_NS:
            self.gaps.append((self.end_ns, record.start_ns))
        self.end_ns = max(self.end_ns, record.end_ns)


class RecordStore:
    """Keeps the newest finished records of each station, numbered.

    rings: station (NET.STA) -> its ring; a station whose ring cannot be opened has none
    counters: `records`, `bytes`, `errors`, `set_aside` (files)
    listeners: called, in the packer's thread, when there is something new
    """

    def __init__(self, folder: Path, stations: Iterable[str], size: int, now_ns: int) -> None:
        """size: bytes per station, for new files."""
        self.counters: Counter[str] = Counter()
        self.rings: dict[str, RecordRing] = {}
        self.listeners: list[Callable[[], None]] = []
        self._lost: list[str] = []  # files that were set aside
        self._trouble: dict[str, str] = {}  # station -> what is wrong
        self._streams: dict[str, dict[str, Stream]] = defaultdict(dict)
        self._heads: dict[str, tuple[int, dict[str, int]]] = {}
        for station_id in stations:
            self._open(station_id, folder / f"{station_id}.records", size, now_ns)

    def _open(self, station_id: str, path: Path, size: int, now_ns: int) -> None:
        try:
            # A new file begins behind the numbers of any that is lost: these grow by less than
            # 250 records a second.
            ring = RecordRing(path, size, first=(max(now_ns, 0) >> 22) + 1)
        except RingError as error:
            self.counters["errors"] += 1
            self._trouble[station_id] = str(error)
            return
        if ring.set_aside is not None:
            self.counters["set_aside"] += 1
            self._lost.append(f"{path}: unusable, set aside as {ring.set_aside.name}")
        self.rings[station_id] = ring
        for name, records in self.tails(station_id).items():
            for record in records:
                self._note(station_id, name, record)

    @property
    def problems(self) -> list[str]:
        """What is wrong with it now, a line each."""
        return [f"records: {trouble}" for trouble in [*self._lost, *self._trouble.values()]]

    def tails(self, station_id: str) -> dict[str, list[Finished]]:
        """The last records of each channel of a station, in order."""
        found: dict[str, list[Finished]] = defaultdict(list)
        for record in self.recent(station_id):
            found[record.channel].append(record)
        return found

    def recent(self, station_id: str) -> list[Finished]:
        """The last records of a station, in order."""
        ring = self.rings.get(station_id)
        records, _ = ring.read(ring.newest - RECENT, RECENT) if ring is not None else ([], 0)
        return [record for _, record in records]

    def append(self, channel: str, records: Sequence[Finished]) -> None:
        station_id = channel.rsplit(".", 2)[0]
        ring = self.rings.get(station_id)
        if ring is None:
            return
        try:
            for record in records:
                ring.append(record)
                self._note(station_id, channel, record)
                self.counters["records"] += 1
                self.counters["bytes"] += len(record.raw)
            self._trouble.pop(station_id, None)
        except (OSError, ValueError) as error:
            self._fail(station_id, ring, error)
        for listener in self.listeners:
            listener()

    def _fail(self, station_id: str, ring: RecordRing, error: Exception) -> None:
        self.counters["errors"] += 1
        reason = error.strerror if isinstance(error, OSError) else error
        self._trouble[station_id] = f"{ring.path}: {reason}"

    def _note(self, station_id: str, channel: str, record: Finished) -> None:
        stream = self._streams[station_id].get(channel)
        if stream is None:
            stream = Stream(record.start_ns, record.end_ns)
            # Replaced, not changed: the server's thread may be going through it.
            self._streams[station_id] = {**self._streams[station_id], channel: stream}
        stream.extend(record)

    def ends(self, station_id: str) -> dict[str, int]:
        """Channel -> end of its newest sample (ns)."""
        return {channel: stream.end_ns for channel, stream in self._streams[station_id].items()}

    def streams(self, station_id: str) -> dict[str, Stream]:
        """What there is of a station: channel -> from when to when."""
        streams = self._streams[station_id]
        begins = self._begins(station_id)
        return {
            channel: Stream(begins.get(channel, stream.begin_ns), stream.end_ns, stream.gaps.copy())
            for channel, stream in sorted(streams.items())
        }

    def _begins(self, station_id: str) -> dict[str, int]:
        """Start of the oldest record of each channel, looked up again now and then."""
        ring = self.rings[station_id]
        lap = ring.newest // HEAD
        if self._heads.get(station_id, (None,))[0] != lap:
            records, _ = ring.read(ring.oldest - 1, HEAD)
            begins: dict[str, int] = {}
            for _, record in records:
                begins.setdefault(record.channel, record.start_ns)
            self._heads[station_id] = lap, begins
        return self._heads[station_id][1]

    def sync(self) -> None:
        """Onto the disk: for a thread, since an SD card may take its time."""
        for station_id, ring in list(self.rings.items()):
            try:
                ring.sync()
            except OSError as error:
                self._fail(station_id, ring, error)

    def close(self) -> None:
        self.sync()
        for ring in self.rings.values():
            ring.close()
        self.rings.clear()
