from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pymseed import DataEncoding, MS3Record

from box.clock import ReplayClock
from box.sources.miniseed import MiniSeedSource, SourceError
from box.sources.record import RecordError, exact_rate, read_record
from ringbuffer.ring import ChannelRing, Outcome
from ringbuffer.segment import NS, Flag, Segment

START = 1_562_259_000_000_000_000
counts = np.random.default_rng(3).integers(-5000, 5000, 6000).astype(np.int32).cumsum(dtype="i4")
TYPES = {"i": "int32", "f": "float32", "d": "float64"}


def records(
    samples: NDArray[np.generic] = counts,
    *,
    version: int = 2,
    encoding: int = DataEncoding.STEIM2,
    kind: str = "i",
    start_ns: int = START,
    rate: float = 100.0,
    flags: int = 0,
    extra: str = "",
    sourceid: str = "FDSN:XX_ABC_00_H_H_Z",
) -> list[bytes]:
    """The samples as miniSEED records of 512 bytes."""
    record = MS3Record(reclen=512, encoding=encoding)
    record.sourceid = sourceid
    record.formatversion = version
    record.starttime = start_ns
    record.samprate = rate
    record.pubversion = 1
    record.flags = flags
    if extra:
        record.extra = extra
    return list(record.generate(samples.astype(TYPES[kind]), kind))


def write(path: Path, parts: Iterable[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))
    return path


def open_source(path: Path) -> MiniSeedSource:
    return MiniSeedSource(path, ReplayClock())


def samples_of(packets: Iterable[Segment]) -> NDArray[np.int32]:
    return np.concatenate([packet.samples for packet in packets])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("encoding", "kind"),
    [
        (DataEncoding.STEIM1, "i"),
        (DataEncoding.STEIM2, "i"),
        (DataEncoding.INT32, "i"),
        (DataEncoding.FLOAT32, "f"),
        (DataEncoding.FLOAT64, "d"),
    ],
)
def test_every_encoding_gives_the_counts_that_were_written(
    tmp_path: Path, version: int, encoding: int, kind: str
) -> None:
    file = write(tmp_path / "a.mseed", records(version=version, encoding=encoding, kind=kind))
    source = open_source(file)
    packets = list(source.packets())
    assert source.channels == ["XX.ABC.00.HHZ"]
    assert np.array_equal(samples_of(packets), counts)
    assert {len(p.samples) for p in packets} == {100}
    assert [p.start_ns for p in packets] == [START + i * NS for i in range(60)]
    assert all(p.samples.dtype == np.int32 and p.rate == 100 for p in packets)
    assert source.problems == []


@pytest.mark.parametrize(
    ("raw", "rate"),
    [
        (100.0, Fraction(100)),
        (float(np.float32(99.999)), Fraction(99999, 1000)),
        (float(np.float32(100 / 3)), Fraction(100, 3)),
        (-10.0, Fraction(1, 10)),
        (0.5, Fraction(1, 2)),
        (31.25, Fraction(125, 4)),
        (99.987654321, Fraction(99.987654321).limit_denominator(1_000_000)),
    ],
)
def test_rates_are_exact(raw: float, rate: Fraction) -> None:
    assert exact_rate(raw) == rate


def test_odd_rates_survive_the_file(tmp_path: Path) -> None:
    for version in (2, 3):
        source = open_source(write(tmp_path / "a", records(rate=99.999, version=version)))
        assert {p.rate for p in source.packets()} == {Fraction(99999, 1000)}


def test_records_out_of_order_across_files_come_in_time(tmp_path: Path) -> None:
    parts = records()
    write(tmp_path / "2019/XX/ABC/HHZ.D/XX.ABC.00.HHZ.D.2019.185", parts[1::2])
    write(tmp_path / "2019/XX/ABC/HHZ.D/XX.ABC.00.HHZ.D.2019.186", parts[0::2][::-1])
    write(tmp_path / ".hidden/rubbish", [b"rubbish"])
    source = open_source(tmp_path)
    received = list(source.packets())
    ring = ChannelRing("XX.ABC.00.HHZ", Fraction(100), 60)
    for packet in received:
        ring.append(packet)
    assert source.problems == []
    assert np.array_equal(ring.read(START, 6000).samples, counts)
    assert [p.start_ns for p in received] == sorted(p.start_ns for p in received)


def test_gaps_and_repeated_records_reach_the_ring(tmp_path: Path) -> None:
    parts = records()
    source = open_source(write(tmp_path / "a", [*parts[:3], *parts[4:], parts[5]]))
    ring = ChannelRing("XX.ABC.00.HHZ", Fraction(100), 60)
    for packet in source.packets():
        ring.append(packet)
    window = ring.read(START, 6000)
    lost = MS3Record.parse(parts[3]).samplecnt
    assert np.count_nonzero(~window.mask) == lost
    assert np.array_equal(window.samples[window.mask], counts[window.mask])
    assert ring.counts[Outcome.GAP] == 1
    assert ring.counts[Outcome.DUPLICATE] >= 1


def test_packets_of_all_channels_are_merged_by_time(tmp_path: Path) -> None:
    for code in "ENZ":
        write(tmp_path / code, records(sourceid=f"FDSN:XX_ABC_00_H_H_{code}"))
    packets = list(open_source(tmp_path).packets())
    ends = [p.end_ns for p in packets]
    assert ends == sorted(ends)
    assert [p.channel[-1] for p in packets[:6]] == list("ENZENZ")


def test_a_truncated_file_is_named_once_and_used_up_to_there(tmp_path: Path) -> None:
    parts = records()
    file = write(tmp_path / "cut.mseed", [*parts[:-1], parts[-1][:300]])
    source = open_source(file)
    assert len(source.problems) == 1
    assert source.problems[0].startswith(f"{file}: byte {512 * (len(parts) - 1)}: ")
    assert "\n" not in source.problems[0]
    received = samples_of(source.packets())
    assert np.array_equal(received, counts[: len(received)])
    assert len(received) > 5000


def test_garbage_between_records_costs_only_itself(tmp_path: Path) -> None:
    for version in (2, 3):
        parts = records(version=version)
        file = write(tmp_path / "g", [*parts[:4], b"no record" * 31, *parts[4:]])
        source = open_source(file)
        assert len(source.problems) == 1
        assert f"byte {sum(map(len, parts[:4]))}: " in source.problems[0]
        assert np.array_equal(samples_of(source.packets()), counts)


def test_a_file_that_is_not_miniseed_does_not_hide_the_good_one(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt", [b"this is not miniSEED at all\n" * 100])
    write(tmp_path / "empty", [])
    write(tmp_path / "good", records())
    source = open_source(tmp_path)
    assert [line.split(": ")[0] for line in source.problems] == [
        str(tmp_path / "empty"),
        str(tmp_path / "notes.txt"),
    ]
    assert np.array_equal(samples_of(source.packets()), counts)


def test_nothing_to_replay_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no miniSEED records"):
        open_source(tmp_path)
    write(tmp_path / "bad", [b"rubbish" * 100])
    with pytest.raises(SourceError, match="bad: byte 0"):
        open_source(tmp_path)


def test_a_damaged_payload_is_reported_and_skipped(tmp_path: Path) -> None:
    parts = records()
    damaged = bytearray(parts[2])
    damaged[64:] = b"\xff" * (512 - 64)
    source = open_source(write(tmp_path / "d", [*parts[:2], bytes(damaged), *parts[3:]]))
    received = samples_of(source.packets())
    assert len(received) == 6000 - MS3Record.parse(parts[2]).samplecnt
    assert len(source.problems) == 1
    assert "byte 1024: XX.ABC.00.HHZ: " in source.problems[0]


@pytest.mark.parametrize("encoding", [DataEncoding.STEIM1, DataEncoding.STEIM2])
def test_no_flipped_bit_of_compressed_samples_gives_others(encoding: int) -> None:
    """Steim's differences are summed: one bit shifts everything behind it, which libmseed lets
    pass. The last sample, which the first frame holds, tells."""
    raw = records(encoding=encoding)[0]
    content = read_record(raw)
    assert content is not None
    refused = 0
    for bit in range(64 * 8, len(raw) * 8, 5):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = read_record(bytes(damaged))
        except RecordError:
            refused += 1
            continue
        assert found is not None
        assert np.array_equal(found[1], content[1])
    assert refused > 300


def test_a_writer_that_leaves_out_the_last_sample_is_believed() -> None:
    raw = bytearray(records()[0])
    raw[64 + 8 : 64 + 12] = bytes(4)
    found = read_record(bytes(raw))
    assert found is not None
    assert np.array_equal(found[1], counts[: len(found[1])])


def test_a_damaged_version_3_record_fails_its_checksum(tmp_path: Path) -> None:
    parts = records(version=3)
    damaged = bytearray(parts[1])
    damaged[200] ^= 1
    source = open_source(write(tmp_path / "d", [parts[0], bytes(damaged), *parts[2:]]))
    assert len(samples_of(source.packets())) == 6000 - MS3Record.parse(parts[1]).samplecnt
    assert "CRC" in source.problems[0]


@pytest.mark.parametrize("bad", [0.5, np.nan, np.inf, 2.0**31])
def test_floats_that_are_no_counts_are_rejected_not_rounded(tmp_path: Path, bad: float) -> None:
    values = counts[:50].astype(np.float64)
    values[20] = bad
    write(tmp_path / "f", records(values, encoding=DataEncoding.FLOAT64, kind="d"))
    write(tmp_path / "good", records(sourceid="FDSN:XX_ABC_00_H_H_E"))
    source = open_source(tmp_path)
    assert {p.channel for p in source.packets()} == {"XX.ABC.00.HHE"}
    assert source.problems == [
        f"{tmp_path / 'f'}: byte 0: XX.ABC.00.HHZ: "
        "float64 samples that are not whole counts: rejected"
    ]


@pytest.mark.parametrize("version", [2, 3])
def test_flags_of_the_header_travel_with_the_samples(tmp_path: Path, version: int) -> None:
    def flags_of(flags: int, extra: str = "") -> Flag:
        file = write(tmp_path / "f", records(version=version, flags=flags, extra=extra))
        (found,) = {p.flags for p in open_source(file).packets()}
        return found

    assert flags_of(0) == Flag.NONE
    assert flags_of(1) == Flag.CALIBRATION
    assert flags_of(2) == Flag.TIME_QUESTIONABLE
    assert flags_of(4) == Flag.NONE
    assert flags_of(0, '{"FDSN":{"Flags":{"DigitizerClipping":true}}}') == Flag.CLIPPED
    assert flags_of(0, '{"FDSN":{"Flags":{"AmplifierSaturation":true}}}') == Flag.CLIPPED
    assert flags_of(0, '{"FDSN":{"Time":{"Quality":20}}}') == Flag.TIME_QUESTIONABLE
    assert flags_of(0, '{"FDSN":{"Time":{"Quality":100}}}') == Flag.NONE


def test_a_clock_is_unlocked_only_where_locks_are_recorded_at_all(tmp_path: Path) -> None:
    before = records(counts[:3000], flags=4)
    after = records(counts[3000:], start_ns=START + 30 * NS, flags=0)
    packets = list(open_source(write(tmp_path / "a", [*before, *after])).packets())
    assert [p.flags for p in packets] == [Flag.NONE] * 30 + [Flag.CLOCK_UNLOCKED] * 30
    packets = list(open_source(write(tmp_path / "a", after)).packets())
    assert {p.flags for p in packets} == {Flag.NONE}


def test_extra_headers_of_another_shape_say_nothing(tmp_path: Path) -> None:
    for extra in ('{"FDSN":5}', '{"FDSN":{"Time":{"Quality":"good"}}}', '{"Operator":{"a":[1]}}'):
        source = open_source(write(tmp_path / "a", records(version=3, extra=extra)))
        assert {p.flags for p in source.packets()} == {Flag.NONE}


def test_impossible_rates_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "bad", records(version=3, rate=1e9, sourceid="FDSN:XX_ABC_00_H_H_E"))
    write(tmp_path / "good", records())
    source = open_source(tmp_path)
    assert source.channels == ["XX.ABC.00.HHZ"]
    assert "impossible sample rate" in source.problems[0]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_to_a_file_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(
        b"".join(records(counts[:1500], version=data.draw(st.sampled_from([2, 3]))))
    )
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    file = write(tmp_path_factory.mktemp("fuzz") / "f", [bytes(content)])
    try:
        source = open_source(file)
    except SourceError:
        return
    for packet in source.packets():
        assert packet.samples.dtype == np.int32
    assert len(source.problems) <= 1


def test_obspy_wrote_the_same_that_we_read(tmp_path: Path) -> None:
    obspy = pytest.importorskip("obspy")
    header = {"network": "XX", "station": "ABC", "channel": "HHZ", "sampling_rate": 50.0}
    trace = obspy.Trace(counts, {**header, "starttime": obspy.UTCDateTime(ns=START)})
    buffer = io.BytesIO()
    trace.write(buffer, format="MSEED", encoding="STEIM1", reclen=4096)
    source = open_source(write(tmp_path / "a", [buffer.getvalue()]))
    packets = list(source.packets())
    assert source.channels == ["XX.ABC..HHZ"]
    assert np.array_equal(samples_of(packets), counts)
    assert packets[0].start_ns == START
    assert {len(p.samples) for p in packets} == {50}


def test_real_recordings_equal_what_obspy_reads(data_dir: Path) -> None:
    obspy = pytest.importorskip("obspy")
    file = data_dir / "ridgecrest_foreshocks" / "waveforms" / "PB.B917.mseed"
    if not file.exists():
        pytest.skip(f"{file} does not exist")
    source = open_source(file)
    received: dict[str, list[Segment]] = {}
    for packet in source.packets():
        received.setdefault(packet.channel, []).append(packet)
    stream = obspy.read(str(file))
    assert sorted(received) == sorted(trace.id for trace in stream)
    for trace in stream:
        packets = received[trace.id]
        assert np.array_equal(samples_of(packets), trace.data)
        assert abs(packets[0].start_ns - trace.stats.starttime.ns) < 1000
    assert source.problems == []
