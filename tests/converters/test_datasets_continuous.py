"""Continuous recordings: gaps, several files and instruments, picks and catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.datasets import DatasetError, read_continuous, read_events, read_miniseed
from converters.datasets import read_records as read
from ringbuffer.segment import NS

obspy = pytest.importorskip("obspy", reason="reading recordings needs obspy (extra 'cloud')")

START = 1_600_000_000  # seconds since 1970
NOISE = np.random.default_rng(6).integers(-1000, 1000, (10_000, 3)).astype(np.int32)


def write(file: Path, *pieces: tuple[str, float, int, int]) -> None:
    """Pieces (channel, seconds after START, first and last sample of NOISE), 100 Hz."""
    traces = []
    for channel, after_s, first, last in pieces:
        network, station, location, code = channel.split(".")
        samples = NOISE[first:last, "ZNE".find(code[2]) if code[2] in "ZNE" else 1]
        header = {
            "network": network,
            "station": station,
            "location": location,
            "channel": code,
            "sampling_rate": 100,
            "starttime": obspy.UTCDateTime(START + after_s),
        }
        traces.append(obspy.Trace(samples.copy(), header))
    file.parent.mkdir(parents=True, exist_ok=True)
    obspy.Stream(traces).write(str(file), format="MSEED")


def three(station: str, after_s: float, first: int, last: int) -> list[tuple[str, float, int, int]]:
    return [(f"{station}..HH{c}", after_s, first, last) for c in "ZNE"]


def test_a_gap_ends_a_record_and_begins_the_next(tmp_path: Path) -> None:
    write(tmp_path / "a.mseed", *three("XX.A", 0, 0, 3000), *three("XX.A", 50, 5000, 8000))
    first, second = read_continuous(tmp_path)
    np.testing.assert_array_equal(first.samples, NOISE[:3000])
    np.testing.assert_array_equal(second.samples, NOISE[5000:8000])
    assert first.start_ns == START * NS
    assert second.start_ns == (START + 50) * NS
    assert first.name != second.name
    assert first.continuous


def test_a_gap_in_one_component_leaves_the_others(tmp_path: Path) -> None:
    vertical = ("XX.A..HHZ", 0.0, 0, 9000)
    east = [("XX.A..HHE", 0.0, 0, 3000), ("XX.A..HHE", 60.0, 6000, 9000)]
    write(tmp_path / "a.mseed", vertical, *east)
    before, within, after = read_continuous(tmp_path)
    assert [len(r.samples) for r in (before, within, after)] == [3000, 3000, 3000]
    assert within.samples[:, 0].any()
    assert not within.samples[:, 1:].any()
    assert within.channels == ("XX.A..HHZ", "", "")
    np.testing.assert_array_equal(after.samples[:, 2], NOISE[6000:9000, 2])
    assert not before.samples[:, 1].any()


def test_samples_that_came_twice_count_once(tmp_path: Path) -> None:
    write(tmp_path / "a.mseed", *three("XX.A", 0, 0, 3000))
    write(tmp_path / "b.mseed", *three("XX.A", 20, 2000, 5000))
    write(tmp_path / "c.mseed", *three("XX.A", 10, 1000, 2000))  # nothing new at all
    (record,) = read_continuous(tmp_path)
    np.testing.assert_array_equal(record.samples, NOISE[:5000])


def test_components_of_different_files_make_one_record(tmp_path: Path) -> None:
    for channel, lag_s, first in (("HHZ", 0.0, 0), ("HHN", 0.5, 50), ("HHE", 0.0, 0)):
        write(tmp_path / "waveforms" / f"{channel}.mseed", (f"XX.A..{channel}", lag_s, first, 6000))
    (record,) = read_continuous(tmp_path)
    assert record.start_ns == (START + 0.5) * NS  # the half second of two components is too short
    np.testing.assert_array_equal(record.samples, NOISE[50:6000])


def test_an_sds_tree_is_read(tmp_path: Path) -> None:
    for code, (_, after_s, first, last) in zip("ZNE", three("XX.A", 0, 0, 4000), strict=True):
        folder = tmp_path / "2020" / "XX" / "A" / f"HH{code}.D"
        for day, (a, b) in {257: (first, 2000), 258: (2000, last)}.items():
            piece = (f"XX.A.00.HH{code}", after_s + a / 100, a, b)
            write(folder / f"XX.A.00.HH{code}.D.2020.{day}", piece)
    (folder / "readme.txt").write_text("not a recording")
    (record,) = read(tmp_path)
    np.testing.assert_array_equal(record.samples, NOISE[:4000])
    assert record.channels == ("XX.A.00.HHZ", "XX.A.00.HHN", "XX.A.00.HHE")


def test_of_several_instruments_the_one_of_a_box_is_read(tmp_path: Path) -> None:
    strong = [(f"XX.A..HN{c}", 0.0, 5000, 9000) for c in "ZNE"]
    write(tmp_path / "a.mseed", *strong, *three("XX.A", 0, 0, 4000), ("XX.A..LOG", 0.0, 0, 4000))
    (record,) = read_continuous(tmp_path)
    np.testing.assert_array_equal(record.samples, NOISE[:4000])


def test_picks_go_to_the_record_they_lie_in(tmp_path: Path) -> None:
    write(tmp_path / "a.mseed", *three("XX.A", 0, 0, 3000), *three("XX.A", 50, 5000, 8000))
    write(tmp_path / "b.mseed", *three("XX.B", 0, 0, 3000))
    p_time, s_time, gap = (str(obspy.UTCDateTime(START + s)) for s in (10, 55, 40))
    (tmp_path / "picks.csv").write_text(
        "event_id,station_id,phase,time,polarity,onset\n"
        f"1,XX.A,Sg,{s_time},,E\n"
        f"1,XX.A,P,{p_time},U,I\n"
        f"1,XX.A,P,{gap},,\n"  # in the gap
        f"1,XX.A,PmP,{p_time},,\n"
        f"2,XX.C,P,{p_time},,\n"  # not recorded
    )
    (tmp_path / "events.csv").write_text(
        f"event_id,time,latitude,longitude,depth_km,magnitude\n1,{p_time},1.5,2.5,,nan\n"
    )
    first, second, other = read_continuous(tmp_path)
    (p,), (s,) = first.arrivals, second.arrivals
    assert (p.phase, p.seconds, p.polarity, p.clarity) == ("P", 10.0, "up", "impulsive")
    assert (s.phase, s.seconds, s.name, s.clarity) == ("S", 5.0, "Sg", "emergent")
    assert other.arrivals == ()
    assert first.event_ids == {"1"}
    (event,) = second.events
    assert (event.latitude, event.depth_km, event.magnitude) == (1.5, None, None)
    assert other.events == ()


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("XX.A,P,yesterday", "time"),
        ("XX.A,P,2020-01-01T00:00:00", "time"),  # whose midnight?
        ("XX.A,,2020-01-01T00:00:00Z", "phase"),
        (",P,2020-01-01T00:00:00Z", "station_id"),
        ("XX.A,P", "fields"),
    ],
)
def test_a_bad_pick_is_told_with_file_row_and_field(row: str, field: str, tmp_path: Path) -> None:
    write(tmp_path / "a.mseed", *three("XX.A", 0, 0, 3000))
    (tmp_path / "picks.csv").write_text(f"station_id,phase,time\n{row}\n")
    with pytest.raises(DatasetError, match=rf"picks\.csv: row 1: .*{field}"):
        list(read_continuous(tmp_path))


@pytest.mark.parametrize("row", ["1,noon,1,2", "1,2020-01-01T00:00:00Z,,2", "1,2020-01-01Z,x,2"])
def test_a_bad_event_is_told_with_file_row_and_field(row: str, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(f"event_id,time,latitude,longitude\n{row}\n")
    with pytest.raises(DatasetError, match=r"events\.csv: row 1: (time|latitude)"):
        read_events(tmp_path)


def test_a_damaged_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mseed").write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match=r"a\.mseed: ") as caught:
        list(read_continuous(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_single_file_must_be_one_recording(tmp_path: Path) -> None:
    write(tmp_path / "a.mseed", *three("XX.A", 0, 0, 3000))
    np.testing.assert_array_equal(read_miniseed(tmp_path / "a.mseed").samples, NOISE[:3000])
    write(tmp_path / "b.mseed", *three("XX.A", 0, 0, 3000), *three("XX.A", 50, 5000, 8000))
    with pytest.raises(DatasetError, match=r"b\.mseed: 2 stretches"):
        read_miniseed(tmp_path / "b.mseed")
    write(tmp_path / "c.mseed", *three("XX.A", 0, 0, 3000), *three("XX.B", 0, 0, 3000))
    with pytest.raises(DatasetError, match=r"XX\.A, XX\.B"):
        read_miniseed(tmp_path / "c.mseed")
    write(tmp_path / "d.mseed", ("XX.A..LOG", 0.0, 0, 3000))
    with pytest.raises(DatasetError, match=r"d\.mseed: 0 stretches"):
        read_miniseed(tmp_path / "d.mseed")


def test_real_recordings_are_one_record_per_station(data_dir: Path) -> None:
    records = list(read(data_dir / "ridgecrest_quiet"))
    assert len({record.station_id for record in records}) == len(records) == 22
    assert {event.magnitude for r in records for event in r.events} == {0.36, 1.5}
