"""The archive: complete, without repeats, within its limits, and never in the way."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import box.packer
from box.archive import Archive, day_file
from box.assembly import load_models
from box.clock import ReplayClock
from box.config import ClockConfig, PickingConfig, TriggerConfig
from box.packer import Packer, encode
from box.pipeline import StationPipeline
from box.sources.miniseed import MiniSeedSource
from box.sources.record import read_record
from box.sources.replay import in_time_order
from box.stations import simple_station
from converters.simulator import Simulation
from ringbuffer.records import RECORD
from ringbuffer.segment import NS, Flag, Segment, samples_to_ns

CHANNEL = "XX.ABC.00.HHZ"
DAY_NS = 86_400 * NS
MIDNIGHT = 1_562_284_800 * NS  # 2019-07-05
NOISE = np.random.default_rng(4).integers(-2000, 2000, 200_000).astype(np.int32)


def second(number: int, start_ns: int = MIDNIGHT - 60 * NS, channel: str = CHANNEL) -> Segment:
    """One-second packet; its samples follow from its number."""
    return Segment(
        channel, start_ns + number * NS, Fraction(100), NOISE[100 * number :][:100], Flag.NONE
    )


def open_archive(root: Path, max_mb: int = 100, max_days: int = 100) -> Archive:
    return Archive(root, max_mb, max_days, lambda: 2 * MIDNIGHT)


def packer(archive: Archive) -> Packer:
    return Packer([archive], 1e6, time.monotonic_ns)


def archived(root: Path, packets: Iterable[Segment], **limits: int) -> Archive:
    archive = open_archive(root, **limits)
    packing = packer(archive)
    packing.start()
    for packet in packets:
        packing.put(packet)
    packing.close()
    return archive


def files(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


def content(root: Path) -> list[tuple[int, int]]:
    """Time and value of every sample in the archive, file by file as they lie there."""
    found = []
    for raw in files(root).values():
        assert len(raw) % RECORD == 0
        for i in range(0, len(raw), RECORD):
            record = read_record(raw[i : i + RECORD])
            assert record is not None
            header, samples = record
            times = [header.start_ns + samples_to_ns(k, header.rate) for k in range(len(samples))]
            found += list(zip(times, samples.tolist(), strict=True))
    return found


def wanted(packets: Iterable[Segment]) -> list[tuple[int, int]]:
    return [(p.time_ns(k), int(v)) for p in packets for k, v in enumerate(p.samples)]


def test_samples_lie_in_the_file_of_their_day_and_none_is_lost_at_midnight(tmp_path: Path) -> None:
    packets = [second(i, MIDNIGHT - 60 * NS - 370_000_000) for i in range(120)]
    archive = archived(tmp_path, packets)
    assert list(files(tmp_path)) == [
        "2019/XX/ABC/HHZ.D/XX.ABC.00.HHZ.D.2019.185",
        "2019/XX/ABC/HHZ.D/XX.ABC.00.HHZ.D.2019.186",
    ]
    assert content(tmp_path) == wanted(packets)
    for name in files(tmp_path):
        days = {t // DAY_NS for t, _ in content((tmp_path / name).parent) if t}
        assert len(days) == 2  # both files are in one folder
    first, *_ = files(tmp_path).values()
    last_of_day = read_record(first[-RECORD:])
    assert last_of_day is not None
    assert last_of_day[0].start_ns + len(last_of_day[1]) * NS // 100 <= MIDNIGHT
    assert archive.counters["records"] == sum(map(len, files(tmp_path).values())) // RECORD


def test_records_are_full_but_for_the_last(tmp_path: Path) -> None:
    archive = archived(tmp_path, [second(i, MIDNIGHT) for i in range(300)])
    compact = len(encode(Segment(CHANNEL, MIDNIGHT, Fraction(100), NOISE[:30_000])))
    assert archive.counters["records"] <= compact + 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=80), st.integers(0, 50))
def test_whatever_comes_in_whatever_order_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], late: int
) -> None:
    root = tmp_path_factory.mktemp("sds")
    archived(root, [second(number) for number in [*numbers, *numbers[:late]]])
    assert sorted(content(root)) == sorted(wanted(second(n) for n in set(numbers)))


@pytest.mark.parametrize("flags", [Flag(v) for v in range(16)])
@pytest.mark.parametrize("rate", [Fraction(100), Fraction(99_999, 1000), Fraction(1, 10)])
def test_flags_and_rates_come_back(flags: Flag, rate: Fraction) -> None:
    segment = Segment(CHANNEL, MIDNIGHT + 1000, rate, NOISE[:50], flags)
    (raw,) = encode(segment)
    found = read_record(raw)
    assert found is not None
    assert found[0].segment(found[1], knows_locks=True).flags == flags
    assert (found[0].start_ns, found[0].rate) == (segment.start_ns, rate)


def test_samples_that_steim_cannot_hold_are_kept_plain() -> None:
    samples = np.array([2**31 - 1, -(2**31), 0] * 100, np.int32)
    records = encode(Segment(CHANNEL, MIDNIGHT, Fraction(100), samples))
    back = np.concatenate([found[1] for raw in records if (found := read_record(raw))])
    assert np.array_equal(back, samples)


def test_slow_drift_is_in_the_times_of_the_records(tmp_path: Path) -> None:
    """100 µs a second: after five minutes the archive must not be 30 ms wrong."""
    packets = [second(i, MIDNIGHT + 100_000 * i) for i in range(300)]
    archived(tmp_path, packets)
    found = content(tmp_path)
    assert [v for _, v in found] == [v for _, v in wanted(packets)]
    worst = max(abs(a - b) for (a, _), (b, _) in zip(found, wanted(packets), strict=True))
    assert worst <= 5_000_000


@pytest.mark.parametrize("damage", ["none", "torn", "zeros", "rubbish", "much"])
def test_a_restart_goes_on_without_repeats_and_takes_from_the_ring_what_was_lost(
    tmp_path: Path, damage: str
) -> None:
    """The process is killed with samples in memory; the power takes more from the file's end."""
    packets = [second(i) for i in range(120)]
    killed = packer(open_archive(tmp_path))
    for packet in packets[:90]:
        killed.take(packet)  # and nothing that waits is written
    path = day_file(tmp_path, CHANNEL, packets[89].start_ns)
    raw = path.read_bytes()
    ends = {"none": b"", "torn": raw[:200], "zeros": bytes(2 * RECORD), "rubbish": b"x" * RECORD}
    ends["much"] = bytes(100 * RECORD)
    path.write_bytes((raw if damage == "none" else raw[:-RECORD]) + ends[damage])
    archive = open_archive(tmp_path)
    again = packer(archive)
    again.resume(archive.tails())
    again.catch_up(enumerate(packets[:90], 1))
    again.start()
    for packet in packets[80:]:  # the source, too, sends some again
        again.put(packet)
    again.close()
    assert content(tmp_path) == wanted(packets)


def test_the_oldest_days_go_beyond_either_limit_and_the_newest_stays(tmp_path: Path) -> None:
    days = [
        Segment(CHANNEL, MIDNIGHT + i * DAY_NS, Fraction(100), NOISE) for i in range(6)
    ]  # some 400 kB each
    (tmp_path / "notes.txt").write_text("somebody's")
    by_days = archived(tmp_path / "days", days, max_days=2)
    assert [name[-3:] for name in files(tmp_path / "days")] == ["190", "191"]
    assert by_days.counters["removed"] == 4
    by_bytes = archived(tmp_path / "bytes", days, max_mb=1)
    kept = files(tmp_path / "bytes")
    assert sum(map(len, kept.values())) <= 1 << 20
    assert [name[-3:] for name in kept] == ["190", "191"]
    assert by_bytes.counters["removed"] == 4
    assert (tmp_path / "notes.txt").exists()


def test_a_day_too_large_for_the_limit_is_cut_off_and_said(tmp_path: Path) -> None:
    parts = [Segment(CHANNEL, MIDNIGHT + i * 2000 * NS, Fraction(100), NOISE) for i in range(10)]
    archive = open_archive(tmp_path, max_mb=1)
    for part in parts:
        packer(archive).take(part)
    assert 0 < sum(map(len, files(tmp_path).values())) <= 1 << 20
    assert archive.counters["dropped"] > 0
    assert "max_mb: 1 is too little for a day" in archive.problems[0]


def test_a_clock_in_the_future_does_not_empty_the_archive(tmp_path: Path) -> None:
    now_ns = MIDNIGHT + 3 * DAY_NS
    archive = Archive(tmp_path, 100, 2, lambda: now_ns)
    packing = packer(archive)
    packing.start()
    for start_ns in (MIDNIGHT + 2 * DAY_NS, MIDNIGHT + 7000 * DAY_NS, MIDNIGHT + 3 * DAY_NS):
        packing.put(Segment(CHANNEL, start_ns, Fraction(100), NOISE))
    packing.close()
    assert len(files(tmp_path)) == 3
    assert archive.counters["removed"] == 0


def test_a_full_disk_costs_records_and_never_half_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(tmp_path, [second(i, MIDNIGHT) for i in range(50)])
    before = files(tmp_path)
    real_open = Path.open

    class Full:
        """A file that takes half of what it is given."""

        def __init__(self, file) -> None:
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, raw: bytes) -> None:
            self.file.write(raw[: len(raw) // 2 + 100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", *a, **k: Full(real_open(self, mode, *a, **k))
    )
    archive = archived(tmp_path, [second(i, MIDNIGHT) for i in range(50, 90)])
    monkeypatch.undo()
    assert files(tmp_path) == before
    assert archive.counters["errors"] >= 1
    assert "No space left on device" in archive.problems[0]


def test_packets_beyond_the_queue_are_dropped_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box.packer, "QUEUE", 10)
    packing = packer(open_archive(tmp_path))
    gate = threading.Event()
    monkeypatch.setattr(Packer, "take", lambda self, *a: gate.wait())  # a disk that hangs
    packing.start()
    for i in range(100):
        packing.put(second(i))
    assert packing.counters["dropped"] >= 89
    gate.set()
    packing.close()


def test_the_archive_of_a_station_gives_the_picks_of_the_station(
    simulation: Simulation, tmp_path: Path
) -> None:
    place = simulation.stations[0]
    station = simple_station(place.station, dict.fromkeys(place.channels, place.sensitivity))
    models = load_models(PickingConfig())

    def told(packets: Iterable[Segment]) -> list:
        pipeline = StationPipeline(
            station,
            list(place.channels),
            models,
            PickingConfig(),
            TriggerConfig(),
            ClockConfig(),
            120.0,
            2.0,
        )
        return [t for packet in packets for t in pipeline.feed(packet)] + pipeline.flush()

    live = list(in_time_order([simulation.traces[c]] for c in place.channels))
    gap = (live[0].start_ns + 50 * NS, live[0].start_ns + 53 * NS)
    live = [p for p in live if not gap[0] <= p.start_ns < gap[1]]
    archived(tmp_path, live)
    replayed = MiniSeedSource(tmp_path, ReplayClock(None))
    assert told(replayed.packets()) == told(live)
    assert told(live)
