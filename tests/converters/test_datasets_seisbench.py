"""SeisBench layout, in all the forms that its description allows."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.datasets import Arrival, DatasetError, Record, read_records

h5py = pytest.importorskip("h5py", reason="reading SeisBench sets needs h5py (extra 'train')")

RNG = np.random.default_rng(3)
ZNE = RNG.integers(-1000, 1000, (3, 400)).astype(np.int16)  # components, samples
FORMAT = {"dimension_order": "CW", "component_order": "ZNE", "sampling_rate": 100}


def write(
    folder: Path,
    rows: list[dict[str, Any]],
    traces: dict[str, np.ndarray[Any, Any]],
    form: dict[str, Any] = FORMAT,
    chunk: str = "",
) -> Path:
    """What SeisBench's WaveformDataWriter leaves: one chunk of a data set."""
    with (folder / f"metadata{chunk}.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, dict.fromkeys(column for row in rows for column in row))
        table.writeheader()
        table.writerows(rows)
    with h5py.File(folder / f"waveforms{chunk}.hdf5", "w") as file:
        for name, samples in traces.items():
            file[f"data/{name}"] = samples
        for key, value in form.items():
            file[f"data_format/{key}"] = value
    return folder


def only(folder: Path) -> Record:
    (record,) = read_records(folder)
    return record


def test_a_trace_in_a_block_is_cut_out_of_its_padding(tmp_path: Path) -> None:
    block = np.zeros((2, 3, 500), np.int16)
    block[1, :, :400] = ZNE
    record = only(write(tmp_path, [{"trace_name": "bucket0$1,:3,:400"}], {"bucket0": block}))
    np.testing.assert_array_equal(record.samples, ZNE.T)
    assert record.samples.dtype == np.int32
    assert record.rate == 100


def test_a_trace_may_stand_alone_and_in_a_group(tmp_path: Path) -> None:
    folder = write(tmp_path, [{"trace_name": "2020/a.b"}], {"2020/a.b": ZNE})
    np.testing.assert_array_equal(only(folder).samples, ZNE.T)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("ENZ", ZNE[[2, 1, 0]]),
        ("Z12", ZNE),
        ("HZNE", ZNE[[1, 2]]),  # a hydrophone is nobody's component
        ("ZN", ZNE[[0, 1]]),
        ("E", ZNE[[0]]),
    ],
)
def test_components_are_put_in_order_and_missing_ones_are_zeros(
    order: str, expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    if order == "HZNE":
        stored = np.vstack([ZNE[:1] + 7, ZNE])
        expected = ZNE
    else:
        stored = ZNE[: len(order)]
    row = {"trace_name": "a", "trace_component_order": order}
    record = only(write(tmp_path, [row], {"a": stored}))
    wanted = np.zeros((400, 3))
    wanted[:, : len(expected)] = expected.T
    if order == "E":
        wanted = np.zeros((400, 3))
        wanted[:, 2] = ZNE[0]
    np.testing.assert_array_equal(record.samples, wanted)


def test_the_order_of_the_file_holds_where_the_row_says_none(tmp_path: Path) -> None:
    form = {"dimension_order": "WC", "component_order": [b"E", b"N", b"Z"], "sampling_rate": 20}
    record = only(write(tmp_path, [{"trace_name": "a"}], {"a": ZNE.T}, form))
    np.testing.assert_array_equal(record.samples, ZNE.T[:, ::-1])


def test_rates_are_a_traces_own_or_the_intervals_or_the_files(tmp_path: Path) -> None:
    rows = [
        {"trace_name": "a", "trace_sampling_rate_hz": "40.0", "trace_dt_s": ""},
        {"trace_name": "a", "trace_sampling_rate_hz": "", "trace_dt_s": "0.004"},
        {"trace_name": "a", "trace_sampling_rate_hz": "nan", "trace_dt_s": ""},
    ]
    rates = [record.rate for record in read_records(write(tmp_path, rows, {"a": ZNE}))]
    assert rates == [40, 250, 100]


def test_gaps_filled_with_nan_do_not_spoil_the_record(tmp_path: Path) -> None:
    stored = ZNE.astype(np.float32)
    stored[0, 100:120] = np.nan
    record = only(write(tmp_path, [{"trace_name": "a"}], {"a": stored}))
    assert not record.samples[100:120, 0].any()
    np.testing.assert_array_equal(record.samples[:, 1], ZNE[1])
    assert np.isfinite(record.conditioned()).all()


@pytest.mark.parametrize("listed", [True, False])
def test_all_chunks_are_read(listed: bool, tmp_path: Path) -> None:
    for chunk in ("2019", "2020"):
        write(tmp_path, [{"trace_name": f"t{chunk}"}], {f"t{chunk}": ZNE}, chunk=chunk)
    if listed:
        (tmp_path / "chunks").write_text("2019\n2020\n\n")
    assert [record.name for record in read_records(tmp_path)] == ["t2019", "t2020"]


def test_labels_are_typed(tmp_path: Path) -> None:
    row = {
        "trace_name": "a",
        "trace_name_original": "mine",
        "trace_start_time": "2020-01-02 03:04:05.5",  # STEAD's form, UTC without saying so
        "trace_category": "earthquake_local",
        "trace_p_arrival_sample": "50.5",
        "trace_s_arrival_sample": "",
        "trace_polarity": "down",
        "station_network_code": "XX",
        "station_code": "ABC",
        "source_id": "ev7",
        "source_magnitude": "2.5",
        "source_magnitude_type": "ML",
        "path_ep_distance_km": "33.5",
        "path_back_azimuth_deg": "-90",
        "split": "dev",
        "trace_unit": "counts",
    }
    record = only(write(tmp_path, [row], {"a": ZNE}))
    assert record.name == "mine"
    assert record.station_id == "XX.ABC"
    assert record.start_ns == 1_577_934_245_500_000_000
    assert record.arrivals == (Arrival("P", 0.505, "down", "", "p"),)
    assert record.event_ids == {"ev7"}
    assert (record.magnitude, record.magnitude_type) == (2.5, "ml")
    assert (record.distance_km, record.back_azimuth_deg) == (33.5, 270)
    assert (record.kind, record.split, record.units) == ("earthquake", "dev", "counts")
    assert record.rate == Fraction(100)


def test_arrivals_of_every_spelling_are_read_and_reflections_are_not(tmp_path: Path) -> None:
    row = {
        "trace_name": "a",
        "trace_Pn_arrival_sample": 100,
        "trace_Pn_polarity": "positive",
        "trace_Pn_onset": "emergent",
        "trace_Pg_arrival_sample": 120,
        "trace_Pg_polarity": "undecidable",
        "trace_PmP_arrival_sample": 130,
        "trace_Sg_arrival_sample": 200,
        "trace_SmS_arrival_sample": 250,
        "trace_pP_arrival_sample": 300,
        "trace_S_arrival_sample": 5000,  # not in this trace
    }
    assert only(write(tmp_path, [row], {"a": ZNE})).arrivals == (
        Arrival("P", 1.0, "up", "emergent", "Pn"),
        Arrival("P", 1.2, "", "", "Pg"),
        Arrival("S", 2.0, "", "", "Sg"),
    )


@pytest.mark.parametrize(
    ("name", "station"),
    [
        ("BG.ACR..DP.0215954.npz", "BG.ACR"),
        ("109C.TA_20061103161223_EV", "TA.109C"),
        ("B084.PB_201510210555_NO", "PB.B084"),
        ("NC_MCB_0123", "NC.MCB"),
        ("1_100.0000_117.5000_0.80_00000326.npy", ""),
        ("unnamed", ""),
    ],
)
def test_stations_are_known_by_names_that_tell_them(
    name: str, station: str, tmp_path: Path
) -> None:
    row = {"trace_name": "a", "trace_name_original": name}
    assert only(write(tmp_path, [row], {"a": ZNE})).station_id == station


@pytest.mark.parametrize("magnitude", ["", "nan", "None", " "])
def test_an_unknown_magnitude_is_none_and_not_zero(magnitude: str, tmp_path: Path) -> None:
    row = {"trace_name": "a", "source_magnitude": magnitude, "trace_category": "noise"}
    record = only(write(tmp_path, [row], {"a": ZNE}))
    assert record.magnitude is None
    assert record.kind == "noise"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"trace_name": "b"}, "trace_name"),
        ({"trace_name": ""}, "trace_name"),
        ({"trace_name": "a$9,:3"}, "trace_name"),
        ({"trace_name": "a$x"}, "trace_name"),
        ({"trace_name": "a", "trace_component_order": "ZNEH"}, "shape"),
        ({"trace_name": "a", "trace_component_order": "XYH"}, "trace_component_order"),
        ({"trace_name": "a", "trace_sampling_rate_hz": "fast"}, "trace_sampling_rate_hz"),
        ({"trace_name": "a", "trace_sampling_rate_hz": "-1"}, "trace_sampling_rate_hz"),
        ({"trace_name": "a", "trace_P_arrival_sample": "soon"}, "trace_P_arrival_sample"),
        ({"trace_name": "a", "source_magnitude": "big"}, "source_magnitude"),
        ({"trace_name": "a", "trace_start_time": "noon"}, "trace_start_time"),
    ],
)
def test_a_bad_row_is_told_with_file_row_and_field(
    row: dict[str, str], field: str, tmp_path: Path
) -> None:
    good = dict.fromkeys(row, "") | {"trace_name": "a"}
    folder = write(tmp_path, [good, row], {"a": ZNE})
    with pytest.raises(DatasetError, match=rf"metadata\.csv: row 2: .*{field}") as caught:
        list(read_records(folder))
    assert "\n" not in str(caught.value)


def test_damaged_and_missing_files_are_told(tmp_path: Path) -> None:
    write(tmp_path, [{"trace_name": "a"}], {"a": ZNE})
    (tmp_path / "metadata.csv").write_text("trace_name,x\na\n")
    with pytest.raises(DatasetError, match=r"metadata\.csv: row 1: .*fields"):
        list(read_records(tmp_path))
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(DatasetError, match=r"metadata\.csv: No such file"):
        list(read_records(tmp_path))
    (tmp_path / "waveforms.hdf5").write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match=r"waveforms\.hdf5: "):
        list(read_records(tmp_path))
    (tmp_path / "chunks").write_text("2021\n")
    with pytest.raises(DatasetError, match=r"waveforms2021\.hdf5: "):
        list(read_records(tmp_path))


def test_a_set_without_components_anywhere_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, [{"trace_name": "a"}], {"a": ZNE}, {"sampling_rate": 100})
    with pytest.raises(DatasetError, match="component_order"):
        list(read_records(folder))


def test_the_labelled_sets_are_read_whole(data_dir: Path) -> None:
    records = list(read_records(data_dir / "labelled" / "ncedc_stead"))
    assert len(records) == 304
    assert sum(bool(a.polarity) for r in records for a in r.arrivals) == 96
    assert all(len(r.station_id.split(".")) == 2 for r in records)
    assert sum(r.magnitude is not None for r in records) == 150
