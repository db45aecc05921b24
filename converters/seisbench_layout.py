"""Data sets in SeisBench layout: `metadata.csv` and `waveforms.hdf5`, whole or in chunks.

After SeisBench's own reader and description (`seisbench/data/base.py` and
`docs/pages/data/data_format.rst` at github.com/seisbench/seisbench; Woollam et al. 2022, doi
10.1785/0220210324); columns that single data sets name otherwise are read where they are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.fields import (
    DatasetError,
    FieldError,
    clarity_of,
    degrees,
    iterate_rows,
    number,
    phase_of,
    polarity_of,
    text,
    utc_nanoseconds,
)
from converters.records import Arrival, Record, placed, stack
from ringbuffer.channels import SLOTS

Row = dict[str, str]
_ARRIVAL = re.compile(r"trace_(\w+)_arrival_sample")
# By what a record holds; the first that the category contains (STEAD: earthquake_local).
_KINDS = {
    "noise": "noise",
    "earthquake": "earthquake",
    "blast": "explosion",
    "explosion": "explosion",
    "collapse": "collapse",
}


def is_seisbench(folder: Path) -> bool:
    """Whether a folder looks like a data set in this layout."""
    return (folder / "chunks").is_file() or any(folder.glob("waveforms*.hdf5"))


def read_seisbench(folder: Path) -> Iterator[Record]:
    """The records of all chunks, in the order of the tables. Raises DatasetError.

    Samples that are not numbers, as where a recording has gaps, become zeros, and arrivals
    outside the trace are left out.
    """
    for chunk in _chunks(folder):
        with open_hdf5(folder / f"waveforms{chunk}.hdf5") as file:
            form = _data_format(file)
            table = folder / f"metadata{chunk}.csv"
            for line, row in enumerate(iterate_rows(table), 1):
                try:
                    record = _record(file, form, row)
                except FieldError as error:
                    raise DatasetError(f"{table}: row {line}: {error}") from None
                yield record


def open_hdf5(path: Path) -> Any:
    """An open HDF5 file; DatasetError where it is none, or where h5py is not installed."""
    try:
        import h5py
    except ImportError:
        raise DatasetError(f"{path}: reading HDF5 needs h5py (extra 'train')") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path}: {' '.join(str(error).split())}") from None


def _chunks(folder: Path) -> list[str]:
    """What stands between `waveforms` and `.hdf5`: empty for a set that is whole."""
    listed = folder / "chunks"
    if listed.is_file():
        try:
            chunks = [line.strip() for line in listed.read_text().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{listed}: {error}") from None
        if chunks:
            return chunks
    if (folder / "waveforms.hdf5").is_file():
        return [""]
    chunks = [file.stem.removeprefix("waveforms") for file in folder.glob("waveforms*.hdf5")]
    if not chunks:
        raise DatasetError(f"{folder}: no waveforms*.hdf5")
    return sorted(chunks)


def _data_format(file: Any) -> dict[str, Any]:
    """The group of that name: what holds for all traces. Texts may be lists of identifiers."""
    group = file.get("data_format", {})
    form = {}
    for key in group:
        value = group[key][()]
        if isinstance(value, bytes):
            form[key] = value.decode()
        elif getattr(value, "ndim", 0) == 1:
            form[key] = "".join(v.decode() if isinstance(v, bytes) else str(v) for v in value)
        else:
            form[key] = value
    return form


def _record(file: Any, form: dict[str, Any], row: Row) -> Record:
    if not row.get("trace_name"):
        raise FieldError("trace_name: missing")
    rate = _rate(form, row)
    samples = _samples(file, form, row)
    name = row.get("trace_name_original") or row["trace_name"]
    arrivals = placed(_arrivals(row, rate), len(samples), rate)
    magnitude = number(row, "source_magnitude", "preferred_source_magnitude")
    return Record(
        name=name,
        station_id=_station(row, name),
        start_ns=_start_ns(row),
        rate=rate,
        samples=samples,
        arrivals=arrivals,
        units=row.get("trace_unit") or str(form.get("unit", "")),
        event_id=text(row, "source_id", "event_id"),
        magnitude=magnitude,
        magnitude_type=text(
            row, "source_magnitude_type", "preferred_source_magnitude_type"
        ).lower(),
        distance_km=number(row, "path_ep_distance_km", "source_distance_km"),
        back_azimuth_deg=degrees(number(row, "path_back_azimuth_deg", "back_azimuth_deg")),
        kind=_kind(row, bool(arrivals) or magnitude is not None),
        split=row.get("split", ""),
        metadata=row,
    )


def _samples(file: Any, form: dict[str, Any], row: Row) -> NDArray[Any]:
    """Shape (n, 3) of the trace at `data/NAME`, or of a slice of the block `data/NAME$SLICE`."""
    block, dollar, where = row["trace_name"].partition("$")
    try:
        stored = np.asarray(file["data"][block][_location(where) if dollar else ()])
    except (KeyError, ValueError, IndexError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise FieldError(f"trace_name: {row['trace_name']}: {reason}") from None
    order = row.get("trace_component_order") or str(form.get("component_order", ""))
    if not order:
        raise FieldError("trace_component_order: neither here nor in data_format")
    if stored.ndim == 1 and len(order) == 1:
        stored = stored[None]
    elif str(form.get("dimension_order", "CW")) == "WC":
        stored = stored.T
    if stored.ndim != 2 or len(stored) != len(order) or not stored.size:
        raise FieldError(f"trace_name: shape {stored.shape} does not fit components {order}")
    columns: dict[int, NDArray[Any]] = {}
    for component, samples in zip(order.upper(), stored, strict=True):
        if component in SLOTS:
            columns.setdefault(SLOTS[component], samples)
    if not columns:
        raise FieldError(f"trace_component_order: {order} has none of Z, N, E, 1, 2")
    return stack(columns, stored.shape[1])


def _location(where: str) -> tuple[int | slice, ...]:
    """Numpy's notation of where something is in an array: `5,:3,100:200`."""
    parts: list[int | slice] = []
    for part in where.replace(" ", "").split(","):
        bounds = [int(bound) if bound else None for bound in part.split(":")]
        if len(bounds) == 1 and bounds[0] is not None:
            parts.append(bounds[0])
        elif 1 < len(bounds) <= 3:
            parts.append(slice(*bounds))
        else:
            raise ValueError(f"{where!r} is no slice")
    return tuple(parts)


def _rate(form: dict[str, Any], row: Row) -> Fraction:
    rate = number(row, "trace_sampling_rate_hz")
    if rate is None and (interval := number(row, "trace_dt_s")):
        rate = 1 / interval
    if rate is None and "sampling_rate" in form:
        rate = float(form["sampling_rate"])
    if rate is None:
        raise FieldError("trace_sampling_rate_hz: neither here nor in data_format")
    if not 0 < rate <= 10_000:
        raise FieldError(f"trace_sampling_rate_hz: {rate:g} is no sampling rate")
    return Fraction(rate).limit_denominator(1000)


def _arrivals(row: Row, rate: Fraction) -> Iterator[Arrival]:
    for column in row:
        named = _ARRIVAL.fullmatch(column)
        phase = phase_of(named[1]) if named else None
        sample = number(row, column) if phase else None
        if named is None or phase is None or sample is None:
            continue
        name = named[1]
        read = row.get(f"trace_{name}_polarity") or (phase == "P" and row.get("trace_polarity"))
        clarity = row.get(f"trace_{name}_onset") or row.get(f"trace_{name}_clarity")
        yield Arrival(
            phase, sample / float(rate), polarity_of(read or ""), clarity_of(clarity), name
        )


def _station(row: Row, name: str) -> str:
    if row.get("station_code"):
        return f"{row.get('station_network_code', '')}.{row['station_code']}"
    return _station_of(name)


def _station_of(name: str) -> str:
    """NET.STA of NET.STA.LOC.CHA.EVENT and NET_STA_TIME (NCEDC) and STA.NET_TIME_EV (STEAD).

    Empty where a name begins with a number: that is no network.
    """
    if name.endswith(("_EV", "_NO")):
        station, _, network = name.partition("_")[0].partition(".")
        return f"{network}.{station}"
    network, *rest = name.replace("_", ".").split(".")
    return f"{network}.{rest[0]}" if rest and not network.isdecimal() else ""


def _start_ns(row: Row) -> int:
    time = text(row, "trace_start_time")
    try:
        return utc_nanoseconds(time) if time else 0
    except ValueError as error:
        raise FieldError(f"trace_start_time: {error}") from None


def _kind(row: Row, has_event: bool) -> str:
    category = text(row, "trace_category", "source_type").lower()
    for word, kind in _KINDS.items():
        if word in category:
            return kind
    if category:
        return "other"
    return "earthquake" if has_event else ""
