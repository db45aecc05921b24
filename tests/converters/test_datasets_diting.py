"""DiTing's own layouts, 1.0 and 2.0, in small files of exactly their form."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.datasets import Arrival, DatasetError, read_records

h5py = pytest.importorskip("h5py", reason="reading DiTing's sets needs h5py (extra 'train')")

SAMPLES = np.random.default_rng(4).normal(0, 1e4, (1000, 3)).astype(np.float32)  # Z, N, E
V1_ROW = {
    "part": "0",
    "key": "14.01",  # of 000014.0100, as numbers lose their zeros
    "ev_id": "14",
    "evmag": "1.8 ",
    "mag_type": "Ml ",
    "p_pick": "300",
    "p_clarity": "I",
    "p_motion": "C",
    "s_pick": "420",
    "net": "GD",
    "sta_id": "100",
    "dis": "17.5",
    "st_mag": "",
    "baz": "-20.0",
}
V2_ROW = {
    "Pg": 300,
    "Pg_polarity": "R",
    "Pg_azi": "200.5",
    "Pg_dist": "  33.0",
    "Sg": "420",
    "Sg_dist": "33.0",
    "Pn": 0,
    "mag": "2.1",
    "magtype": "ML",
    "evtype": "eq",
}


def write_v1(
    folder: Path, rows: list[dict[str, str]], keys: list[str], part: int = 0, table: str = ""
) -> Path:
    with (folder / (table or f"DiTing330km_part_{part}.csv")).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *rows[0]])  # pandas' unnamed index first
        writer.writerows([index, *row.values()] for index, row in enumerate(rows))
    write_hdf5(folder / f"DiTing330km_part_{part}.hdf5", {f"earthquake/{k}": SAMPLES for k in keys})
    return folder


def write_hdf5(path: Path, records: dict[str, np.ndarray[Any, Any]]) -> None:
    with h5py.File(path, "w") as file:
        for key, samples in records.items():
            file[key] = samples


def write_v2(
    folder: Path, rows: dict[str, Any], name: str = "natural_earthquake", group: str = ""
) -> Path:
    stem = f"CENC_DiTingv2_{name}"
    (folder / f"{stem}.json").write_text(json.dumps(rows))
    write_hdf5(folder / f"{stem}.hdf5", {group + key: SAMPLES for key in rows})
    return folder


def test_a_record_of_v1_is_found_by_its_padded_key(tmp_path: Path) -> None:
    (record,) = read_records(write_v1(tmp_path, [V1_ROW], ["000014.0100"]))
    np.testing.assert_array_equal(record.samples, SAMPLES)
    assert record.rate == 50
    assert record.name == "000014.0100"
    assert record.arrivals == (Arrival("P", 6.0, "up", "impulsive"), Arrival("S", 8.4))
    assert (record.station_id, record.event_id, record.kind) == ("GD.100", "14", "earthquake")
    assert (record.magnitude, record.magnitude_type) == (1.8, "ml")
    assert (record.distance_km, record.back_azimuth_deg) == (17.5, 340)


@pytest.mark.parametrize(
    ("motion", "clarity", "expected"),
    [
        ("U", "I", ("up", "impulsive")),
        ("C", "E", ("up", "emergent")),
        ("D", "E", ("down", "emergent")),
        ("R", " ", ("down", "")),
        ("N", "-", ("", "")),
        ("", "", ("", "")),
    ],
)
def test_first_motions_of_v1_are_read_with_their_clarity(
    motion: str, clarity: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    row = V1_ROW | {"p_motion": motion, "p_clarity": clarity}
    (record,) = read_records(write_v1(tmp_path, [row], ["000014.0100"]))
    assert (record.arrivals[0].polarity, record.arrivals[0].clarity) == expected


def test_parts_of_v1_are_read_in_order_of_their_numbers(tmp_path: Path) -> None:
    for part in (10, 2):
        row = V1_ROW | {"part": str(part), "key": f"{part}.1"}
        write_v1(tmp_path, [row], [f"{part:06d}.1000"], part)
    assert [r.name for r in read_records(tmp_path)] == ["000002.1000", "000010.1000"]


def test_one_table_may_stand_for_all_parts_of_v1(tmp_path: Path) -> None:
    rows = [V1_ROW, V1_ROW | {"part": "1", "key": "15.02"}]
    write_v1(tmp_path, rows, ["000014.0100"], 0, "DiTing330km_light.csv")
    write_hdf5(tmp_path / "DiTing330km_part_1.hdf5", {"earthquake/000015.0200": SAMPLES})
    assert len(list(read_records(tmp_path))) == 2
    (tmp_path / "DiTing330km_total.csv").write_text("part\n")
    with pytest.raises(DatasetError, match="several tables"):
        list(read_records(tmp_path))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": "14"}, "key"),
        ({"key": "99.01"}, "key: no earthquake/000099.0100 in DiTing330km_part_0.hdf5"),
        ({"p_pick": "6.25"}, "p_pick"),  # seconds, as a draft of the set had them
        ({"s_pick": "late"}, "s_pick"),
        ({"dis": "near"}, "dis"),
        ({"evmag": "big"}, "evmag"),
        ({"part": "x"}, "part"),
    ],
)
def test_a_bad_row_of_v1_is_told_with_file_row_and_field(
    change: dict[str, str], field: str, tmp_path: Path
) -> None:
    folder = write_v1(tmp_path, [V1_ROW, V1_ROW | change], ["000014.0100"])
    with pytest.raises(DatasetError, match=rf"DiTing330km_part_0\.csv: row 2: .*{field}"):
        list(read_records(folder))


def test_a_missing_part_of_v1_is_told(tmp_path: Path) -> None:
    folder = write_v1(tmp_path, [V1_ROW | {"part": "3"}], ["000014.0100"])
    with pytest.raises(DatasetError, match=r"DiTing330km_part_3\.hdf5: "):
        list(read_records(folder))


@pytest.mark.parametrize("magnitude", ["", "  ", "nan"])
def test_an_unknown_magnitude_is_none_and_not_zero(magnitude: str, tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v2").mkdir()
    row = V1_ROW | {"evmag": magnitude}
    (old,) = read_records(write_v1(tmp_path / "v1", [row], ["000014.0100"]))
    (new,) = read_records(write_v2(tmp_path / "v2", {"1_2": V2_ROW | {"mag": magnitude}}))
    assert old.magnitude is None
    assert new.magnitude is None


@pytest.mark.parametrize("group", ["", "earthquake/"])
def test_a_record_of_v2_has_its_labels(group: str, tmp_path: Path) -> None:
    (record,) = read_records(write_v2(tmp_path, {"123_SC.ABC": V2_ROW}, group=group))
    np.testing.assert_array_equal(record.samples, SAMPLES)
    assert record.arrivals == (
        Arrival("P", 6.0, "down", "", "Pg"),
        Arrival("S", 8.4, "", "", "Sg"),
    )
    assert (record.event_id, record.station_id) == ("123", "SC.ABC")
    assert (record.magnitude, record.magnitude_type) == (2.1, "ml")
    assert (record.distance_km, record.back_azimuth_deg) == (33.0, 200.5)
    assert record.kind == "earthquake"


def test_refracted_and_direct_waves_of_v2_are_told_apart(tmp_path: Path) -> None:
    row = {"Pn": "280", "Pg": "300", "Sn_index": 400, "Sg": "", "Pn_dist": "210", "mag": " "}
    (record,) = read_records(write_v2(tmp_path, {"1_2": row}))
    found = [(a.name, a.phase, a.seconds) for a in record.arrivals]
    assert found == [("Pn", "P", 5.6), ("Pg", "P", 6.0), ("Sn", "S", 8.0)]
    assert record.distance_km == 210


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [("ep", "explosion"), ("ss", "collapse"), ("sp", "other"), ("", "other"), ("eq", "earthquake")],
)
def test_what_is_no_earthquake_is_told(event_type: str, kind: str, tmp_path: Path) -> None:
    folder = write_v2(tmp_path, {"1_2": V2_ROW | {"evtype": event_type}}, "non_natural_earthquake")
    (record,) = read_records(folder)
    assert record.kind == kind


def test_noise_of_v2_needs_no_table(tmp_path: Path) -> None:
    records = {
        "Expert_A_Noise_1": SAMPLES,
        "Junior_A_Noise_7": SAMPLES[:300, :1],  # one component
        "Expert_A_Earthquake_2": SAMPLES,  # whose picks nobody has published
    }
    write_hdf5(tmp_path / "CENC_DiTingv2_noise_set.hdf5", records)
    first, second = read_records(tmp_path)
    assert (first.name, first.kind, first.arrivals) == ("Expert_A_Noise_1", "noise", ())
    assert second.samples.shape == (300, 3)
    assert not second.samples[:, 1:].any()


def test_v2_may_come_in_parts_and_with_a_table(tmp_path: Path) -> None:
    stem = "CENC_DiTingv2_natural_earthquake"
    for part, key in enumerate(("1_A", "2_B")):
        write_hdf5(tmp_path / f"{stem}_part_{part}.hdf5", {key: SAMPLES})
    (tmp_path / f"{stem}.csv").write_text("key,Pg,mag\n2_B,100,1.5\n1_A,200,\n")
    assert [(r.event_id, r.magnitude) for r in read_records(tmp_path)] == [("2", 1.5), ("1", None)]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ('{"1_2": {"Pg": "soon"}}', "1_2: Pg"),
        ('{"1_2": {"mag": "big"}}', "1_2: mag"),
        ('{"3_4": {}}', "3_4: key"),
        ('{"1_2": 5}', "1_2: "),
        ("[]", "not an object"),
        ("{", ""),
    ],
)
def test_a_bad_table_of_v2_is_told(rows: str, told: str, tmp_path: Path) -> None:
    write_v2(tmp_path, {"1_2": V2_ROW})
    (tmp_path / "CENC_DiTingv2_natural_earthquake.json").write_text(rows)
    with pytest.raises(DatasetError, match=rf"natural_earthquake\.json: .*{told}"):
        list(read_records(tmp_path))


def test_v2_without_its_table_is_told(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "CENC_DiTingv2_natural_earthquake.hdf5", {"1_2": SAMPLES})
    with pytest.raises(DatasetError, match=r"natural_earthquake\.json: no such file"):
        list(read_records(tmp_path))


@pytest.mark.parametrize("shape", [(1000, 2), (1000, 3, 2), (0,)])
def test_arrays_of_another_shape_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    write_v2(tmp_path, {"1_2": V2_ROW})
    write_hdf5(tmp_path / "CENC_DiTingv2_natural_earthquake.hdf5", {"1_2": np.zeros(shape)})
    with pytest.raises(DatasetError, match="1_2: key"):
        list(read_records(tmp_path))
