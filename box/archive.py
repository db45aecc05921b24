"""An SDS archive of miniSEED, written by the packer's thread (`box/packer.py`).

    ROOT/YEAR/NET/STA/CHA.D/NET.STA.LOC.CHA.D.YEAR.DAY      (Steim-2, records of 512 bytes)

- Nothing is synced: what a kill or a power cut takes is taken again from the ring on disk at the
  next start. A file that ends in a torn record is cut back to the last whole one before anything
  is appended.
- **Limits.** Beyond `max_mb` or `max_days` the oldest day goes (`removed`); the newest day never
  does: where it alone is too much, what comes is dropped (`dropped`, batches of records).
- **Disk full**, or any other refusal: the records at hand are dropped (`errors`), a file is left
  with whole records, and the next ones are tried again.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from box.sources.record import RecordError, read_record
from ringbuffer.records import RECORD, Finished
from ringbuffer.segment import NS, samples_to_ns

TAIL = 64  # records at the end of a channel that are looked at when it is opened
_DAY_FILE = re.compile(r".+\.D\.(\d{4})\.(\d{3})")

Day = tuple[int, int]  # year, day of the year


class Archive:
    """Keeps finished records of any channels, in any order.

    counters: `records`, `bytes`, `dropped` (batches of records beyond the limits), `errors`,
    `removed` (files)
    """

    def __init__(self, root: Path, max_mb: int, max_days: int, now_ns: Callable[[], int]) -> None:
        """Raises OSError where the folder cannot be made."""
        self.root = root
        self._now_ns = now_ns
        self.counters: Counter[str] = Counter()
        self._trouble = ""
        self._max_bytes, self._max_days = max_mb << 20, max_days
        root.mkdir(parents=True, exist_ok=True)
        self._files: dict[Path, int] = {
            path: path.stat().st_size
            for path in root.glob("*/*/*/*.D/*")
            if _DAY_FILE.fullmatch(path.name)
        }

    @property
    def problems(self) -> list[str]:
        """What is wrong with it now, a line each."""
        return [f"archive: {self._trouble}"] if self._trouble else []

    def tails(self) -> dict[str, list[Finished]]:
        """The last records of each channel, in the order in which they lie in its newest file.

        What is no record at the end of a file goes.
        """
        names = {path.name.split(".D.")[0] for path in self._files}
        found = {}
        for name in names:
            try:
                found[name] = self._look_at_the_end_of(name)
            except OSError as error:
                self.refuse(f"{error.filename or name}: {error.strerror}")
        return {name: records for name, records in found.items() if records}

    def last_of_day(self, channel: str, time_ns: int, count: int) -> list[bytes]:
        """The last records of the file to which a time belongs; none where there is no file.

        Raises OSError.
        """
        path = day_file(self.root, channel, time_ns)
        whole = self._files.get(path, 0) // RECORD
        return _read_records(path, max(0, whole - count), whole) if whole else []

    def append(self, channel: str, records: Sequence[Finished]) -> None:
        """At the end of a file: all of it or nothing."""
        path = day_file(self.root, channel, records[0].start_ns)
        content = b"".join(record.raw for record in records)
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
            self.refuse(f"{path}: {error.strerror}")
            return
        self._trouble = ""
        self._files[path] = size + len(content)
        self.counters["records"] += len(records)
        self.counters["bytes"] += len(content)

    def refuse(self, trouble: str) -> None:
        """Something cannot be kept."""
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
                self.refuse(f"{old}: {error.strerror}")
        if total + count > self._max_bytes:
            self._trouble = f"max_mb: {self._max_bytes >> 20} is too little for a day"
        elif _day(path) > earliest:
            return True
        self.counters["dropped"] += 1
        return False

    def _look_at_the_end_of(self, name: str) -> list[Finished]:
        """The last records of a channel. What is no record at the end of its newest file goes."""
        mine = [path for path in self._files if path.name.startswith(f"{name}.D.")]
        for path in sorted(mine, key=_day, reverse=True):
            count = self._files[path] // RECORD
            records: list[bytes] = []
            while count:
                first = max(0, count - TAIL)
                records = _read_records(path, first, count)
                while records and not _finished(records[-1:], name):
                    records.pop()
                count = first + len(records)
                if records:
                    break
            if RECORD * count != self._files[path]:
                os.truncate(path, RECORD * count)
                self._files[path] = RECORD * count
            if count:
                return _finished(records, name)
        return []


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


def _read_records(path: Path, first: int, last: int) -> list[bytes]:
    with path.open("rb") as file:
        file.seek(RECORD * first)
        return [file.read(RECORD) for _ in range(first, last)]


def _finished(raws: list[bytes], name: str) -> list[Finished]:
    """Those that are records of a channel; damaged ones are none."""
    records = []
    for raw in raws:
        try:
            found = read_record(raw)
        except RecordError:
            continue
        if found is not None and found[0].channel == name:
            header, samples = found
            end_ns = header.start_ns + samples_to_ns(len(samples), header.rate)
            records.append(Finished(raw, header.start_ns, end_ns))
    return records
