"""miniSEED 2 and 3 from files, a folder of them, or an SDS root, replayed as live packets."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from pymseed import NSTERROR, MiniSEEDError, MS3Record, sourceid2nslc

from box.clock import ReplayClock
from box.sources.live import Counters, Take
from box.sources.replay import in_time_order, replay, within
from ringbuffer.segment import Flag, Segment

# Where a record may begin: fixed header of version 3, or sequence number and quality of 2.
_HEADER = re.compile(rb"MS\x03|[0-9 \0]{6}[DRQM][ \0]")
MAX_RATE = 10_000  # Hz; more is a damaged header
_CALIBRATION, _TIME_QUESTIONABLE, _CLOCK_LOCKED = 1, 2, 4  # record flags, miniSEED 3
_DOUBTFUL_QUALITY = 50  # percent; 0 is what writers leave who know nothing of it


class _ExtraTime(msgspec.Struct, rename="pascal"):
    quality: float = 0


class _ExtraFlags(msgspec.Struct, rename="pascal"):
    amplifier_saturation: bool = False
    digitizer_clipping: bool = False


class _ExtraFdsn(msgspec.Struct, rename="pascal"):
    time: _ExtraTime = msgspec.field(default_factory=_ExtraTime)
    flags: _ExtraFlags = msgspec.field(default_factory=_ExtraFlags)


class _Extra(msgspec.Struct):
    """What we read of the extra headers that the FDSN defines for miniSEED 3."""

    fdsn: _ExtraFdsn = msgspec.field(name="FDSN", default_factory=_ExtraFdsn)


_decode_extra = msgspec.json.Decoder(_Extra).decode


class SourceError(Exception):
    """A source without a single usable record; the message is one line or several, each clear."""


class _Place(NamedTuple):
    """Where a record is, and what its header says. Sorts by time."""

    start_ns: int
    path: Path
    offset: int
    length: int
    rate: Fraction
    flags: Flag
    locked: bool


class MiniSeedSource:
    """Replays miniSEED in one-second packets, in time order across channels.

    All headers are read at once (about 260 bytes of memory per record), samples as their time
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
        async for segment in self.segments():
            self.counters.frames += 1
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
                self._complain(path, f"byte {offset}: {_reason(error)}")
                header = _HEADER.search(content, offset + 1)
                offset = header.start() if header else len(content)

    def _note(self, path: Path, offset: int, record: MS3Record) -> None:
        if not record.samplecnt or not record.samprate_raw:
            return
        try:
            channel = ".".join(sourceid2nslc(record.sourceid))
        except ValueError:
            self._complain(path, f"byte {offset}: {record.sourceid!r} is not an FDSN source id")
            return
        if not 1 / MAX_RATE < abs(record.samprate_raw) <= MAX_RATE or record.starttime == NSTERROR:
            self._complain(path, f"byte {offset}: {channel}: impossible sample rate or time")
            return
        place = _Place(
            record.starttime,
            path,
            offset,
            record.reclen,
            exact_rate(record.samprate_raw),
            _flags(record.flags, record.extra),
            bool(record.flags & _CLOCK_LOCKED),
        )
        self._places.setdefault(channel, []).append(place)

    def _segments(self, channel: str) -> Iterator[Segment]:
        return self._segments_at(channel, self._places[channel])

    def _segments_at(self, channel: str, places: list[_Place]) -> Iterator[Segment]:
        knows_locks = any(place.locked for place in self._places[channel])
        for place in places:
            samples = self._samples(channel, place)
            if samples is not None:
                unlocked = knows_locks and not place.locked
                flags = place.flags | (Flag.CLOCK_UNLOCKED if unlocked else Flag.NONE)
                yield Segment(channel, place.start_ns, place.rate, samples, flags)

    def _samples(self, channel: str, place: _Place) -> NDArray[np.int32] | None:
        """Decode a record; None, and a problem, where that cannot be done."""
        try:
            with place.path.open("rb") as file:
                file.seek(place.offset)
                raw = file.read(place.length)
            record = next(MS3Record.from_buffer(raw, unpack_data=True))
            samples = np.array(record.np_datasamples)
        except (OSError, MiniSEEDError, ValueError) as error:
            self._complain(place.path, f"byte {place.offset}: {channel}: {_reason(error)}")
            return None
        if samples.dtype == np.int32:
            return samples
        counts = _whole(samples)
        if counts is None:
            problem = f"{samples.dtype} samples that are not whole counts: rejected"
            self._complain(place.path, f"byte {place.offset}: {channel}: {problem}")
        return counts


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    )


def _reason(error: Exception) -> str:
    """What libmseed says, on one line."""
    messages = getattr(error, "error_messages", None) or [str(error)]
    return " ".join(str(messages[-1]).split()).removeprefix("Error: ")


def exact_rate(raw: float) -> Fraction:
    """Samples per second, or, where negative, seconds per sample -> the rate meant by it.

    Version 2 keeps rates as 32-bit floats: the simplest decimal or ratio within their precision.
    """
    for limit in (1, 10, 1000, 1_000_000):
        simple = Fraction(abs(raw)).limit_denominator(limit)
        if simple and abs(simple - Fraction(abs(raw))) <= Fraction(abs(raw)) / 10_000_000:
            return simple if raw > 0 else 1 / simple
    return Fraction(raw) if raw > 0 else -1 / Fraction(raw)


def _flags(record_flags: int, extra_headers: str) -> Flag:
    flags = Flag.NONE
    if record_flags & _CALIBRATION:
        flags |= Flag.CALIBRATION
    if record_flags & _TIME_QUESTIONABLE:
        flags |= Flag.TIME_QUESTIONABLE
    if not extra_headers:
        return flags
    try:
        extra = _decode_extra(extra_headers)
    except msgspec.MsgspecError:  # headers that are not what FDSN defines say nothing
        return flags
    if 0 < extra.fdsn.time.quality < _DOUBTFUL_QUALITY:
        flags |= Flag.TIME_QUESTIONABLE
    if extra.fdsn.flags.amplifier_saturation or extra.fdsn.flags.digitizer_clipping:
        flags |= Flag.CLIPPED
    return flags


def _whole(samples: NDArray[Any]) -> NDArray[np.int32] | None:
    """Floats that are whole numbers -> int32, None where one is not, or is too large."""
    if samples.dtype.kind != "f" or not np.all(np.abs(samples) < 2**31):
        return None
    counts = samples.astype(np.int32)
    return counts if np.array_equal(counts, samples) else None
