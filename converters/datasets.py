"""Labelled waveforms in one form: SeisBench layout, and folders of continuous recordings.

A SeisBench set is a folder with `metadata.csv` and `waveforms.hdf5`; a continuous one holds
`waveforms/*.mseed`, one file per station, and `picks.csv` where somebody has picked it.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.conditioning import Conditioner
from ringbuffer.segment import NS

COMPONENTS = "ZNE"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMPONENT_OF = {"Z": 0, "3": 0, "N": 1, "1": 1, "E": 2, "2": 2}  # by last letter of the channel


class DatasetError(Exception):
    """A data set that cannot be read; the message names file and field."""


@dataclass(frozen=True)
class Arrival:
    """A labelled onset."""

    phase: str  # P or S
    seconds: float  # after the first sample
    polarity: str = ""  # up, down or empty


@dataclass(frozen=True)
class Record:
    """Three components of one station, Z, N (or 1), E (or 2); a missing one is zeros.

    samples: shape (n, 3), as recorded (counts or physical units: `units`)
    """

    name: str
    station_id: str
    start_ns: int
    rate: Fraction
    samples: NDArray[Any]
    arrivals: tuple[Arrival, ...] = ()
    units: str = ""
    continuous: bool = False  # what its labels leave out, they deny
    channels: tuple[str, ...] = ()  # NET.STA.LOC.CHA of each component, where known
    metadata: dict[str, str] = field(default_factory=dict)

    def conditioned(self) -> NDArray[np.float32]:
        """The samples as a model sees them: streamed through the box's filter, 100 Hz, (n, 3).

        What sample k shows happened k/100 s − `delay_s` after the record's first sample.
        """
        columns = [Conditioner(self.rate).process(column) for column in self.samples.T]
        return np.stack(columns, axis=1)

    @property
    def delay_s(self) -> float:
        """Seconds by which the filter delays what the samples show."""
        return Conditioner(self.rate).delay_s


def read_records(folder: Path) -> Iterator[Record]:
    """The records of a set of either form; DatasetError where it is neither."""
    if (folder / "waveforms.hdf5").is_file():
        yield from read_seisbench(folder)
    elif (folder / "waveforms").is_dir():
        yield from read_continuous(folder)
    else:
        raise DatasetError(f"{folder}: neither waveforms.hdf5 nor a folder waveforms")


def read_seisbench(folder: Path) -> Iterator[Record]:
    """The records of a set in SeisBench layout (Woollam et al. 2022, doi 10.1785/0220210324)."""
    try:
        import h5py
    except ImportError:
        raise DatasetError(f"{folder}: reading SeisBench sets needs h5py (extra 'train')") from None
    try:
        file = h5py.File(folder / "waveforms.hdf5")
    except OSError as error:
        raise DatasetError(f"{folder / 'waveforms.hdf5'}: {error}") from None
    with file:
        for number, row in enumerate(read_rows(folder / "metadata.csv"), 1):
            try:
                record = _seisbench_record(file, row)
            except (KeyError, ValueError, IndexError) as error:
                message = f"{folder / 'metadata.csv'}: row {number}: {error!r}"
                raise DatasetError(message) from None
            yield record


def _seisbench_record(file: Any, row: dict[str, str]) -> Record:
    bucket, _, place = row["trace_name"].partition("$")
    index, _, shape = place.partition(",")
    samples = np.asarray(file["data"][bucket][int(index)], np.float64)
    samples = samples[:, : int(shape.rpartition(":")[2])]
    order = row.get("trace_component_order", COMPONENTS)
    rate = Fraction(row["trace_sampling_rate_hz"])
    arrivals = tuple(
        Arrival(phase, float(sample) / float(rate), row.get("trace_polarity", "") * (phase == "P"))
        for phase in "PS"
        if (sample := row.get(f"trace_{phase.lower()}_arrival_sample", ""))
    )
    return Record(
        name=row["trace_name_original"],
        station_id=_station_of(row["trace_name_original"]),
        start_ns=0,
        rate=rate,
        samples=np.stack([samples[order.index(c)] for c in COMPONENTS], axis=1),
        arrivals=arrivals,
        units=row.get("trace_unit", ""),
        metadata=row,
    )


def _station_of(name: str) -> str:
    """NET.STA of NET.STA.LOC.CHA.EVENT and NET_STA_TIME (NCEDC) and STA.NET_TIME_EV (STEAD)."""
    if name.endswith("_EV"):
        station, network = name.partition("_")[0].split(".")
        return f"{network}.{station}"
    return ".".join(name.replace("_", ".").split(".")[:2])


def read_continuous(folder: Path) -> Iterator[Record]:
    """One record per station of a folder of continuous recordings, with its picks if any."""
    arrivals: dict[str, list[tuple[int, str, str]]] = {}
    if (folder / "picks.csv").is_file():
        for number, row in enumerate(read_rows(folder / "picks.csv"), 1):
            try:
                pick = (nanoseconds(row["time"]), row["phase"], row.get("polarity", ""))
                arrivals.setdefault(row["station_id"], []).append(pick)
            except (KeyError, ValueError, TypeError) as error:
                message = f"{folder / 'picks.csv'}: row {number}: {error!r}"
                raise DatasetError(message) from None
    for file in sorted((folder / "waveforms").glob("*.mseed")):
        record = read_miniseed(file)
        picks = arrivals.get(record.station_id, [])
        yield replace(record, arrivals=tuple(_arrival(record, *pick) for pick in sorted(picks)))


def _arrival(record: Record, time_ns: int, phase: str, polarity: str) -> Arrival:
    polarity = {"U": "up", "D": "down"}.get(polarity, polarity)
    return Arrival(phase, (time_ns - record.start_ns) / NS, polarity)


def read_miniseed(file: Path) -> Record:
    """The three components of one station from one gapless file."""
    try:
        import obspy
    except ImportError:
        raise DatasetError(f"{file}: reading recordings needs obspy (extra 'cloud')") from None
    try:
        stream = obspy.read(file)
    except Exception as error:  # obspy's readers raise whatever they stumble over
        raise DatasetError(f"{file}: {error}") from None
    traces = [trace for trace in stream if trace.stats.channel[-1] in _COMPONENT_OF]
    if not traces:
        raise DatasetError(f"{file}: no channel that ends in Z, N, E, 1 or 2")
    stats = traces[0].stats
    samples = np.zeros((min(len(trace) for trace in traces), 3), np.int32)
    channels = [""] * len(COMPONENTS)
    for trace in traces:
        if abs(trace.stats.starttime - stats.starttime) > 0.5 * stats.delta:
            raise DatasetError(f"{file}: {trace.id} has a gap or starts apart from {traces[0].id}")
        component = _COMPONENT_OF[trace.stats.channel[-1]]
        samples[:, component] = trace.data[: len(samples)]
        channels[component] = trace.id
    station = f"{stats.network}.{stats.station}"
    rate = Fraction(stats.sampling_rate).limit_denominator(1000)
    start_ns = int(stats.starttime.ns)
    return Record(
        name=station,
        station_id=station,
        start_ns=start_ns,
        rate=rate,
        samples=samples,
        units="counts",
        continuous=True,
        channels=tuple(channels),
    )


def is_test_fold(station_id: str) -> bool:
    """Whether a station belongs to the fifth of stations that no model is trained on."""
    return hashlib.sha256(station_id.encode()).digest()[0] % 5 == 0


def nanoseconds(time: str) -> int:
    """ISO 8601 UTC -> nanoseconds since 1970 (to the microsecond)."""
    since = datetime.fromisoformat(time.replace("Z", "+00:00")) - _EPOCH
    return (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1000


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header; DatasetError where it cannot be read."""
    try:
        with file.open(newline="") as lines:
            return list(csv.DictReader(lines))
    except OSError as error:
        raise DatasetError(f"{file}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file}: not a CSV file: {error}") from None
