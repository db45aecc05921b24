"""The DiTing data sets in the layout in which they are published.

DiTing 1.0 (Zhao et al. 2023, doi 10.1016/j.eqs.2022.01.022): `DiTing330km_part_N.csv`, N from 0
to 27, or one table of all parts (`DiTing330km_light.csv`), and `DiTing330km_part_N.hdf5` with
`earthquake/EVENT.STATION`, shape (n, 3), vertical, north, east, 50 Hz; `p_pick` and `s_pick` are
samples. The key of the table has lost zeros on both sides, as numbers do, of what was six and
four digits: 14.01 is `000014.0100`. First motions are U or C and D or R, with clarity I or E.
After SeisT's reader (github.com/senli1073/SeisT, `datasets/diting.py`).

DiTing 2.0 (Zhao et al. 2023, doi 10.12080/nedc.11.ds.2023.0002): `CENC_DiTingv2_SET.hdf5` with
`EVENT_STATION` at its root, shape (n, 3), 50 Hz, and `CENC_DiTingv2_SET.json`, which says for
each key where Pg, Sg, Pn, Sn are (samples) with `Pg_polarity`, `Pg_azi`, `Pg_dist` (km) and the
like, `mag`, `magtype` and `evtype`; SET is natural_earthquake or non_natural_earthquake.
`CENC_DiTingv2_noise_set.hdf5` has no table: noise is what has Noise in its key. After the
preparation scripts of github.com/Kaixinzhenyu/DiTing2.0-seismic-classification and of two more
public readers; these call the components vertical, north, east where the former writes E, N, Z,
and take `Pg_azi` for the back azimuth, which nothing published confirms. Another edition
(`DiTing_YEAR_YEAR.hdf5`) keeps its records in groups and calls the picks `Pg_index`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.fields import (
    DatasetError,
    FieldError,
    Row,
    clarity_of,
    degrees,
    iterate_rows,
    number,
    phase_of,
    polarity_of,
    text,
)
from converters.records import Arrival, Record, placed, stack
from converters.seisbench_layout import open_hdf5

RATE = Fraction(50)  # samples per second
_PART = re.compile(r"_part_(\d+)$")
_V2_PHASES = ("P", "Pg", "Pn", "S", "Sg", "Sn")
_V2_GROUPS = ("", "earthquake/", "non_natural/", "noise/")  # at the root, or in the other edition
# The event types of China's catalogues; what is only suspected to be something is other.
_KINDS = {"eq": "earthquake", "ep": "explosion", "ss": "collapse", "co": "collapse"}


def is_diting(folder: Path) -> bool:
    """Whether a folder looks like either data set."""
    return any(folder.glob("DiTing330km*.csv")) or any(_v2_files(folder))


def read_diting(folder: Path) -> Iterator[Record]:
    """The records of a folder of either data set. Raises DatasetError.

    Arrivals outside the trace are left out.
    """
    if any(folder.glob("DiTing330km*.csv")):
        yield from _read_v1(folder)
    else:
        yield from _read_v2(folder)


def _read_v1(folder: Path) -> Iterator[Record]:
    tables = sorted(folder.glob("DiTing330km_part_*.csv"), key=lambda file: _part(file) or 0)
    if not tables:
        tables = sorted(folder.glob("DiTing330km*.csv"))
        if len(tables) > 1:  # the same records twice
            names = ", ".join(table.name for table in tables)
            raise DatasetError(f"{folder}: several tables of all parts: {names}; leave one")
    with ExitStack() as opened:
        files: dict[int, Any] = {}
        for table in tables:
            for line, row in enumerate(iterate_rows(table), 1):
                try:
                    part = _whole(row, "part") if row.get("part") else _part(table)
                    if part is None:
                        raise FieldError("part: missing")
                    if part not in files:
                        path = folder / f"DiTing330km_part_{part}.hdf5"
                        files[part] = opened.enter_context(open_hdf5(path))
                    record = _record_v1(files[part], row)
                except FieldError as error:
                    raise DatasetError(f"{table}: row {line}: {error}") from None
                yield record


def _part(table: Path) -> int | None:
    found = _PART.search(table.stem)
    return int(found[1]) if found else None


def _record_v1(file: Any, row: Row) -> Record:
    key = _key(text(row, "key"))
    samples = _samples([file], [f"earthquake/{key}"])
    arrivals = []
    p, s = _whole(row, "p_pick"), _whole(row, "s_pick")
    if p is not None:
        polarity, clarity = polarity_of(row.get("p_motion")), clarity_of(row.get("p_clarity"))
        arrivals.append(Arrival("P", p / float(RATE), polarity, clarity))
    if s is not None:
        arrivals.append(Arrival("S", s / float(RATE)))
    station = _whole(row, "sta_id")
    return Record(
        name=key,
        station_id=f"{text(row, 'net')}.{key.partition('.')[2] if station is None else station}",
        start_ns=0,
        rate=RATE,
        samples=samples,
        arrivals=placed(arrivals, len(samples), RATE),
        units="counts",
        event_id=text(row, "ev_id") or key.partition(".")[0],
        magnitude=number(row, "evmag"),
        magnitude_type=text(row, "mag_type").lower(),
        distance_km=number(row, "dis"),
        back_azimuth_deg=degrees(number(row, "baz")),
        kind="earthquake",
        metadata=dict(row),
    )


def _key(written: str) -> str:
    event, dot, station = written.partition(".")
    if not dot or not (event + station).isdecimal():
        raise FieldError(f"key: {written!r} is not EVENT.STATION")
    return f"{event.rjust(6, '0')}.{station.ljust(4, '0')}"


def _whole(row: Row, column: str) -> int | None:
    """A whole number; seconds, as drafts of the data set had them, are refused."""
    value = number(row, column)
    if value is not None and value != int(value):
        raise FieldError(f"{column}: {row[column]!r} is not a whole number")
    return None if value is None else int(value)


def _v2_files(folder: Path) -> list[Path]:
    return sorted({*folder.glob("CENC_DiTingv2*.hdf5"), *folder.glob("DiTing_[0-9]*.hdf5")})


def _read_v2(folder: Path) -> Iterator[Record]:
    sets: dict[Path, list[Path]] = {}
    for path in _v2_files(folder):
        sets.setdefault(_v2_table(path), []).append(path)
    for table, paths in sets.items():
        with ExitStack() as opened:
            files = [opened.enter_context(open_hdf5(path)) for path in paths]
            if not table.is_file():
                for file in files:
                    yield from _noise(file)
                continue
            for key, row in _v2_rows(table):
                try:
                    record = _record_v2(files, key, row, "non_natural" in table.name)
                except FieldError as error:
                    raise DatasetError(f"{table}: {key}: {error}") from None
                yield record


def _v2_table(path: Path) -> Path:
    """The table beside a file, or beside the file of which it is a part; noise may lack it."""
    stem = _PART.sub("", path.stem)
    for name in (f"{path.stem}.json", f"{stem}.json", f"{path.stem}.csv", f"{stem}.csv"):
        if (path.parent / name).is_file():
            return path.parent / name
    if "noise" in path.name.lower():
        return path.parent / f"{stem}.json"
    raise DatasetError(f"{path.parent / stem}.json: no such file")


def _v2_rows(table: Path) -> Iterator[tuple[str, Row]]:
    """Key and labels; a CSV file has the key in a column of that name."""
    if table.suffix == ".csv":
        for line, row in enumerate(iterate_rows(table), 1):
            if not row.get("key"):
                raise DatasetError(f"{table}: row {line}: key: missing")
            yield row["key"], row
        return
    try:
        rows = json.loads(table.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{table}: {error}") from None
    if not isinstance(rows, dict):
        raise DatasetError(f"{table}: not an object of records by their keys")
    for key, row in rows.items():
        if not isinstance(row, dict):
            raise DatasetError(f"{table}: {key}: not an object of labels")
        yield key, row


def _record_v2(files: list[Any], key: str, row: Row, non_natural: bool) -> Record:
    samples = _samples(files, [group + key for group in _V2_GROUPS])
    picks = list(_picks(row))
    azimuth = number(row, *(f"{pick.name}_azi" for pick in picks))
    event_type = text(row, "evtype").lower()
    unsaid = "other" if non_natural else "earthquake"
    event, _, station = key.partition("_")
    return Record(
        name=key,
        station_id=station,
        start_ns=0,
        rate=RATE,
        samples=samples,
        arrivals=placed(picks, len(samples), RATE),
        units="counts",
        event_id=event,
        magnitude=number(row, "mag"),
        magnitude_type=text(row, "magtype", "mag_type").lower(),
        distance_km=number(row, *(f"{pick.name}_dist" for pick in picks)),
        back_azimuth_deg=degrees(azimuth),
        kind=_KINDS.get(event_type, "other") if event_type else unsaid,
        metadata={name: str(value) for name, value in row.items()},
    )


def _picks(row: Row) -> Iterator[Arrival]:
    for name in _V2_PHASES:
        phase, sample = phase_of(name), number(row, name, f"{name}_index")
        if phase and sample:  # 0 stands for none
            polarity = polarity_of(text(row, f"{name}_polarity"))
            clarity = clarity_of(text(row, f"{name}_clarity"))
            yield Arrival(phase, sample / float(RATE), polarity, clarity, name)


def _noise(file: Any) -> Iterator[Record]:
    for key in file:
        if "noise" in key.lower():
            try:
                samples = _samples([file], [key])
            except FieldError as error:
                raise DatasetError(f"{file.filename}: {error}") from None
            yield Record(key, "", 0, RATE, samples, units="counts", kind="noise")


def _samples(files: list[Any], places: list[str]) -> NDArray[Any]:
    """Shape (n, 3) from the first place that there is; one component alone is the vertical."""
    found = next(((f, place) for f in files for place in places if place in f), None)
    if found is None:
        names = ", ".join(Path(file.filename).name for file in files)
        raise FieldError(f"key: no {places[0]} in {names}")
    file, place = found
    try:
        stored = np.asarray(file[place])
    except (OSError, TypeError, ValueError) as error:
        raise FieldError(f"key: {place}: {' '.join(str(error).split())}") from None
    if stored.ndim == 1:
        stored = stored[:, None]
    if stored.ndim == 2 and stored.shape[1] not in (1, 3) and stored.shape[0] in (1, 3):
        stored = stored.T
    form = stored.ndim == 2 and stored.shape[1] in (1, 3) and stored.dtype.kind in "iuf"
    if not form or not len(stored):
        raise FieldError(f"key: {place}: shape {stored.shape} of {stored.dtype} is no record")
    return stack(dict(enumerate(stored.T)), len(stored))
