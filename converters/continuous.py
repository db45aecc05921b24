"""Continuous recordings: a folder of miniSEED with the picks and the catalogue of analysts.

The recordings are what lies below `waveforms/` in it, or below the folder itself: files *.mseed,
as many per station or channel as there are, or an SDS tree. `picks.csv` has station_id, phase,
time and maybe polarity, onset, event_id; `events.csv` has event_id, time, latitude, longitude and
maybe depth_km and magnitude.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.fields import (
    DatasetError,
    FieldError,
    clarity_of,
    iterate_rows,
    nanoseconds,
    number,
    phase_of,
    polarity_of,
    text,
)
from converters.records import Arrival, Event, Record, placed, stack
from ringbuffer.channels import choose_channels
from ringbuffer.segment import NS, ns_to_samples, samples_to_ns

SHORTEST_S = 10.0  # shorter stretches are left out: filters take as long to come to rest
_SUFFIXES = (".mseed", ".miniseed", ".msd")
_SDS = re.compile(r"\w+\.\w+\.\w*\.\w{3}\.D\.\d{4}\.\d{3}")  # NET.STA.LOC.CHA.D.YEAR.DAY


class _Piece(NamedTuple):
    """Samples without a gap; `first` counts from the start of the station's recording."""

    component: int
    first: int
    samples: NDArray[Any]

    @property
    def end(self) -> int:
        return self.first + len(self.samples)


def waveform_files(folder: Path) -> list[Path]:
    """The miniSEED files of a data set, by their names."""
    root = folder / "waveforms" if (folder / "waveforms").is_dir() else folder
    return sorted(
        file
        for file in root.rglob("*")
        if file.is_file() and (file.suffix.lower() in _SUFFIXES or _SDS.fullmatch(file.name))
    )


def read_continuous(folder: Path) -> Iterator[Record]:
    """The stretches that each station recorded without a gap, with its picks if there are any.

    Where a station has several instruments, those that a box would choose. A record begins and
    ends where one of its components does; a component without samples is zeros. Of samples that
    came twice, the first count. All files of a station are in memory at once. Raises DatasetError.
    """
    picks = _read_picks(folder / "picks.csv") if (folder / "picks.csv").is_file() else {}
    events = read_events(folder) if (folder / "events.csv").is_file() else {}
    files = waveform_files(folder)
    if not files:
        raise DatasetError(f"{folder}: no miniSEED file")
    for station, own in _by_station(files).items():
        for record in _records(station, _traces(own, station)):
            arrivals = _arrivals(record, picks.get(station, []))
            known = dict.fromkeys(a.event_id for a in arrivals if a.event_id in events)
            yield replace(record, arrivals=arrivals, events=tuple(events[k] for k in known))


def read_miniseed(file: Path) -> Record:
    """The three components of one station from one file without gaps. Raises DatasetError."""
    stations = _by_station([file])
    if len(stations) > 1:
        raise DatasetError(f"{file}: several stations: {', '.join(sorted(stations))}")
    (station,) = stations
    records = _records(station, _traces([file], station))
    if len(records) != 1:
        raise DatasetError(f"{file}: {len(records)} stretches of {SHORTEST_S:g} s, 1 wanted")
    return records[0]


def read_events(folder: Path) -> dict[str, Event]:
    """The catalogue of a data set by its event ids. Raises DatasetError."""
    table = folder / "events.csv"
    events = {}
    for line, row in enumerate(iterate_rows(table), 1):
        try:
            place = [number(row, name) for name in ("latitude", "longitude")]
            if place[0] is None or place[1] is None:
                raise FieldError("latitude, longitude: missing")
            event = Event(
                text(row, "event_id"),
                _time(row),
                place[0],
                place[1],
                number(row, "depth_km"),
                number(row, "magnitude"),
            )
        except FieldError as error:
            raise DatasetError(f"{table}: row {line}: {error}") from None
        events[event.event_id] = event
    return events


def _read_picks(table: Path) -> dict[str, list[tuple[int, Arrival]]]:
    """Station -> (time, arrival without its place in a record) of each P and S."""
    picks: dict[str, list[tuple[int, Arrival]]] = {}
    for line, row in enumerate(iterate_rows(table), 1):
        try:
            station, name = text(row, "station_id"), text(row, "phase")
            if not station or not name:
                raise FieldError(f"{'phase' if station else 'station_id'}: missing")
            time_ns, phase = _time(row), phase_of(name)
        except FieldError as error:
            raise DatasetError(f"{table}: row {line}: {error}") from None
        if phase is not None:
            polarity, clarity = polarity_of(row.get("polarity")), clarity_of(row.get("onset"))
            arrival = Arrival(phase, 0.0, polarity, clarity, name, text(row, "event_id"))
            picks.setdefault(station, []).append((time_ns, arrival))
    return picks


def _time(row: dict[str, str]) -> int:
    try:
        return nanoseconds(text(row, "time"))
    except ValueError as error:
        raise FieldError(f"time: {error}") from None


def _arrivals(record: Record, picks: Iterable[tuple[int, Arrival]]) -> tuple[Arrival, ...]:
    moved = (replace(a, seconds=(time_ns - record.start_ns) / NS) for time_ns, a in picks)
    return placed(moved, len(record.samples), record.rate)


def _by_station(files: list[Path]) -> dict[str, list[Path]]:
    """NET.STA -> the files with its recordings, in order of their names."""
    stations: dict[str, list[Path]] = {}
    for file in files:
        names = {f"{t.stats.network}.{t.stats.station}" for t in _read(file, headonly=True)}
        for name in sorted(names):
            stations.setdefault(name, []).append(file)
    return dict(sorted(stations.items()))


def _traces(files: list[Path], station: str) -> list[Any]:
    return [
        trace
        for file in files
        for trace in _read(file)
        if f"{trace.stats.network}.{trace.stats.station}" == station and len(trace)
    ]


def _read(file: Path, headonly: bool = False) -> Any:
    try:
        import obspy
    except ImportError:
        raise DatasetError(f"{file}: reading recordings needs obspy (extra 'cloud')") from None
    try:
        return obspy.read(file, format="MSEED", headonly=headonly)
    except Exception as error:  # obspy's readers raise whatever they stumble over
        raise DatasetError(f"{file}: {' '.join(str(error).split())}") from None


def _records(station: str, traces: list[Any]) -> list[Record]:
    """The stretches of one station, in order of time; its rate may change between them."""
    components = choose_channels(sorted({trace.id for trace in traces}))
    by_rate: dict[Fraction, list[Any]] = {}
    for trace in traces:
        if trace.id in components:
            by_rate.setdefault(_rate(trace), []).append(trace)
    records = []
    for rate, group in by_rate.items():
        start_ns = min(int(trace.stats.starttime.ns) for trace in group)
        pieces = _pieces(group, components, start_ns, rate)
        for first, last in _stretches(pieces):
            if last - first >= SHORTEST_S * rate:
                samples = _cut(pieces, first, last)
                begin_ns = start_ns + samples_to_ns(first, rate)
                records.append(_record(station, begin_ns, rate, samples, components))
    records.sort(key=lambda record: record.start_ns)
    if len(records) < 2:
        return records
    return [replace(r, name=f"{station}.{r.start_ns // NS}") for r in records]


def _rate(trace: Any) -> Fraction:
    return Fraction(trace.stats.sampling_rate).limit_denominator(1000)


def _record(
    station: str,
    start_ns: int,
    rate: Fraction,
    columns: dict[int, NDArray[Any]],
    components: dict[str, int],
) -> Record:
    channels = {component: channel for channel, component in components.items()}
    return Record(
        name=station,
        station_id=station,
        start_ns=start_ns,
        rate=rate,
        samples=stack(columns, len(next(iter(columns.values())))),
        units="counts",
        continuous=True,
        channels=tuple(channels[k] if k in columns else "" for k in range(3)),
    )


def _pieces(
    traces: list[Any], components: dict[str, int], start_ns: int, rate: Fraction
) -> list[_Piece]:
    """Each component's samples on the station's grid, without overlaps, in order of time."""
    pieces: list[_Piece] = []
    ends: dict[int, int] = {}
    for trace in sorted(traces, key=lambda t: int(t.stats.starttime.ns)):
        component = components[trace.id]
        first = ns_to_samples(int(trace.stats.starttime.ns) - start_ns, rate)
        end = ends.get(component, first)
        known = max(end - first, 0)
        if known < len(trace):
            pieces.append(_Piece(component, first + known, np.asarray(trace.data)[known:]))
            ends[component] = pieces[-1].end
    return pieces


def _stretches(pieces: list[_Piece]) -> Iterator[tuple[int, int]]:
    """(first, last) samples between which the same components are recorded throughout."""
    changes: dict[int, dict[int, int]] = {}  # where -> component -> one more piece or one less
    for piece in pieces:
        for where, step in ((piece.first, 1), (piece.end, -1)):
            change = changes.setdefault(where, {})
            change[piece.component] = change.get(piece.component, 0) + step
    present: set[int] = set()
    began = 0
    for where in sorted(changes):
        after = present ^ {component for component, step in changes[where].items() if step}
        if after != present:
            if present:
                yield began, where
            began, present = where, after


def _cut(pieces: list[_Piece], first: int, last: int) -> dict[int, NDArray[Any]]:
    """Component -> its samples from `first` to `last`."""
    parts: dict[int, list[NDArray[Any]]] = {}
    for piece in pieces:
        cut = piece.samples[max(first - piece.first, 0) : max(last - piece.first, 0)]
        if len(cut):
            parts.setdefault(piece.component, []).append(cut)
    return {component: np.concatenate(cuts) for component, cuts in parts.items()}
