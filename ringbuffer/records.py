"""A station's finished miniSEED records in the order in which they were finished, in one file.

What a SeedLink server gives: each record has a sequence number that grows and is never another
record's, over restarts, kills and power cuts, so that a client that was away goes on with the one
behind its last.

**Layout.** A page of header, then slots of equal size: a record of 512 bytes, behind its sequence
number, the times of its samples, how far it reaches into the packets of the station's journal, and
a CRC-32 over all of it. The slot of a sequence number is the number modulo the slots, so that
appending and finding are O(1), and the oldest record is written over.

**What survives.** Slots are written by `pwrite`: `kill -9` loses none that was told of, and one
torn by it fails its CRC and was never told. Numbers are reserved by blocks, on the disk before the
first of them is used: after another boot than the one that wrote last, it goes on behind the
block, whatever a power cut has taken of it. Opening therefore reads one block and no more,
whatever the size of the file. Only where the header is unreadable is the file set aside.

Reads are `pread`, so that a bad sector is an error and not a SIGBUS, and may come from any thread
while one appends; the blocks are allocated beforehand, so that a full disk is none either.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from ringbuffer.disk import allocate, lock, sync_folder
from ringbuffer.file import PAGE, RingError

RECORD = 512  # bytes
BLOCK = 1024  # sequence numbers, at most, that are reserved at once
_FILE_MAGIC = b"diting records 1"
# magic, slots, reserved: all numbers below may be in use, the first number, the boot that wrote
_FILE = struct.Struct("<16sIQQ16sI")  # and the CRC of these
# CRC of what follows, samples used, sequence number, position in the journal, start and end (ns)
_SLOT = struct.Struct("<IIQQqq")
SLOT = _SLOT.size + RECORD
SMALLEST = PAGE + 16 * SLOT


class Finished(NamedTuple):
    """A record of 512 bytes, and what it is made of.

    start_ns, end_ns: of its samples; the end is one interval behind the last of them
    position, used: the packet of the journal that has its last sample, and how many samples of that
    packet there are up to and with it; position 0 where that is not known
    """

    raw: bytes
    start_ns: int
    end_ns: int
    position: int = 0
    used: int = 0

    @property
    def channel(self) -> str:
        """ "NET.STA.LOC.CHA", from the record's fixed header."""
        head = self.raw[:20].decode("ascii", "replace")
        parts = head[18:20], head[8:13], head[13:15], head[15:18]
        return ".".join(part.rstrip() for part in parts)


class RecordRing:
    """Appends and reads by sequence number. One thread appends.

    newest: sequence number of the newest record; before the first, the number before it
    set_aside: where the former file went, if it could not be used
    """

    def __init__(self, path: Path, size: int, first: int = 1, boot: bytes | None = None) -> None:
        """Open or create the file, for this process alone.

        size: bytes, for a new file; an existing one keeps the size that it has. first: where a new
        file begins to count, behind any that was ever used. boot: 16 bytes that differ from
        boot to boot. Raises RingError.
        """
        self.path = path
        self.set_aside: Path | None = None
        self._boot = boot or _boot_id()
        try:
            if not self._open():
                self._create(size, first)
        except OSError as error:
            raise RingError(f"{path}: {error.strerror or error}") from None

    def _open(self) -> bool:
        """False where there is none that can be used."""
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        lock(self._fd)
        head = _header(os.pread(self._fd, _FILE.size, 0))
        if head is None:
            os.close(self._fd)
            self.set_aside = self.path.with_name(self.path.name + ".corrupt")
            self.path.rename(self.set_aside)
            return False
        self._slots, self._reserved, self._first, boot = head
        self._block = _block(self._slots)
        try:
            if os.fstat(self._fd).st_size < PAGE + self._slots * SLOT:
                allocate(self._fd, PAGE + self._slots * SLOT)
            if boot != self._boot:  # what of the block was used, nobody can tell
                self.newest = self._reserved - 1
                self._reserve()
            else:
                self.newest = self._find_newest()
        except OSError:
            os.close(self._fd)
            raise
        return True

    def _create(self, size: int, first: int) -> None:
        """A file comes into being whole, or not at all."""
        self._slots = (max(size, SMALLEST) - PAGE) // SLOT
        self._block = _block(self._slots)
        self._first, self._reserved, self.newest = first, first, first - 1
        draft = self.path.with_name(self.path.name + ".new")
        self._fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            lock(self._fd)
            allocate(self._fd, PAGE + self._slots * SLOT)
            self._reserve()
            draft.rename(self.path)
            sync_folder(self.path.parent)
        except OSError:
            os.close(self._fd)
            draft.unlink(missing_ok=True)
            raise

    def _reserve(self) -> None:
        """The next block, on the disk before any of it is used."""
        reserved = self._reserved + self._block
        head = _FILE.pack(_FILE_MAGIC, self._slots, reserved, self._first, self._boot, 0)[:-4]
        os.pwrite(self._fd, head + struct.pack("<I", crc32(head)), 0)
        os.fdatasync(self._fd)
        self._reserved = reserved

    def _find_newest(self) -> int:
        """Of the block that was reserved last; before its first record, the number before."""
        before = self._reserved - self._block - 1
        found = self._slots_between(before, self._reserved - 1)
        return max((seq for seq, _ in found), default=before)

    @property
    def oldest(self) -> int:
        """No record that is still there has a smaller sequence number."""
        return max(self._first, self.newest + 1 - self._slots)

    def append(self, record: Finished) -> int:
        """Keep a record. Returns its sequence number. Raises OSError, ValueError."""
        if len(record.raw) != RECORD:
            raise ValueError(f"a record of {len(record.raw)} bytes")
        seq = self.newest + 1
        if seq >= self._reserved:
            self._reserve()
        numbers = (record.used, seq, record.position, record.start_ns, record.end_ns)
        slot = _SLOT.pack(0, *numbers)[4:] + record.raw
        slot = struct.pack("<I", crc32(slot)) + slot
        os.pwrite(self._fd, slot, PAGE + seq % self._slots * SLOT)
        self.newest = seq  # only now may somebody read it
        return seq

    def read(self, after: int, count: int) -> tuple[list[tuple[int, Finished]], int]:
        """Up to `count` places behind a sequence number: the records that are whole, with their
        numbers, and the number up to which it has looked."""
        newest = self.newest
        after = max(after, self.oldest - 1)
        until = min(after + count, newest)
        return (self._slots_between(after, until), until) if until > after else ([], after)

    def _slots_between(self, after: int, until: int) -> list[tuple[int, Finished]]:
        """Whole records with numbers behind `after`, up to and with `until`."""
        found = []
        seq = after + 1
        while seq <= until:
            place = seq % self._slots
            count = min(until + 1 - seq, self._slots - place)
            for at, content in self._contents(place, count):
                record = _unpack(content, at, seq)
                if record is not None:
                    found.append((seq, record))
                seq += 1
        return found

    def _contents(self, place: int, count: int) -> Iterator[tuple[int, bytes]]:
        """So many slots, each as its place in some bytes; of a bad sector one by one."""
        content = self._pread(place, count)
        if count == 1 or len(content) == count * SLOT:
            yield from ((at * SLOT, content) for at in range(count))
        else:
            yield from ((0, self._pread(place + at, 1)) for at in range(count))

    def _pread(self, place: int, count: int) -> bytes:
        try:
            return os.pread(self._fd, count * SLOT, PAGE + place * SLOT)
        except OSError:
            return b""

    def sync(self) -> None:
        """Onto the disk with it. May take a second on an SD card: call it from a thread."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
        self._fd = -1  # whoever comes late, from another thread, meets no other file


def _unpack(content: bytes, at: int, seq: int) -> Finished | None:
    """The record in a slot, if it is whole and has this number."""
    if len(content) < at + SLOT:
        return None
    crc, used, number, position, start_ns, end_ns = _SLOT.unpack_from(content, at)
    if number != seq or crc32(memoryview(content)[at + 4 : at + SLOT]) != crc:
        return None
    raw = content[at + _SLOT.size : at + SLOT]
    return Finished(raw, start_ns, end_ns, position, used)


def _header(raw: bytes) -> tuple[int, int, int, bytes] | None:
    """Slots, reserved, first, boot; None where it is none."""
    if len(raw) < _FILE.size or crc32(raw[:-4]) != struct.unpack("<I", raw[-4:])[0]:
        return None
    magic, slots, reserved, first, boot, _ = _FILE.unpack(raw)
    return (slots, reserved, first, boot) if magic == _FILE_MAGIC else None


def _block(slots: int) -> int:
    return min(BLOCK, slots // 8)


def _boot_id() -> bytes:
    """Differs from boot to boot; where the kernel does not tell, every opening is one."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return bytes.fromhex(text.replace("-", ""))
    except (OSError, ValueError):
        return os.urandom(16)
