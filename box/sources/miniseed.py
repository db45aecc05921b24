"""miniSEED 2 and 3 from files, a folder of them, or an SDS root, replayed as live packets."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymseed import MiniSEEDError, MS3Record

from box.clock import ReplayClock
from box.sources.holes import Holes
from box.sources.live import Counters, Take, count_holes
from box.sources.record import Header, RecordError, read_header, read_samples, reason
from box.sources.replay import in_time_order, replay, within
from ringbuffer.segment import Segment

# Where a record may begin: fixed header of version 3, or sequence number and quality of 2.
_HEADER = re.compile(rb"MS\x03|[0-9 \0]{6}[DRQM][ \0]")


class SourceError(Exception):
    """A source without a single usable record; the message is one line or several, each clear."""


class _Place(NamedTuple):
    """Where a record is, and what its header says. Sorts by time."""

    start_ns: int
    path: Path
    offset: int
    length: int
    header: Header


class MiniSeedSource:
    """Replays miniSEED in one-second packets, in time order across channels.

    All headers are read at once (about 340 bytes of memory per record), samples as their time
    comes. Records may be in any order, across files too.

    - A file that cannot be read, or not to its end, is named in `problems`, one line each with
      the first byte in question; whatever records are found behind that byte are used.
    - Samples are counts. Records encoded as floats are taken only where all of them are whole
      numbers, and are a problem otherwise: to scale them would be to invent counts. Records
      without samples or rate (logs) are passed over.
    - Flags: calibration, questionable time (or a timing quality of 1 to 49 %), clipping by
      amplifier or digitizer. A clock counts as unlocked only on a channel of which some record
      says that it was locked, since many archives never set that bit.

    path: a file, or a folder that is searched through (hidden files are not looked at)
    Raises SourceError where there is nothing to replay.
    """

    def __init__(self, path: Path, clock: ReplayClock) -> None:
        self.name = f"miniseed {path}"
        self.counters = Counters()
        self._clock = clock
        self._held: dict[str, int] = {}
        self._first_problem: dict[Path, str] = {}
        self._n_problems: Counter[Path] = Counter()
        self._places: dict[str, list[_Place]] = {}
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder")
        for file in _files(path):
            self._index(file)
        if not self._places:
            raise SourceError("\n".join(self.problems) or f"{path}: no miniSEED records in it")
        for places in self._places.values():
            places.sort()

    @property
    def channels(self) -> list[str]:
        """ "NET.STA.LOC.CHA" of all channels."""
        return sorted(self._places)

    @property
    def problems(self) -> list[str]:
        """One line per file that is not all right; complete once the replay has ended."""
        lines = []
        for path, first in self._first_problem.items():
            more = self._n_problems[path] - 1
            lines.append(f"{path}: {first}" + (f" (and {more} more)" if more else ""))
        return lines

    def packets(self) -> Iterator[Segment]:
        """One-second packets of all channels, by the time they are complete."""
        every = in_time_order(self._segments(channel) for channel in self.channels)
        return (p for p in every if p.end_ns > self._held.get(p.channel, 0))

    def skip(self, held: Mapping[str, int]) -> None:
        """Leave out what was replayed before a restart: channel -> end of what is held (ns)."""
        self._held = dict(held)

    def segments(self) -> AsyncIterator[Segment]:
        """The packets, at the pace of the clock."""
        return replay(self.packets(), self._clock)

    async def run(self, take: Take) -> None:
        """Hand every packet to `take`, at the pace of the clock."""
        holes: defaultdict[str, Holes] = defaultdict(Holes)
        async for segment in self.segments():
            self.counters.frames += 1
            count_holes(segment, holes[segment.channel], self.counters)
            take(segment)

    def read(self, channel: str, start_ns: int, end_ns: int) -> list[Segment]:
        """What there is of a channel between two times, whole samples inside them."""
        places = self._places.get(channel, [])
        # A record says in its header where it begins only; the one before may reach into the span.
        first = max(0, bisect_left(places, start_ns, key=lambda place: place.start_ns) - 1)
        last = bisect_left(places, end_ns, key=lambda place: place.start_ns)
        return within(self._segments_at(channel, places[first:last]), start_ns, end_ns)

    def _complain(self, path: Path, problem: str) -> None:
        self._first_problem.setdefault(path, problem)
        self._n_problems[path] += 1
        self.counters.bad += 1

    def _index(self, path: Path) -> None:
        try:
            content = memoryview(path.read_bytes())
        except OSError as error:
            self._complain(path, f"cannot be read: {error.strerror}")
            return
        if not content:
            self._complain(path, "is empty")
        offset = 0
        while offset < len(content):
            try:
                for record in MS3Record.from_buffer(content[offset:]):
                    self._note(path, offset, record)
                    offset += record.reclen
            except MiniSEEDError as error:
                self._complain(path, f"byte {offset}: {reason(error)}")
                header = _HEADER.search(content, offset + 1)
                offset = header.start() if header else len(content)

    def _note(self, path: Path, offset: int, record: MS3Record) -> None:
        try:
            header = read_header(record)
        except RecordError as error:
            self._complain(path, f"byte {offset}: {error}")
            return
        if header is not None:
            place = _Place(header.start_ns, path, offset, record.reclen, header)
            self._places.setdefault(header.channel, []).append(place)

    def _segments(self, channel: str) -> Iterator[Segment]:
        return self._segments_at(channel, self._places[channel])

    def _segments_at(self, channel: str, places: list[_Place]) -> Iterator[Segment]:
        knows_locks = any(place.header.locked for place in self._places[channel])
        locked_ns = None
        for place in places:
            samples = self._samples(channel, place)
            if samples is not None:
                segment = place.header.segment(samples, knows_locks, locked_ns)
                if place.header.locked:
                    locked_ns = segment.end_ns
                yield segment

    def _samples(self, channel: str, place: _Place) -> NDArray[np.int32] | None:
        """Decode a record; None, and a problem, where that cannot be done."""
        try:
            with place.path.open("rb") as file:
                file.seek(place.offset)
                raw = file.read(place.length)
            return read_samples(next(MS3Record.from_buffer(raw, unpack_data=True)))
        except (OSError, MiniSEEDError, ValueError) as error:
            self._complain(place.path, f"byte {place.offset}: {channel}: {reason(error)}")
            return None


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    )
