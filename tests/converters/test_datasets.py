"""One reader for every source, and folds that share nothing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.datasets import (
    Arrival,
    DatasetError,
    Record,
    by_event,
    fold_of,
    is_test_fold,
    read_records,
    split,
)

NAMES = st.integers(0, 60).map(str)


def record(station: str, events: list[str], own: str = "") -> Record:
    arrivals = tuple(Arrival("P", float(k), event_id=event) for k, event in enumerate(events))
    samples = np.zeros((1, 3))
    return Record(f"{station}/{events}", station, 0, Fraction(100), samples, arrivals, event_id=own)


RECORDS = st.lists(
    st.builds(record, NAMES.map("XX.{}".format), st.lists(NAMES, max_size=2), NAMES | st.just("")),
    max_size=200,
)


@settings(derandomize=True, deadline=None)
@given(RECORDS, st.integers(0, 3))
def test_folds_share_neither_events_nor_stations(records: list[Record], seed: int) -> None:
    parts = split(records, seed)
    folds = (parts.train, parts.validation, parts.test)
    assert sum(map(len, folds)) + parts.left_out == len(records)
    stations = [{r.station_id for r in fold} for fold in folds]
    events = [{event for r in fold for event in r.event_ids} for fold in folds]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not stations[one] & stations[other]
        assert not events[one] & events[other]


@settings(derandomize=True, deadline=None)
@given(RECORDS)
def test_a_records_fold_hangs_on_no_other_record(records: list[Record]) -> None:
    parts = split(records)
    assert parts.test == [r for r in records if fold_of(r) == "test"]
    assert all(is_test_fold(r.station_id) for r in parts.test)
    assert not any(is_test_fold(r.station_id) for r in parts.train + parts.validation)


def test_every_fold_gets_its_part() -> None:
    records = [record(f"XX.{k}", []) for k in range(2000)]
    parts = split(records)
    assert parts.left_out == 0
    assert 0.15 < len(parts.test) / len(records) < 0.25
    assert 0.05 < len(parts.validation) / len(records) < 0.12
    assert {r.name for r in split(records, seed=2).test} != {r.name for r in parts.test}


def test_the_test_stations_are_those_of_the_cards() -> None:
    """The cards of the models in use name this fold; it must never move."""
    assert [k for k in range(20) if is_test_fold(f"CI.{k}")] == [9, 15, 18]


def test_a_continuous_record_is_split_by_its_events() -> None:
    arrivals = [(50.0, "1"), (55.0, "1"), (200.0, "2"), (230.0, "3")]
    samples = np.arange(30_000)[:, None] * np.ones(3)
    whole = Record(
        "XX.A",
        "XX.A",
        1_000_000_000,
        Fraction(100),
        samples,
        tuple(Arrival("P", s, event_id=event) for s, event in arrivals),
        continuous=True,
    )
    one, two, three = by_event(whole)
    assert [len(r.samples) for r in (one, two, three)] == [9500, 9000, 9000]
    assert one.samples[0, 0] == 2000
    assert one.start_ns == 21_000_000_000
    assert [(a.seconds, a.event_id) for a in one.arrivals] == [(30.0, "1"), (35.0, "1")]
    assert two.event_ids == {"2", "3"}  # which come too close after one another
    assert three.event_ids == {"2", "3"}
    assert len({r.name for r in (one, two, three)}) == 3
    assert list(by_event(record("XX.B", ["4"]))) != []


def test_analysts_events_fall_into_folds(data_dir: Path) -> None:
    pytest.importorskip("obspy", reason="reading recordings needs obspy (extra 'cloud')")
    records = read_records(data_dir / "ridgecrest_foreshocks")
    parts = split(piece for whole in records for piece in by_event(whole))
    assert parts.train
    assert parts.left_out
    assert not {e for r in parts.train for e in r.event_ids} & {
        e for r in parts.test for e in r.event_ids
    }


def test_the_simulator_gives_labelled_records() -> None:
    records = list(read_records("simulator:20:5"))
    assert len(records) == 20
    assert len({r.name for r in records}) == 20
    earthquakes = [r for r in records if r.kind == "earthquake"]
    noise = [r for r in records if r.kind == "noise"]
    assert len(earthquakes) + len(noise) == 20
    assert 2 <= len(noise) <= 8
    for r in earthquakes:
        assert r.arrivals[0].phase == "P"
        assert r.magnitude is not None
        assert r.distance_km is not None
        assert r.back_azimuth_deg is not None
        assert r.event_ids
    assert not any(r.arrivals or r.event_ids for r in noise)
    assert {a.polarity for r in earthquakes for a in r.arrivals if a.phase == "P"} >= {"up", "down"}


def test_simulated_onsets_are_where_their_labels_say() -> None:
    """P stands out from what comes before it, and not earlier than labelled."""
    for r in read_records("simulator:15:2"):
        if r.arrivals and r.arrivals[0].clarity == "impulsive":
            vertical = np.abs(r.conditioned()[:, 0])
            at = round((r.arrivals[0].seconds + r.delay_s) * 100)
            before = vertical[at - 800 : at - 5].max()
            assert vertical[at : at + 100].max() > before


def test_the_same_seed_simulates_the_same() -> None:
    one, again = (list(read_records("simulator:6:3")) for _ in range(2))
    other = list(read_records("simulator:6:4"))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        assert a.arrivals == b.arrivals
    assert not np.array_equal(one[0].samples, other[0].samples)


@pytest.mark.parametrize("arguments", ["", ":", ":0", ":-3", ":5:x", ":5:1:2", ":²"])
def test_a_simulation_that_makes_no_sense_is_refused(arguments: str) -> None:
    with pytest.raises(DatasetError, match=f"simulator{arguments}: "):
        list(read_records(f"simulator{arguments}"))


def test_a_folder_that_is_no_data_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="neither"):
        list(read_records(tmp_path))
    with pytest.raises(DatasetError, match="no such folder"):
        list(read_records(tmp_path / "nowhere"))
