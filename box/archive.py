"""An SDS archive of miniSEED, written by a thread so that no disk ever holds up the picking.

    ROOT/YEAR/NET/STA/CHA.D/NET.STA.LOC.CHA.D.YEAR.DAY      (Steim-2, records of 512 bytes)

- A channel's samples wait in memory until they fill records (some ten seconds of them); a gap, a
  change of rate or flags, and midnight end a record early. Nothing is synced: what a kill or a
  power cut takes is taken again from the ring on disk at the next start (`catch_up`).
- What is there already is not written again; a file that ends in a torn record is cut back to the
  last whole one before anything is appended.
- **Limits.** `QUEUE` packets may wait for the thread: further ones are dropped from the archive
  (`dropped`), never from the picking. Beyond `max_mb` or `max_days` the oldest day goes
  (`removed`); the newest day never does: where it alone is too much, what comes is dropped.
- **Disk full**, or any other refusal: the records at hand are dropped (`errors`), a file is left
  with whole records, and the next ones are tried again.
"""

from __future__ import annotations

import os
import re
import threading
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Full, Queue

import numpy as np
from pymseed import DataEncoding, MiniSEEDError, MS3Record, nslc2sourceid

from box.sources.record import RecordError, read_record
from ringbuffer.segment import NS, Flag, Segment, ns_to_samples

RECORD = 512  # bytes
QUEUE = 20_000  # packets: with three channels and packets of one second, almost two hours
PACK_AFTER = 1000  # samples: of a record or more at the quietest site
TAIL = 64  # records at the end of a channel that are looked at when it is opened
SPANS = 100  # stretches of a channel of which it is known that they are archived
DAY_NS = 86_400 * NS
_CALIBRATION, _TIME_QUESTIONABLE, _CLOCK_LOCKED = 1, 2, 4  # record flags, as libmseed has them
_CLIPPED = '{"FDSN":{"Flags":{"DigitizerClipping":true}}}'
_DAY_FILE = re.compile(r".+\.D\.(\d{4})\.(\d{3})")

Day = tuple[int, int]  # year, day of the year


@dataclass(slots=True)
class _Channel:
    """What waits of a channel, and what is archived of it."""

    waiting: list[Segment] = field(default_factory=list)  # each continues the one before
    count: int = 0  # samples in them
    pack_at: int = PACK_AFTER  # samples
    spans: list[tuple[int, int]] = field(default_factory=list)  # start, end (ns); ascending


class Archive:
    """Takes packets of any stations, in any order.

    counters: `records`, `bytes`, `repeats` (packets that were there), `dropped` (packets, or
    batches of records beyond the limits), `errors`, `removed` (files)
    """

    def __init__(self, root: Path, max_mb: int, max_days: int, now_ns: Callable[[], int]) -> None:
        """Raises OSError where the folder cannot be made."""
        self.root = root
        self._now_ns = now_ns
        self.counters: Counter[str] = Counter()
        self._trouble = ""
        self._max_bytes, self._max_days = max_mb << 20, max_days
        self._channels: dict[str, _Channel] = {}
        root.mkdir(parents=True, exist_ok=True)
        self._files: dict[Path, int] = {
            path: path.stat().st_size
            for path in root.glob("*/*/*/*.D/*")
            if _DAY_FILE.fullmatch(path.name)
        }
        self._queue: Queue[Segment | None] = Queue(QUEUE)
        self._thread = threading.Thread(target=self._work, name="archive", daemon=True)

    @property
    def problems(self) -> list[str]:
        """What is wrong with it now, a line each."""
        return [f"archive: {self._trouble}"] if self._trouble else []

    def catch_up(self, segments: Iterable[Segment]) -> None:
        """Archive what came before the start and is newer than the archive. Before `start`."""
        names = {path.name.split(".D.")[0] for path in self._files}
        ends = {name: self._look_at_the_end_of(name) for name in names}
        for segment in segments:
            end_ns = ends.get(segment.channel, 0)
            if segment.end_ns > end_ns:
                skipped = max(0, ns_to_samples(end_ns - segment.start_ns, segment.rate))
                self._take(segment.cut(skipped, len(segment.samples)))

    def start(self) -> None:
        self._thread.start()

    def put(self, segment: Segment) -> None:
        """Archive a packet, some time. Never blocks."""
        try:
            self._queue.put_nowait(segment)
        except Full:
            self.counters["dropped"] += 1

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, short records included."""
        if self._thread.ident is None:
            return
        try:
            self._queue.put(None, timeout=timeout_s)
        except Full:
            return
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (segment := self._queue.get()) is not None:
            self._take(segment)
        for name, channel in self._channels.items():
            self._pack(name, channel, everything=True)

    def _take(self, segment: Segment) -> None:
        """A packet, cut at midnight, each part of it where it continues what waits."""
        if not len(segment.samples):
            return
        channel = self._channels.setdefault(segment.channel, _Channel())
        if _covered(channel.spans, segment):
            self.counters["repeats"] += 1
            return
        for part in _by_day(segment):
            if channel.waiting and not _continues(channel, part):
                self._pack(segment.channel, channel, everything=True)
            channel.waiting.append(part)
            channel.count += len(part.samples)
            _cover(channel.spans, part)
        if channel.count >= channel.pack_at:
            self._pack(segment.channel, channel)

    def _pack(self, name: str, channel: _Channel, everything: bool = False) -> None:
        """Write the records that what waits has filled, or all of it."""
        if not channel.waiting:
            return
        first = channel.waiting[0]
        samples = np.concatenate([part.samples for part in channel.waiting])
        try:
            records = encode(Segment(name, first.start_ns, first.rate, samples, first.flags))
        except (MiniSEEDError, ValueError) as error:
            self._refuse(f"{name}: {' '.join(str(error).split())}")
            channel.waiting, channel.count, channel.pack_at = [], 0, PACK_AFTER
            return
        kept = 0 if everything else MS3Record.parse(records.pop()).samplecnt
        if records:
            self._append(day_file(self.root, name, first.start_ns), b"".join(records))
        channel.waiting = _newest(channel.waiting, kept)  # at their own times: drift shows
        channel.count, channel.pack_at = kept, kept + PACK_AFTER

    def _append(self, path: Path, content: bytes) -> None:
        """At the end of a file: all of it or nothing."""
        if not self._make_room(path, len(content)):
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            size = path.stat().st_size // RECORD * RECORD  # the rest was torn when the power went
            with path.open("r+b") as file:
                try:
                    file.truncate(size)
                    file.seek(size)
                    file.write(content)
                    file.flush()
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            self._refuse(f"{path}: {error.strerror}")
            return
        self._trouble = ""
        self._files[path] = size + len(content)
        self.counters["records"] += len(content) // RECORD
        self.counters["bytes"] += len(content)

    def _refuse(self, trouble: str) -> None:
        self.counters["errors"] += 1
        self._trouble = trouble

    def _make_room(self, path: Path, count: int) -> bool:
        """Remove the oldest days until there is room. False where there is none to be had."""
        # By the data, but not by data from the future: a clock gone wrong must not empty it.
        newest = min(max(map(_day, [path, *self._files])), _day_of(self._now_ns()))
        earliest = _days_before(newest, self._max_days)
        total = sum(self._files.values())
        for old in sorted(self._files, key=_day):
            if _day(old) >= newest or (_day(old) > earliest and total + count <= self._max_bytes):
                break
            total -= self._files.pop(old)
            self.counters["removed"] += 1
            try:
                old.unlink(missing_ok=True)
            except OSError as error:
                self._refuse(f"{old}: {error.strerror}")
        if total + count > self._max_bytes:
            self._trouble = f"max_mb: {self._max_bytes >> 20} is too little for a day"
        elif _day(path) > earliest:
            return True
        self.counters["dropped"] += 1
        return False

    def _look_at_the_end_of(self, name: str) -> int:
        """Until when (ns) there is something of a channel. What is no record at the end of its
        newest file goes; what the last ones cover is not archived again."""
        channel = self._channels.setdefault(name, _Channel())
        mine = [path for path in self._files if path.name.startswith(f"{name}.D.")]
        for path in sorted(mine, key=_day, reverse=True):
            count = self._files[path] // RECORD
            while count:
                first = max(0, count - TAIL)
                records = _read_records(path, first, count)
                while records and not _spans_of(records[-1:], name):
                    records.pop()
                count = first + len(records)
                if records:
                    break
            if RECORD * count != self._files[path]:
                os.truncate(path, RECORD * count)
                self._files[path] = RECORD * count
            if count:
                channel.spans = _spans_of(records, name)
                return max(end_ns for _, end_ns in channel.spans)
        return 0


def encode(segment: Segment) -> list[bytes]:
    """A segment as miniSEED 2 records of 512 bytes, Steim-2, or plain where that cannot hold it.

    Raises MiniSEEDError and ValueError for what miniSEED cannot say.
    """
    try:
        return _encode(segment, DataEncoding.STEIM2)
    except MiniSEEDError:  # differences of 30 bits and more
        return _encode(segment, DataEncoding.INT32)


def _encode(segment: Segment, encoding: int) -> list[bytes]:
    record = MS3Record(reclen=RECORD, encoding=encoding)
    record.sourceid = nslc2sourceid(*segment.channel.split("."))
    record.formatversion = 2
    record.pubversion = 2  # quality D
    record.starttime = segment.start_ns
    record.samprate = float(segment.rate)
    flags = segment.flags
    record.flags = (
        (_CALIBRATION if flags & Flag.CALIBRATION else 0)
        | (_TIME_QUESTIONABLE if flags & Flag.TIME_QUESTIONABLE else 0)
        | (0 if flags & Flag.CLOCK_UNLOCKED else _CLOCK_LOCKED)
    )
    if flags & Flag.CLIPPED:
        record.extra = _CLIPPED
    return list(record.generate(np.ascontiguousarray(segment.samples), "i"))


def day_file(root: Path, channel: str, time_ns: int) -> Path:
    """Where the samples of a channel ("NET.STA.LOC.CHA") at a time belong."""
    network, station, _, code = channel.split(".")
    year, day = _day_of(time_ns)
    name = f"{channel}.D.{year:04}.{day:03}"
    return root / f"{year:04}" / network / station / f"{code}.D" / name


def _day_of(time_ns: int) -> Day:
    date = datetime.fromtimestamp(time_ns // NS, UTC).timetuple()
    return date.tm_year, date.tm_yday


def _day(path: Path) -> Day:
    match = _DAY_FILE.fullmatch(path.name)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _days_before(day: Day, count: int) -> Day:
    """The day so many days before."""
    begin = datetime(day[0], 1, 1, tzinfo=UTC).timestamp()
    return _day_of((int(begin) + 86_400 * (day[1] - 1 - count)) * NS)


def _by_day(segment: Segment) -> list[Segment]:
    parts = []
    while len(segment.samples):
        midnight_ns = (segment.start_ns // DAY_NS + 1) * DAY_NS
        # Rounded up: a sample at midnight belongs to the next day.
        count = -int((segment.start_ns - midnight_ns) * segment.rate // NS)
        parts.append(segment.cut(0, count))
        segment = segment.cut(min(count, len(segment.samples)), len(segment.samples))
    return parts


def _continues(channel: _Channel, part: Segment) -> bool:
    first = channel.waiting[0]
    return (
        part.rate == first.rate
        and part.flags == first.flags
        and abs(part.start_ns - first.time_ns(channel.count)) * part.rate * 2 <= NS
        and part.start_ns // DAY_NS == first.start_ns // DAY_NS
    )


def _newest(parts: list[Segment], count: int) -> list[Segment]:
    """The last `count` samples."""
    newest: list[Segment] = []
    for part in reversed(parts):
        if count <= 0:
            break
        newest.insert(0, part.cut(max(0, len(part.samples) - count), len(part.samples)))
        count -= len(part.samples)
    return newest


def _covered(spans: list[tuple[int, int]], segment: Segment) -> bool:
    half_ns = int(NS / segment.rate / 2)
    return any(
        begin - half_ns <= segment.start_ns and segment.end_ns <= end + half_ns
        for begin, end in reversed(spans)
    )


def _cover(spans: list[tuple[int, int]], part: Segment) -> None:
    """Add a part to the spans, joined to the one that it continues."""
    half_ns = int(NS / part.rate / 2)
    for i in range(len(spans) - 1, -1, -1):
        if abs(spans[i][1] - part.start_ns) <= half_ns:
            spans[i] = (spans[i][0], part.end_ns)
            return
    insort(spans, (part.start_ns, part.end_ns))
    del spans[:-SPANS]


def _read_records(path: Path, first: int, last: int) -> list[bytes]:
    with path.open("rb") as file:
        file.seek(RECORD * first)
        return [file.read(RECORD) for _ in range(first, last)]


def _spans_of(records: list[bytes], name: str) -> list[tuple[int, int]]:
    """Start and end (ns) of what records of a channel cover; damaged ones cover nothing."""
    spans: list[tuple[int, int]] = []
    for raw in records:
        try:
            found = read_record(raw)
        except RecordError:
            continue
        if found is not None and found[0].channel == name:
            header, samples = found
            _cover(spans, Segment(name, header.start_ns, header.rate, samples))
    return spans
