"""The ring on disk: what it holds after kills, power cuts, damage and a full disk."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ringbuffer.file
from ringbuffer.file import (
    MOST_NOTE,
    MOST_SAMPLES,
    PAGE,
    SMALLEST,
    SMALLEST_CHUNK,
    Record,
    RingError,
    RingFile,
)
from ringbuffer.segment import NS, ClockState, Flag, Segment

START = 1_562_259_000_003_000_000


CLOCKS = (
    ClockState(),
    ClockState(error_us=10_000),
    ClockState(locked_ns=START - 1),
    ClockState(2**32 - 2, START - 86_400 * NS),
)
NOISE = np.random.default_rng(1).integers(-(2**31), 2**31, 5000).astype(np.int32)


@cache
def expected(number: int) -> Segment:
    """The packet with a sequence number: its content follows from that alone."""
    first, count = 37 * number % 4000, (1, 7, 100, 412)[number % 4]
    shift = (0, 12, 25)[number % 3]  # differences in four, two and one bytes
    return Segment(
        f"XX.ABC.0{number % 3}.HHZ",
        START + number * NS,
        (Fraction(100), Fraction(100, 3), Fraction(99_999, 1000))[number % 5 % 3],
        NOISE[first : first + count] >> shift,
        Flag(number % 64),
        CLOCKS[number % 4],
    )


def fill(ring: RingFile, count: int) -> None:
    for _ in range(count):
        number = ring.newest + 1
        assert ring.append(expected(number), number) == number


def check(records: list[Record]) -> list[int]:
    """Every record is what was appended under its number; returns the numbers."""
    for record in records:
        segment, wanted = record.segment, expected(record.seq)
        assert segment is not None
        assert (segment.channel, segment.start_ns, segment.rate, segment.flags, segment.clock) == (
            wanted.channel,
            wanted.start_ns,
            wanted.rate,
            wanted.flags,
            wanted.clock,
        )
        assert np.array_equal(segment.samples, wanted.samples)
        assert record.arrived_ns == record.seq
    numbers = [record.seq for record in records]
    assert numbers == sorted(set(numbers))
    return numbers


def test_what_was_appended_is_read_in_order_of_arrival_and_again_after_opening(
    tmp_path: Path,
) -> None:
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    fill(ring, 300)
    assert check(list(ring.records())) == list(range(1, 301))
    assert check(list(ring.records(after=250))) == list(range(251, 301))
    ring.close()
    again = RingFile(tmp_path / "a.ring", SMALLEST)
    assert (again.newest, again.damaged, again.set_aside) == (300, 0, None)
    fill(again, 10)
    assert check(list(again.records())) == list(range(1, 311))


def test_a_file_of_the_first_version_is_read_and_gone_on_with(tmp_path: Path) -> None:
    """Records had no place for a clock's state, and were else the same."""
    path = tmp_path / "a.ring"
    ring = RingFile(path, SMALLEST)
    for number in range(4, 200, 4):  # none of whose clocks is known
        ring.append(expected(number), 0)
    ring.close()
    content = bytearray(path.read_bytes())
    head = content[:24].replace(b"ring 2", b"ring 1")
    content[:28] = head + crc32(head).to_bytes(4, "little")
    path.write_bytes(content)
    again = RingFile(path, SMALLEST)
    assert (again.newest, again.set_aside, again.damaged) == (49, None, 0)
    again.append(expected(3), 0)
    again.close()
    *old, new = RingFile(path, SMALLEST).records()
    assert [r.segment.start_ns for r in old] == [expected(n).start_ns for n in range(4, 200, 4)]
    assert {r.segment.clock for r in old} == {ClockState()}
    assert new.segment.clock == expected(3).clock
    assert path.read_bytes().startswith(b"diting ring 2")  # the software before this leaves it


@pytest.mark.parametrize("clock", [ClockState(-1), ClockState(locked_ns=2**63)])
def test_a_clock_that_cannot_be_kept_is_refused(tmp_path: Path, clock: ClockState) -> None:
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    with pytest.raises(ValueError, match=r"XX\.ABC\..*clock"):
        ring.append(replace(expected(1), clock=clock), 0)


def test_the_oldest_chunk_gives_way_and_nothing_else_does(tmp_path: Path) -> None:
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    fill(ring, 6000)  # several laps
    numbers = check(list(ring.records()))
    assert numbers == list(range(ring.oldest, 6001))
    held = sum(64 + len(expected(n).channel) + expected(n).samples.nbytes for n in numbers)
    assert held > SMALLEST - 2 * SMALLEST_CHUNK
    ring.close()
    again = RingFile(tmp_path / "a.ring", SMALLEST)
    assert (again.oldest, again.newest, again.damaged) == (numbers[0], 6000, 0)
    assert check(list(again.records())) == numbers


def test_extreme_samples_and_lengths_come_back(tmp_path: Path) -> None:
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    extremes = np.array([-(2**31), 2**31 - 1] * (MOST_SAMPLES // 2), np.int32)
    for samples in (extremes, extremes[:1], extremes[:3]):
        ring.append(Segment("XX.A..HHZ", START, Fraction(100), samples), 0)
    ring.append_note(bytes(MOST_NOTE), 0)
    *packets, note = ring.records()
    for packet, samples in zip(packets, (extremes, extremes[:1], extremes[:3]), strict=True):
        assert packet.segment is not None
        assert np.array_equal(packet.segment.samples, samples)
    assert (note.segment, note.note) == (None, bytes(MOST_NOTE))


def test_what_cannot_be_kept_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    rate = Fraction(1, 2**70)
    for samples, odd in ((0, None), (MOST_SAMPLES + 1, None), (1, rate)):
        segment = Segment("XX.A..HHZ", START, odd or Fraction(100), np.zeros(samples, np.int32))
        with pytest.raises(ValueError, match=r"samples in one packet|cannot be kept"):
            ring.append(segment, 0)
    with pytest.raises(ValueError, match="note of"):
        ring.append_note(bytes(MOST_NOTE + 1), 0)
    fill(ring, 3)
    assert check(list(ring.records())) == [1, 2, 3]


def test_a_writer_killed_at_any_instant_loses_no_packet_that_it_had_kept(tmp_path: Path) -> None:
    """Kills at 50 seeded numbers of packets; each writer finds what the one before had written."""
    path, rng = tmp_path / "a.ring", Random(7)
    RingFile(path, SMALLEST).close()
    kept = 0
    for _ in range(50):
        child, read = fork_writer(path)
        kept = read_numbers(read, kept + rng.randrange(1, 300))
        os.kill(child, signal.SIGKILL)
        kept = max(kept, read_numbers(read, None))
        os.waitpid(child, 0)
        os.close(read)
        ring = RingFile(path, SMALLEST)
        assert ring.set_aside is None
        assert ring.newest - kept in (0, 1)  # one may have been kept and not yet been told of
        kept = ring.newest
        assert check(list(ring.records())) == list(range(ring.oldest, kept + 1))
        ring.close()
    assert ring.oldest > 1  # it went round


def fork_writer(path: Path) -> tuple[int, int]:
    """A process that appends as fast as it can, and tells each number once it is kept."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, read
    try:
        ring = RingFile(path, SMALLEST)
        while True:
            number = ring.newest + 1
            ring.append(expected(number), number)
            os.write(write, b"%d\n" % number)
    finally:
        os._exit(1)


def read_numbers(pipe: int, until: int | None) -> int:
    """The last number told, once it is at least `until`, or the writer is dead."""
    last, rest = 0, b""
    while until is None or last < until:
        got = os.read(pipe, 4096)
        if not got:
            break
        *lines, rest = (rest + got).split(b"\n")
        last = int(lines[-1]) if lines else last
    return last


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """The content of a ring that has gone round, and the numbers in it."""
    path = tmp_path_factory.mktemp("full") / "a.ring"
    ring = RingFile(path, SMALLEST)
    fill(ring, 3000)
    numbers = [record.seq for record in ring.records()]
    ring.close()
    return path.read_bytes(), numbers


def opened(folder: Path, content: bytes) -> RingFile:
    path = folder / "damaged.ring"
    path.write_bytes(content)
    return RingFile(path, SMALLEST)


places = st.integers(PAGE, PAGE + SMALLEST - 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=20))
def test_flipped_bits_cost_the_records_that_they_touch_and_never_give_a_wrong_sample(
    tmp_path_factory: pytest.TempPathFactory,
    full: tuple[bytes, list[int]],
    flips: list[tuple[int, int]],
) -> None:
    content = bytearray(full[0])
    for place, bits in flips:
        content[place] ^= bits
    ring = opened(tmp_path_factory.mktemp("flips"), bytes(content))
    assert ring.set_aside is None
    left = check(list(ring.records()))
    assert len(full[1]) - len(left) <= len(flips)
    fill(ring, 20)
    numbers = check(list(ring.records()))
    assert numbers[-20:] == list(range(ring.newest - 19, ring.newest + 1))
    ring.close()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, PAGE + SMALLEST))
def test_a_truncated_file_keeps_what_is_left_of_it(
    tmp_path_factory: pytest.TempPathFactory, full: tuple[bytes, list[int]], size: int
) -> None:
    ring = opened(tmp_path_factory.mktemp("truncated"), full[0][:size])
    assert (ring.set_aside is None) == (size >= 28)  # less has no header
    before = check(list(ring.records()))
    whole_chunks = max(0, size - PAGE) // SMALLEST_CHUNK
    assert len(before) >= (whole_chunks - 1) * len(full[1]) // 8
    fill(ring, 50)
    numbers = check(list(ring.records()))
    assert numbers[-50:] == list(range(ring.newest - 49, ring.newest + 1))
    ring.close()


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 15)), st.integers(0, 200), st.integers(1, 300))
def test_a_power_cut_takes_any_pages_of_what_was_not_synced_and_nothing_older(
    tmp_path_factory: pytest.TempPathFactory,
    full: tuple[bytes, list[int]],
    lost: set[int],
    synced: int,
    since: int,
) -> None:
    """Pages reach the disk in any order: those in `lost` are still as they were at the sync."""
    folder = tmp_path_factory.mktemp("cut")
    ring = opened(folder, full[0])
    fill(ring, synced)
    before, safe = ring.path.read_bytes(), ring.newest
    fill(ring, since)
    ring.close()
    after = bytearray(ring.path.read_bytes())
    changed = [
        page
        for page in range(0, len(after), PAGE)
        if after[page : page + PAGE] != before[page : page + PAGE]
    ]
    for index in lost & set(range(len(changed))):
        page = changed[index]
        after[page : page + PAGE] = before[page : page + PAGE]
    oldest = ring.oldest
    again = opened(folder, bytes(after))
    numbers = check(list(again.records()))
    assert set(range(oldest, safe + 1)) <= set(numbers)
    fill(again, 300)
    numbers = check(list(again.records()))
    assert numbers[-300:] == list(range(again.newest - 299, again.newest + 1))
    again.close()
    assert check(list(RingFile(again.path, SMALLEST).records())) == numbers


def test_a_torn_last_record_is_counted_and_dropped(tmp_path: Path) -> None:
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    fill(ring, 50)
    end = PAGE + ring.appended_bytes
    ring.close()
    content = bytearray(ring.path.read_bytes())
    content[end - 16 : end] = bytes(16)
    again = opened(tmp_path, bytes(content))
    assert (again.newest, again.damaged) == (49, 1)
    fill(again, 1)
    assert check(list(again.records())) == list(range(1, 51))


@pytest.mark.parametrize("content", [b"", b"rubbish" * 1000, bytes(PAGE + SMALLEST)])
def test_a_file_that_is_no_ring_is_set_aside_and_a_fresh_one_goes_on_behind_its_numbers(
    tmp_path: Path, content: bytes
) -> None:
    for _ in range(3):
        (tmp_path / "a.ring").write_bytes(content)
        ring = RingFile(tmp_path / "a.ring", SMALLEST, after=1000)
        assert ring.set_aside is not None
        assert ring.set_aside.read_bytes() == content
        fill(ring, 5)
        assert check(list(ring.records())) == list(range(1001, 1006))
        ring.close()
    assert [p.name for p in tmp_path.glob("*corrupt*")] == ["a.ring.corrupt-3"]  # only the last


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    RingFile(tmp_path / "a.ring", SMALLEST)
    with pytest.raises(RingError, match=r"a\.ring: another process uses it"):
        RingFile(tmp_path / "a.ring", SMALLEST)


def test_a_file_shortened_under_us_is_an_error_and_no_sigbus(tmp_path: Path) -> None:
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    fill(ring, 10)
    os.truncate(ring.path, PAGE)
    with pytest.raises(RingError, match="truncated"):
        fill(ring, 1)
    ring.close()
    again = RingFile(ring.path, SMALLEST, after=10)
    fill(again, 1)
    assert check(list(again.records())) == [11]


def test_no_room_on_the_disk_is_an_error_in_words_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ringbuffer.file.os, "posix_fallocate", full_disk)
    with pytest.raises(RingError, match=r"a\.ring: No space left on device"):
        RingFile(tmp_path / "a.ring", SMALLEST)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    RingFile(tmp_path / "a.ring", SMALLEST).close()
    os.truncate(tmp_path / "a.ring", PAGE)
    monkeypatch.setattr(ringbuffer.file.os, "posix_fallocate", full_disk)
    for _ in range(2):  # the first failure must not keep the lock
        with pytest.raises(RingError, match=r"a\.ring: No space left on device"):
            RingFile(tmp_path / "a.ring", SMALLEST)


def test_a_large_ring_opens_as_fast_as_a_small_one(tmp_path: Path) -> None:
    """A sparse file of 1 GB with records at both ends of what a lap looks like."""
    ring = RingFile(tmp_path / "a.ring", 1 << 30)
    fill(ring, 10)
    ring.close()
    began = time.process_time()
    again = RingFile(tmp_path / "a.ring", 1 << 30)
    spent_s = time.process_time() - began
    assert again.newest == 10
    assert spent_s < 1.0


def test_packets_of_a_span_are_found_wherever_they_lie(tmp_path: Path) -> None:
    """By the times of their samples, also those that came late; without reading what came long
    before."""
    with_late = [
        Segment("XX.ABC..HHZ", START + n * NS, Fraction(100), NOISE[:100]) for n in range(600)
    ]
    late = with_late.pop(250)
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    for segment in (*with_late, late):
        ring.append(segment, segment.end_ns + (400 * NS if segment is late else 0))
    reads: list[int] = []
    read = ring._read
    ring._read = lambda slot, count: reads.append(count) or read(slot, count)  # type: ignore
    for first, last in ((240, 260), (0, 3), (595, 700), (250, 251)):
        span = (START + first * NS, START + last * NS)
        found = [r.segment.start_ns for r in ring.between(*span) if r.segment]
        assert sorted(found) == [START + n * NS for n in range(first, min(last, 600))]
    assert list(ring.between(START - 9 * NS, START)) == []
    assert len(list(ring.between(START + 10 * NS + 995_000_000, START + 12 * NS))) == 1
    reads.clear()
    list(ring.between(START + 598 * NS, START + 600 * NS))
    assert sum(count > PAGE for count in reads) <= 3  # chunks
    ring.close()


def test_an_empty_ring_has_no_packet_of_any_span(tmp_path: Path) -> None:
    ring = RingFile(tmp_path / "a.ring", SMALLEST)
    ring.append_note(b"a note", START)
    assert list(ring.between(0, 2 * START)) == []
    ring.close()
