"""The ring of finished records: numbers that are used once, and what survives kills and power."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringbuffer.file import PAGE, RingError
from ringbuffer.records import RECORD, SLOT, SMALLEST, Finished, RecordRing

BOOT = b"a" * 16
SLOTS = (SMALLEST - PAGE) // SLOT


def record(number: int) -> Finished:
    """Its content follows from its number."""
    raw = Random(number).randbytes(RECORD)
    return Finished(raw, number * 10, number * 10 + 10, number * 3, number % 100)


def open_ring(path: Path, slots: int = SLOTS, **options: object) -> RecordRing:
    return RecordRing(path, PAGE + slots * SLOT, boot=options.pop("boot", BOOT), **options)


def content(ring: RecordRing, after: int = 0) -> list[tuple[int, Finished]]:
    """Everything behind a number, in reads of a few."""
    found: list[tuple[int, Finished]] = []
    while after < ring.newest:
        records, after = ring.read(after, 5)
        found += records
    return found


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12), st.integers(16, 40), st.integers(1, 1 << 40))
def test_what_was_appended_is_there_by_its_number_over_any_restarts(
    tmp_path_factory: pytest.TempPathFactory, runs: list[int], slots: int, first: int
) -> None:
    path = tmp_path_factory.mktemp("ring") / "records"
    kept: list[tuple[int, Finished]] = []
    for count in runs:
        ring = open_ring(path, slots, first=first)
        for _ in range(count):
            fresh = record(len(kept))
            kept.append((ring.append(fresh), fresh))
        assert [seq for seq, _ in kept] == list(range(first, first + len(kept)))
        assert content(ring) == kept[-slots:]
        assert ring.oldest == max(first, first + len(kept) - slots)
        ring.close()


def test_a_slot_that_is_torn_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    ring = open_ring(tmp_path / "records")
    for number in range(5):
        ring.append(record(number))
    ring.close()
    with (tmp_path / "records").open("r+b") as file:
        file.seek(PAGE + 5 * SLOT + 300)
        file.write(b"torn")
    again = open_ring(tmp_path / "records")
    assert (again.newest, again.append(record(9))) == (4, 5)
    assert [seq for seq, _ in content(again)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("lost", [[5], [1, 2, 3, 4, 5], [2, 4], [4, 5]])
def test_after_a_power_cut_no_number_is_another_records(tmp_path: Path, lost: list[int]) -> None:
    """It takes what it likes of what was not synced; clients may have seen it all."""
    path = tmp_path / "records"
    ring = open_ring(path, 32)
    for number in range(5):
        ring.append(record(number))
    ring.close()
    with path.open("r+b") as file:
        for seq in lost:
            file.seek(PAGE + seq * SLOT)
            file.write(bytes(SLOT))
    for boot in (b"b" * 16, b"c" * 16):
        again = open_ring(path, 32, boot=boot)
        before = again.newest
        assert again.append(record(7)) > max(5, before)
        again.close()
    again = open_ring(path, 32, boot=b"c" * 16)
    numbers = [seq for seq, _ in content(again)]
    assert numbers[: 5 - len(lost)] == [seq for seq in range(1, 6) if seq not in lost]
    assert len(numbers) == len(set(numbers)) == 7 - len(lost)


def test_numbers_are_on_the_disk_as_taken_before_one_of_them_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def remember(fd: int) -> None:
        reserved = struct.unpack_from("<Q", os.pread(fd, 64, 0), 20)[0]
        synced.append(reserved)

    monkeypatch.setattr(os, "fdatasync", remember)
    ring = open_ring(tmp_path / "records", 64)
    for number in range(100):
        seq = ring.append(record(number))
        assert seq < synced[-1]
    assert len(synced) < 20  # not at each of them


def test_a_bad_sector_costs_the_records_in_it(tmp_path: Path) -> None:
    ring = open_ring(tmp_path / "records")
    for number in range(10):
        ring.append(record(number))
    os.pwrite(ring._fd, b"\0" * 700, PAGE + 4 * SLOT)
    assert [seq for seq, _ in content(ring)] == [1, 2, 3, 6, 7, 8, 9, 10]


def test_what_the_disk_refuses_to_read_costs_the_records_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = open_ring(tmp_path / "records")
    for number in range(10):
        ring.append(record(number))
    bad = PAGE + 4 * SLOT + 100
    pread = os.pread

    def refusing(fd: int, count: int, at: int) -> bytes:
        if at <= bad < at + count:
            raise OSError(5, "Input/output error")
        return pread(fd, count, at)

    monkeypatch.setattr(os, "pread", refusing)
    assert content(ring) == [(n, record(n - 1)) for n in range(1, 11) if n != 4]
    ring.close()
    again = open_ring(tmp_path / "records")
    assert again.newest == 10


def test_whoever_reads_while_another_writes_gets_whole_records(tmp_path: Path) -> None:
    """The oldest ones are being written over."""
    known = {seq: record(seq - 1) for seq in range(1, 2001)}
    ring = open_ring(tmp_path / "records", 400)

    def write() -> None:
        for seq in known:
            ring.append(known[seq])

    writer = threading.Thread(target=write)
    writer.start()
    after, seen = 0, 0
    while writer.is_alive() or after < ring.newest:
        found, after = ring.read(after, 70)
        assert all(known[seq] == kept for seq, kept in found)
        seen += len(found)
    writer.join()
    assert seen > 0
    assert content(ring) == list(known.items())[-400:]


def test_a_file_with_an_unreadable_header_is_set_aside_and_counting_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "records"
    ring = open_ring(path, first=1000)
    ring.append(record(0))
    ring.close()
    raw = path.read_bytes()
    path.write_bytes(b"?" + raw[1:])
    again = open_ring(path, first=2000)
    assert again.set_aside == tmp_path / "records.corrupt"
    assert again.set_aside.read_bytes()[1:] == raw[1:]
    assert again.append(record(1)) == 2000
    assert content(again, 999) == [(2000, record(1))]


def test_a_file_that_was_cut_off_is_made_whole_again(tmp_path: Path) -> None:
    path = tmp_path / "records"
    ring = open_ring(path)
    for number in range(20):  # 16 to 20 lie in the first slots, over 0 to 4
        ring.append(record(number))
    ring.close()
    size = path.stat().st_size
    os.truncate(path, PAGE + 6 * SLOT)
    again = open_ring(path)
    assert path.stat().st_size == size
    assert [seq for seq, _ in content(again)] == [5, 16, 17, 18, 19, 20]


def test_two_processes_do_not_share_one(tmp_path: Path) -> None:
    ring = open_ring(tmp_path / "records")
    with pytest.raises(RingError, match="another process uses it"):
        open_ring(tmp_path / "records")
    ring.close()


def test_a_disk_without_room_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, at: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RingError, match="records: No space left on device"):
        open_ring(tmp_path / "records")
    assert list(tmp_path.iterdir()) == []


def test_a_large_ring_opens_by_reading_one_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "records"
    RecordRing(path, 256 << 20, boot=BOOT).close()
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: read.append(n) or pread(fd, n, at))
    RecordRing(path, 1, boot=BOOT).close()
    assert sum(read) < 1 << 20


WRITER = """
import sys
from pathlib import Path
from random import Random
from ringbuffer.records import RECORD, Finished, RecordRing
ring = RecordRing(Path(sys.argv[1]), int(sys.argv[2]), boot=b"a" * 16)
while True:
    n = ring.newest + 1
    record = Finished(Random(n).randbytes(RECORD), n * 10, n * 10 + 10, n * 3, n % 100)
    print(ring.append(record), flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_told_of(tmp_path: Path) -> None:
    path = tmp_path / "records"
    last = 0
    for kill in range(4):
        command = [sys.executable, "-c", WRITER, str(path), str(PAGE + 50 * SLOT)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(37 + kill):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        told, _ = writer.communicate()
        last = max([last, *map(int, told.split(b"\n")[:-1])])
        ring = open_ring(path, 50)
        assert ring.newest in (last, last + 1)  # it may not have come to tell of the last
        assert content(ring) == [(n, record(n)) for n in range(ring.oldest, ring.newest + 1)]
        ring.close()
