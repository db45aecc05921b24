"""Records for archive and server: the same bytes, each sample once, whatever ends the process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ringbuffer.records
from box.archive import Archive
from box.clock import ReplayClock
from box.config import (
    ArchiveConfig,
    BoxConfig,
    BrokerConfig,
    MiniSeedConfig,
    SeedLinkServerConfig,
    StationConfig,
)
from box.journal import Journal
from box.packer import Packer
from box.record_store import RecordStore
from box.recording import Recording
from box.sources.record import read_record
from ringbuffer.file import PAGE
from ringbuffer.records import RECORD, SLOT, Finished, RecordRing
from ringbuffer.segment import NS, Segment, samples_to_ns

STATION = "XX.ABC"
CHANNELS = [f"{STATION}.00.HH{c}" for c in "ZNE"]
START = 1_562_259_000 * NS
NOISE = np.random.default_rng(6).integers(-2000, 2000, 400_000).astype(np.int32)


def packet(number: int, channel: str = CHANNELS[0], rate: int = 100) -> Segment:
    """One second; its samples follow from its number and channel."""
    first = rate * number + 1000 * CHANNELS.index(channel)
    return Segment(channel, START + number * NS, Fraction(rate), NOISE[first : first + rate])


def samples(records: Iterable[bytes]) -> list[tuple[str, int, int]]:
    """Channel, time and value of every sample."""
    found = []
    for raw in records:
        header, values = read_record(raw) or pytest.fail("not a record")
        times = [header.start_ns + samples_to_ns(k, header.rate) for k in range(len(values))]
        found += [(header.channel, t, int(v)) for t, v in zip(times, values, strict=True)]
    return found


def wanted(packets: Iterable[Segment]) -> list[tuple[str, int, int]]:
    return [(p.channel, p.time_ns(k), int(v)) for p in packets for k, v in enumerate(p.samples)]


class Kept:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.records: list[Finished] = []
        self.counters: dict[str, int] = {}
        self.problems: list[str] = []

    def append(self, channel: str, records: Sequence[Finished]) -> None:
        assert {record.channel for record in records} == {channel}
        self.records += records


def configuration(folder: Path, archive: bool = True, server: bool = True) -> BoxConfig:
    return BoxConfig(
        stations=[StationConfig(id=STATION)],
        sources=[MiniSeedConfig(path="x")],
        broker=BrokerConfig(url="mqtt://x"),
        data_dir=str(folder),
        archive=ArchiveConfig(path=str(folder / "sds")) if archive else None,
        seedlink_server=SeedLinkServerConfig(ring_mb=1) if server else None,
    )


def archived(folder: Path) -> list[bytes]:
    """The archive's records, channel by channel, in the order in which they lie there."""
    raws = []
    for path in sorted((folder / "sds").rglob("*.D.*")):
        raw = path.read_bytes()
        assert len(raw) % RECORD == 0
        raws += [raw[i : i + RECORD] for i in range(0, len(raw), RECORD)]
    return raws


def served(folder: Path) -> list[tuple[int, Finished]]:
    store = RecordStore(folder, [STATION], 1, 0)
    ring = store.rings[STATION]
    records, _ = ring.read(0, ring.newest)
    store.close()
    return records


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread: packets are packed at once, and what waits when a life ends is lost."""
    monkeypatch.setattr(Packer, "start", lambda self: None)
    monkeypatch.setattr(Packer, "put", lambda self, segment, at=0: self.take(segment, at))


class Killed(BaseException):
    """Here the process ends."""


class Life:
    """Of a process: a journal and a recording over a folder."""

    def __init__(self, folder: Path, **config: bool) -> None:
        self._stack = ExitStack()
        self.journal = Journal(folder / "ring", 1 << 20)
        self.taken = 0  # packets
        self.recording = Recording(configuration(folder, **config), ReplayClock(), self._stack)

    def live(self, packets: Iterable[Segment]) -> None:
        self.recording.start([self.journal])
        for segment in packets:
            position = self.journal.keep(segment, segment.end_ns)
            self.taken += 1
            self.recording.put(segment, position)

    def end(self, orderly: bool = False) -> None:
        packer = self.recording._packer
        for name, channel in packer._channels.items() if orderly else ():
            packer._pack(name, channel, everything=True)
        self.journal.close()
        self._stack.close()


def stream(count: int, seed: int) -> list[Segment]:
    """Seconds of three channels; some come late, some twice, some never."""
    rng = Random(seed)
    packets = [packet(i, channel) for i in range(count) for channel in CHANNELS]
    packets = [p for p in packets if rng.random() > 0.01]
    for _ in range(count // 10):
        at = rng.randrange(len(packets) - 9)
        packets.insert(at + rng.randrange(9), packets.pop(at))
        at = rng.randrange(len(packets) - 9)
        packets.insert(at + rng.randrange(9), packets[at])
    return packets


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("seed", range(12))
def test_kills_between_any_two_writes_lose_and_repeat_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """And archive and server hold the same bytes in the same order, under numbers without a gap."""
    rng = Random(seed)
    left = [10**9]
    ring_append, archive_append = RecordRing.append, Archive.append

    def dying(append):
        def wrapped(self, *a):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return append(self, *a)

        return wrapped

    monkeypatch.setattr(RecordRing, "append", dying(ring_append))
    monkeypatch.setattr(Archive, "append", dying(archive_append))
    packets = stream(200, seed)
    at = 0
    told: dict[int, Finished] = {}
    for _ in range(6):
        left[0] = rng.randrange(120)
        life = Life(tmp_path)
        with suppress(Killed):
            life.live(packets[at:])
        left[0] = 10**9
        at += life.taken
        life.end()
        for seq, record in served(tmp_path):  # a number is one record's for ever
            assert told.setdefault(seq, record) == record
    life = Life(tmp_path)
    life.live(packets[at:])
    life.end(orderly=True)
    records = served(tmp_path)
    assert [seq for seq, _ in records] == list(range(1, len(records) + 1))
    assert all(told[seq] == record for seq, record in records if seq in told)
    ordered = [r.raw for name in sorted(CHANNELS) for _, r in records if r.channel == name]
    assert archived(tmp_path) == ordered
    assert sorted(samples(r.raw for _, r in records)) == sorted(set(wanted(packets)))


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("seed", range(6))
def test_a_power_cut_takes_from_each_what_it_likes_and_they_are_made_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The journal is whole here; what of it is lost, is lost."""
    rng = Random(seed)
    packets = [packet(i, channel) for i in range(120) for channel in CHANNELS]
    life = Life(tmp_path)
    life.live(packets[:200])
    life.end()
    for path in (tmp_path / "sds").rglob("*.D.*"):
        os.truncate(path, path.stat().st_size - RECORD * rng.randrange(4) - rng.choice([0, 100]))
    before = served(tmp_path)
    with (tmp_path / f"{STATION}.records").open("r+b") as file:
        for seq, _ in before[len(before) - rng.randrange(9) :]:
            file.seek(PAGE + seq * SLOT)
            file.write(bytes(SLOT))
    monkeypatch.setattr(ringbuffer.records, "_boot_id", lambda: b"another boot 16b")
    life = Life(tmp_path)
    life.live(packets[200:])
    life.end(orderly=True)
    records = served(tmp_path)
    assert sorted(samples(r.raw for _, r in records)) == sorted(wanted(packets))
    assert sorted(archived(tmp_path)) == sorted(r.raw for _, r in records)
    assert len({seq for seq, _ in [*before, *records]} - {seq for seq, _ in before}) > 0
    kept = dict(before)
    assert all(kept[seq] == record for seq, record in records if seq in kept)


@pytest.mark.usefixtures("by_hand")
def test_a_server_that_is_switched_on_later_begins_with_the_end_of_the_archive(
    tmp_path: Path,
) -> None:
    packets = [packet(i, channel) for i in range(60) for channel in CHANNELS]
    for part, server in ((packets[:90], False), (packets[90:], True)):
        life = Life(tmp_path, server=server)
        life.live(part)
        life.end(orderly=True)
    records = served(tmp_path)
    assert sorted(archived(tmp_path)) == sorted(r.raw for _, r in records)
    assert sorted(samples(r.raw for _, r in records)) == sorted(wanted(packets))


@pytest.mark.usefixtures("by_hand")
def test_an_archive_that_is_switched_on_later_begins_with_what_the_server_has(
    tmp_path: Path,
) -> None:
    packets = [packet(i, channel) for i in range(60) for channel in CHANNELS]
    for part, archive in ((packets[:90], False), (packets[90:], True)):
        life = Life(tmp_path, archive=archive)
        life.live(part)
        life.end()
    records = served(tmp_path)
    assert sorted(archived(tmp_path)) == sorted(r.raw for _, r in records)


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("seed", range(6))
def test_archive_and_server_may_be_switched_off_and_on_in_any_order(
    tmp_path: Path, seed: int
) -> None:
    """Each has every sample of the times when it was on, but for some seconds at a switch, once."""
    rng = Random(seed)
    packets = [packet(i, channel) for i in range(300) for channel in CHANNELS]
    on: dict[str, list[Segment]] = {"archive": [], "server": []}
    switches = []
    at = 0
    while at < len(packets):
        part = packets[at : at + rng.choice([30, 120, 300])]
        at += len(part)
        which = rng.choice([("archive",), ("server",), ("archive", "server")])
        life = Life(tmp_path, **{name: name in which for name in on})
        life.live(part)
        life.end(orderly=rng.random() < 0.5)
        switches.append(part[-1].end_ns)
        for name in which:
            on[name] += part
    life = Life(tmp_path)
    life.live([])
    life.end(orderly=True)
    kept = {"archive": archived(tmp_path), "server": [r.raw for _, r in served(tmp_path)]}
    for name, raws in kept.items():
        found = samples(raws)
        assert len(found) == len(set(found))
        lost = set(wanted(on[name])) - set(found)
        assert all(min(abs(t - s) for s in switches) < 10 * NS for _, t, _ in lost)


@pytest.mark.usefixtures("by_hand")
def test_records_that_a_full_disk_has_kept_from_the_archive_come_to_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = [packet(i, channel) for i in range(60) for channel in CHANNELS]
    with monkeypatch.context() as disk:
        disk.setattr(Archive, "append", lambda self, *a: self.refuse("No space left on device"))
        life = Life(tmp_path)
        life.live(packets[:90])
        assert life.recording.counters["archive errors"] > 0
        assert life.recording.problems == ["archive: No space left on device"]
        life.end()
    life = Life(tmp_path)
    life.live(packets[90:])
    life.end(orderly=True)
    assert sorted(samples(archived(tmp_path))) == sorted(wanted(packets))


@pytest.mark.usefixtures("by_hand")
def test_an_archive_that_cannot_be_read_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = [packet(i, channel) for i in range(60) for channel in CHANNELS]
    life = Life(tmp_path)
    life.live(packets[:90])
    life.end()
    opened = Path.open

    def refusing(path: Path, mode: str = "r", *a: object, **k: object) -> object:
        if mode == "rb" and ".HHZ.D." in path.name:
            raise OSError(5, "Input/output error", str(path))
        return opened(path, mode, *a, **k)

    monkeypatch.setattr(Path, "open", refusing)
    life = Life(tmp_path)
    life.recording.start([life.journal])
    assert "Input/output error" in life.recording.problems[0]
    life.end()
    monkeypatch.undo()


def test_a_record_is_finished_as_soon_as_it_is_full(tmp_path: Path) -> None:
    """Not packets later: whoever follows live waits for each of them."""
    kept = Kept()
    packer = Packer([kept], 1e6, lambda: 0)
    capacity = 0
    for number in range(100):
        packer.take(packet(number))
        packed = sum(len(samples([r.raw])) for r in kept.records)
        capacity = max(capacity, *(len(samples([r.raw])) for r in kept.records), 0)
        assert 100 * (number + 1) - packed <= 1.1 * (capacity or 800) + 100
    assert len(kept.records) > 30


def test_samples_wait_no_longer_than_they_may(tmp_path: Path) -> None:
    """A sample a second: full records would be twelve minutes apart."""
    kept = Kept()
    now_ns = [0]
    packer = Packer([kept], 30.0, lambda: now_ns[0])
    packets = [packet(number, rate=1) for number in range(100)]
    for number, segment in enumerate(packets):
        now_ns[0] = number * NS
        packer.take(segment)
        packer.finish_old(now_ns[0])
        waiting = number + 1 - len(samples(r.raw for r in kept.records))
        assert waiting <= 31
    assert len(kept.records) == 3
    assert samples(r.raw for r in kept.records) == wanted(
        packets[: len(samples(r.raw for r in kept.records))]
    )


def test_a_channel_that_has_died_gives_its_last_samples_all_the_same(tmp_path: Path) -> None:
    """By the thread's own clock: no further packet brings them out."""
    kept = Kept()
    came = threading.Event()
    append = kept.append
    kept.append = lambda *a: (append(*a), came.set())  # type: ignore[method-assign]
    packer = Packer([kept], 0.0, time.monotonic_ns)
    packer.start()
    packer.put(packet(0))
    assert came.wait(30)
    assert samples(r.raw for r in kept.records) == wanted([packet(0)])
    packer.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(CHANNELS)), max_size=60))
def test_each_record_tells_how_far_into_the_journal_it_reaches(
    numbers: list[tuple[int, str]],
) -> None:
    kept = Kept()
    packer = Packer([kept], 1e6, lambda: 0)
    packets = [packet(n, channel) for n, channel in numbers]
    for position, segment in enumerate(packets, 1):
        packer.take(segment, position)
    for name, channel in packer._channels.items():
        packer._pack(name, channel, everything=True)
    for record in kept.records:
        last = packets[record.position - 1]
        assert last.channel == record.channel
        assert last.time_ns(record.used) == pytest.approx(record.end_ns, abs=2000)
        assert samples([record.raw])[-1][2] == last.samples[record.used - 1]


def test_what_miniseed_cannot_say_is_counted_and_told(tmp_path: Path) -> None:
    packer = Packer([Kept()], 1e6, lambda: 0)
    packer.take(replace(packet(0), channel="LONGNET.LONGSTA.00.HHZ"))
    packer.take(replace(packet(5), channel="LONGNET.LONGSTA.00.HHZ"))
    assert packer.counters["errors"] == 2
    assert packer.problems[0].startswith("records: LONGNET.LONGSTA.00.HHZ: ")


def test_a_ring_that_cannot_be_opened_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / f"{STATION}.records").mkdir()
    store = RecordStore(tmp_path, [STATION, "XX.DEF"], 1, 0)
    assert list(store.rings) == ["XX.DEF"]
    assert "Is a directory" in store.problems[0]
    store.append(CHANNELS[0], [Finished(bytes(RECORD), 0, 1)])
    store.close()


def test_a_ring_that_is_lost_is_followed_by_one_with_greater_numbers(tmp_path: Path) -> None:
    path = tmp_path / f"{STATION}.records"
    now_ns = START
    numbers = []
    for _ in range(3):
        store = RecordStore(tmp_path, [STATION], 1 << 20, now_ns)
        for i in range(2000):  # in ten seconds
            store.append(CHANNELS[0], [Finished(bytes(RECORD), i, i + 1)])
        numbers += [store.rings[STATION].newest - 1999, store.rings[STATION].newest]
        store.close()
        path.write_bytes(b"lost")
        now_ns += 10 * NS
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 6


def test_gaps_and_spans_are_known_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        store = RecordStore(tmp_path, [STATION], 1 << 20, 0)
        if not store.recent(STATION):
            packer = Packer([store], 1e6, lambda: 0)
            for number in [*range(30), *range(60, 90)]:
                packer.take(packet(number))
            packer._pack(CHANNELS[0], packer._channels[CHANNELS[0]], everything=True)
        [(channel, known)] = store.streams(STATION).items()
        assert channel == CHANNELS[0]
        assert (known.begin_ns, known.end_ns) == (START, START + 90 * NS)
        assert list(known.gaps) == [(START + 30 * NS, START + 60 * NS)]
        store.close()
