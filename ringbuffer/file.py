"""The ring on disk: a station's newest packets in the order in which they arrived, in one file.

**One file for all channels of a station**, since the order in which packets came, across channels,
is what a restarted box needs so as to come to the same picks, and since an SD card then has one
page in the making and not three. `ChannelRing`, in memory, is the same samples by time.

**Layout.** A page of header, then chunks of equal size, at most 1024 of them whatever the size of
the file. A chunk is a run of records; a record is a packet (or a note of the box to itself) with a
sequence number that grows by one, and a CRC-32 over all of it. Records never cross a chunk. When a
chunk is full, the one with the oldest records is written over from its beginning. Within a chunk
only growing sequence numbers count, and only from an opening of the file that is not older than
the last, so that what an earlier lap, or a power cut, left behind the newest record is no record.
Samples are kept as differences, in 1, 2 or 4 bytes, whichever holds them all. What is known of the
clock takes 12 bytes in the records of sources that know it. Files of the first version, which had
no place for that, are read and gone on with.

**What survives.** Records are written into a shared memory map: `kill -9` loses nothing, and a
record torn by it fails its CRC. A power cut loses what came since the last `sync`, in any pattern
of pages: what is left of it are whole records and nothing else. What is damaged in the middle
costs the records that it touches. Only where the header itself is unreadable is the file set aside.

**Opening** reads the first record of each chunk and walks through one chunk: the time does not
depend on the size of the file. It reads with `pread`, so that a bad sector is an error and not a
SIGBUS; the blocks are allocated beforehand, so that a full disk is none either.

**What is written** per day is what is appended, and at each `sync` the last page once more: see
`bench/ring.py`.
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ringbuffer.disk import allocate, lock, sync_folder
from ringbuffer.segment import NOTHING_KNOWN, NS, ClockState, Flag, Segment

PAGE = 4096
CHUNKS = 1024  # at most: opening looks at each
SMALLEST_CHUNK = 64 << 10
FEWEST_CHUNKS = 8
SMALLEST = SMALLEST_CHUNK * FEWEST_CHUNKS  # bytes
MOST_SAMPLES = 8000  # in one record, so that any record fits into any chunk
MOST_NOTE = 32_000  # bytes

_FILE_MAGIC = b"diting ring 2\n\0\0"
_FILE_MAGIC_1 = b"diting ring 1\n\0\0"  # its records are ours without a clock
_FILE = struct.Struct("<16sIII")  # magic, bytes per chunk, chunks, CRC of these
_MAGIC = b"\xd1Rec"
# magic, CRC of what follows, length in units of 8 bytes, number of samples (of bytes in a note),
# opening, sequence number, arrival (ns), start (ns), rate (2), first sample, bytes per difference
# (0: a note), flags, length of the channel's name, bytes between the name and the differences
_RECORD = struct.Struct("<4sIHHIqqqqqiBBBB")
_CLOCK = struct.Struct("<qI")  # time of the last lock (0: none known of), error (µs)
_NO_ERROR = 0xFFFFFFFF  # nobody estimates it
_UNCHECKED = 8  # bytes at the beginning of a record that its CRC does not cover
_UNIT = 8


class RingError(OSError):
    """The ring cannot be used: one line with the file and the reason."""


class Record(NamedTuple):
    """What was appended, as it was."""

    seq: int
    arrived_ns: int
    segment: Segment | None  # None: it is a note
    note: bytes


class _Found(NamedTuple):
    """A record that is whole, not yet unpacked."""

    opening: int
    seq: int
    at: int  # its place in the chunk
    end: int  # of the record in the chunk


_NOTHING = _Found(0, 0, 0, 0)


class RingFile:
    """Appends in O(1), reads by sequence number. Calls come from one thread, but for `sync`.

    set_aside: where the former file went, if it could not be used
    damaged: places at which opening found something else than a whole record
    newest: sequence number of the newest record, 0 before the first
    appended_bytes: since opening
    """

    def __init__(self, path: Path, size: int, after: int = 0) -> None:
        """Open or create the file, for this process alone.

        size: bytes, for a new file; an existing one keeps the size that it has. after: the next
        sequence number will be greater than this, whatever became of the file. Raises RingError.
        """
        self.path = path
        self.set_aside: Path | None = None
        self.damaged = 0
        self.newest = 0
        self.appended_bytes = 0
        try:
            self._fd, self._chunk, count = self._open(size)
            self.size = PAGE + self._chunk * count
            self._map = self._open_map()
        except OSError as error:
            raise RingError(f"{path}: {error.strerror or error}") from None
        self._firsts = [self._first_seq(slot) for slot in range(count)]
        self._find_end()
        self.newest = max(self.newest, after)

    def _open(self, size: int) -> tuple[int, int, int]:
        """File descriptor, bytes per chunk, number of chunks."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return self._create(size)
        lock(fd)
        raw = os.pread(fd, _FILE.size, 0)
        if len(raw) == _FILE.size and crc32(raw[:-4]) == struct.unpack("<I", raw[-4:])[0]:
            magic, chunk, count, _ = _FILE.unpack(raw)
            if magic in (_FILE_MAGIC, _FILE_MAGIC_1):
                if magic != _FILE_MAGIC:
                    self._write_head(fd, chunk, count)
                return fd, chunk, count
        self.set_aside = self._move_aside()
        os.close(fd)
        return self._create(size)

    def _open_map(self) -> mmap.mmap:
        try:
            if os.fstat(self._fd).st_size < self.size:
                self.damaged += 1  # truncated: what is left of it is as good as before
                allocate(self._fd, self.size)
            return mmap.mmap(self._fd, self.size)
        except OSError:
            os.close(self._fd)  # and with it the lock
            raise

    def _create(self, size: int) -> tuple[int, int, int]:
        """A file comes into being whole, or not at all."""
        chunk = SMALLEST_CHUNK
        while size // chunk > CHUNKS:
            chunk *= 2
        count = max(FEWEST_CHUNKS, size // chunk)
        draft = self.path.with_name(self.path.name + ".new")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            lock(fd)
            allocate(fd, PAGE + chunk * count)
            self._write_head(fd, chunk, count)
            draft.rename(self.path)
            sync_folder(self.path.parent)
        except OSError:
            os.close(fd)
            draft.unlink(missing_ok=True)
            raise
        return fd, chunk, count

    @staticmethod
    def _write_head(fd: int, chunk: int, count: int) -> None:
        head = _FILE.pack(_FILE_MAGIC, chunk, count, 0)[:-4]
        os.pwrite(fd, head + struct.pack("<I", crc32(head)), 0)
        os.fsync(fd)

    def _move_aside(self) -> Path:
        """The last such file is kept, and only that: a card has no room for many."""
        former = sorted(self.path.parent.glob(f"{self.path.name}.corrupt-*"))
        number = max((int(p.suffix[9:]) for p in former if p.suffix[9:].isdigit()), default=0)
        target = self.path.with_name(f"{self.path.name}.corrupt-{number + 1}")
        self.path.rename(target)
        for old in former:
            old.unlink()
        return target

    def _read(self, slot: int, count: int) -> bytes:
        """The first bytes of a chunk; none where the disk refuses."""
        try:
            return os.pread(self._fd, count, PAGE + slot * self._chunk)
        except OSError:
            return b""

    def _first_seq(self, slot: int) -> int:
        """Sequence number of the first whole record in a chunk, 0 where there is none."""
        begin = self._read(slot, PAGE)
        found = _whole(begin, 0, _NOTHING)
        if found is None and (any(begin) or any(self._read(slot, 2 * PAGE))):
            # Damaged, or longer than a page. What was never written to is not searched through.
            found = next(_walk(self._read(slot, self._chunk)), None)
            self.damaged += found is None or found.at > 0
        return 0 if found is None else found.seq

    def _find_end(self) -> None:
        """Where the newest record ends: there it goes on."""
        self._slot = max(range(len(self._firsts)), key=self._firsts.__getitem__)
        content = self._read(self._slot, self._chunk)
        last = _NOTHING
        for found in _walk(content, last._replace(seq=self._firsts[self._slot] - 1)):
            last = found
        self._at, self.newest, self._opening = last.end, last.seq, last.opening + 1
        if content[last.end : last.end + 4] == _MAGIC:  # of an earlier lap, or torn
            _, _, _, _, opening, seq, *_ = _RECORD.unpack(content[last.end :][: _RECORD.size])
            self.damaged += opening == last.opening and seq == last.seq + 1

    @property
    def oldest(self) -> int:
        """Sequence number of the oldest record, 0 where there is none."""
        return min((first for first in self._firsts if first), default=0)

    def append(self, segment: Segment, arrived_ns: int) -> int:
        """Keep a packet of at most `MOST_SAMPLES` samples. Returns its sequence number.

        Raises RingError where the file was shortened by someone else, and ValueError for what
        cannot be kept.
        """
        count = len(segment.samples)
        if not 0 < count <= MOST_SAMPLES:
            raise ValueError(f"{segment.channel}: {count} samples in one packet")
        width, steps = _differences(segment.samples)
        name = segment.channel.encode()
        numbers = (segment.start_ns, segment.rate.numerator, segment.rate.denominator)
        try:
            clock = _pack_clock(segment.clock)
        except struct.error as error:
            raise ValueError(f"{segment.channel}: cannot be kept: clock: {error}") from None
        kind = (int(segment.samples[0]), width, int(segment.flags), len(name), len(clock))
        return self._append(count, arrived_ns, (*numbers, *kind), name + clock + steps)

    def append_note(self, note: bytes, arrived_ns: int) -> int:
        """Keep something between the packets. As `append`; at most `MOST_NOTE` bytes."""
        if len(note) > MOST_NOTE:
            raise ValueError(f"a note of {len(note)} bytes")
        return self._append(len(note), arrived_ns, (0, 1, 1, 0, 0, 0, 0, 0), note)

    def _append(self, count: int, arrived_ns: int, fields: tuple[int, ...], body: bytes) -> int:
        if os.fstat(self._fd).st_size < self.size:  # to touch what is missing would be SIGBUS
            raise RingError(f"{self.path}: was truncated")
        units = -(-(_RECORD.size + len(body)) // _UNIT)
        length = units * _UNIT
        seq = self.newest + 1
        try:
            head = _RECORD.pack(_MAGIC, 0, units, count, self._opening, seq, arrived_ns, *fields)
        except struct.error as error:
            raise ValueError(f"cannot be kept: {error}") from None
        record = head[_UNCHECKED:] + body + bytes(length - _RECORD.size - len(body))
        if self._at + length > self._chunk or not self._firsts[self._slot]:
            self._begin_chunk(seq)
        at = PAGE + self._slot * self._chunk + self._at
        self._map[at : at + length] = _MAGIC + crc32(record).to_bytes(4, "little") + record
        self._at += length
        self.newest = seq
        self.appended_bytes += length
        return seq

    def _begin_chunk(self, seq: int) -> None:
        if self._firsts[self._slot]:
            self._slot = (self._slot + 1) % len(self._firsts)
        self._at = 0
        self._firsts[self._slot] = seq
        # Read the next one in beforehand: to write into a page that is on the disk is to read it.
        following = (self._slot + 1) % len(self._firsts)
        self._map.madvise(mmap.MADV_WILLNEED, PAGE + following * self._chunk, self._chunk)

    def records(self, after: int = 0) -> Iterator[Record]:
        """What is there behind a sequence number, in order. What is damaged is passed over; the
        sequence numbers then tell that something is missing."""
        yield from (_unpack(content, at) for content, at in self._found(after))

    def between(self, start_ns: int, end_ns: int, ahead_ns: int = 60 * NS) -> Iterator[Record]:
        """Packets with samples in a span of time, in order of arrival; from any thread.

        A packet is passed over unread where it arrived more than `ahead_ns` before the span began:
        no clock is that far ahead.
        """
        order = sorted((first, slot) for slot, first in enumerate(self._firsts) if first)
        after = order[-1][0] - 1 if order else 0
        for (first, _), (_, following) in pairwise(order):
            if self._first_arrival(following) >= start_ns - ahead_ns:
                after = first - 1
                break
        for content, at in self._found(after):
            if _overlaps(content, at, start_ns, end_ns):
                yield _unpack(content, at)

    def _first_arrival(self, slot: int) -> int:
        """When the first record of a chunk arrived (ns); far in the future where it is damaged."""
        begin = self._read(slot, _RECORD.size)
        if begin[:4] != _MAGIC or len(begin) < _RECORD.size:
            return 1 << 63
        return int(_RECORD.unpack(begin)[6])

    def _found(self, after: int) -> Iterator[tuple[bytes, int]]:
        """Content of a chunk and the place in it, of each whole record behind `after`, in order."""
        order = sorted((first, slot) for slot, first in enumerate(self._firsts) if first)
        begin = bisect_right([first for first, _ in order], after + 1) - 1
        limits = [first for first, _ in order[1:]] + [1 << 63]
        for (first, slot), limit in list(zip(order, limits, strict=False))[max(0, begin) :]:
            content = self._read(slot, self._chunk)
            if self._firsts[slot] != first:  # written over since
                continue
            for found in _walk(content, _NOTHING._replace(seq=first - 1)):
                if after < found.seq < limit:
                    after = found.seq
                    yield content, found.at

    def sync(self) -> None:
        """Onto the disk with it. May take a second on an SD card: call it from a thread."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)


def _walk(content: bytes, last: _Found = _NOTHING) -> Iterator[_Found]:
    """Whole records that come behind `last`, in order; searches on behind damage."""
    at = 0
    while 0 <= at <= len(content) - _RECORD.size:
        found = _whole(content, at, last)
        if found is None:
            at = content.find(_MAGIC, at + 1)
            continue
        yield found
        last, at = found, found.end


def _whole(content: bytes, at: int, last: _Found) -> _Found | None:
    """The record at a place, None where there is none, or it is older than `last`, or damaged."""
    if content[at : at + 4] != _MAGIC or at + _RECORD.size > len(content):
        return None
    crc, units, _, opening, seq, *_ = _RECORD.unpack_from(content, at)[1:]
    end = at + units * _UNIT
    if seq <= last.seq or opening < last.opening or units * _UNIT < _RECORD.size:
        return None
    if end > len(content) or crc32(memoryview(content)[at + _UNCHECKED : end]) != crc:
        return None
    return _Found(opening, seq, at, end)


def _overlaps(content: bytes, at: int, start_ns: int, end_ns: int) -> bool:
    """Whether a record is a packet with samples in a span of time."""
    _, _, _, count, _, _, _, begin_ns, numerator, denominator, _, width, *_ = _RECORD.unpack_from(
        content, at
    )
    if not width or begin_ns >= end_ns:
        return False
    return bool(begin_ns + (count - 1) * NS * denominator // numerator >= start_ns)


def _unpack(content: bytes, at: int) -> Record:
    fields = _RECORD.unpack_from(content, at)
    _, _, _, count, _, seq, arrived_ns, start_ns, numerator, denominator, *rest = fields
    first, width, flags, name_length, clock_length = rest
    begin = at + _RECORD.size
    if not width:
        return Record(seq, arrived_ns, None, content[begin : begin + count])
    name = content[begin : begin + name_length].decode()
    begin += name_length
    clock = _unpack_clock(content[begin : begin + clock_length])
    begin += clock_length
    samples = np.empty(count, np.int32)
    samples[0] = first
    samples[1:] = np.frombuffer(content, f"<i{width}", count - 1, begin)
    samples = np.cumsum(samples, dtype=np.int32)  # wraps, as the differences did
    rate = Fraction(numerator, denominator)
    segment = Segment(name, start_ns, rate, samples, Flag(flags), clock)
    return Record(seq, arrived_ns, segment, b"")


def _pack_clock(clock: ClockState) -> bytes:
    if clock == NOTHING_KNOWN:  # of most sources
        return b""
    error_us = _NO_ERROR if clock.error_us is None else min(clock.error_us, _NO_ERROR - 1)
    return _CLOCK.pack(clock.locked_ns or 0, error_us)


def _unpack_clock(packed: bytes) -> ClockState:
    if len(packed) != _CLOCK.size:
        return NOTHING_KNOWN
    locked_ns, error_us = _CLOCK.unpack(packed)
    return ClockState(None if error_us == _NO_ERROR else error_us, locked_ns or None)


def _differences(samples: NDArray[np.int32]) -> tuple[int, bytes]:
    """Bytes per difference, and the differences, modulo 2³²."""
    steps = samples[1:] - samples[:-1]
    low, high = (int(steps.min()), int(steps.max())) if len(steps) else (0, 0)
    width = 1 if low >= -128 and high < 128 else 2 if low >= -32768 and high < 32768 else 4
    return width, steps.astype(f"<i{width}").tobytes()
