"""Labelled recordings in one form, whatever they were read from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.fields import Clarity, Polarity
from models.conditioning import Conditioner
from ringbuffer.segment import samples_to_ns

COMPONENTS = "ZNE"


@dataclass(frozen=True)
class Arrival:
    """A labelled onset."""

    phase: str  # P or S
    seconds: float  # after the first sample
    polarity: Polarity = ""  # empty where nobody could or would read it
    clarity: Clarity = ""
    name: str = ""  # of the phase as it was labelled: Pg, Sn
    event_id: str = ""  # where a record holds several events


@dataclass(frozen=True)
class Event:
    """A line of a catalogue."""

    event_id: str
    time_ns: int
    latitude: float
    longitude: float
    depth_km: float | None = None
    magnitude: float | None = None


@dataclass(frozen=True)
class Record:
    """Three components of one station, Z, N (or 1), E (or 2); a missing one is zeros.

    samples: shape (n, 3), as recorded (counts or physical units: `units`)
    What the labels do not say is empty or None, never 0.
    """

    name: str
    station_id: str
    start_ns: int
    rate: Fraction
    samples: NDArray[Any]
    arrivals: tuple[Arrival, ...] = ()  # in order of time, none outside the record
    units: str = ""
    continuous: bool = False  # what its labels leave out, they deny
    channels: tuple[str, ...] = ()  # NET.STA.LOC.CHA of each component, where known
    event_id: str = ""
    magnitude: float | None = None
    magnitude_type: str = ""  # as labelled, in small letters: ml, mw
    distance_km: float | None = None  # epicentral
    back_azimuth_deg: float | None = None  # 0 to 360
    kind: str = ""  # earthquake, noise, explosion, collapse, other
    events: tuple[Event, ...] = ()  # those of its arrivals that the set's catalogue has
    split: str = ""  # where the data set itself puts it: train, dev, test
    metadata: dict[str, str] = field(default_factory=dict)  # the row it was labelled in

    @property
    def event_ids(self) -> frozenset[str]:
        """The events that are known to be in it."""
        ids = {self.event_id, *(arrival.event_id for arrival in self.arrivals)}
        return frozenset(ids - {""})

    def part(self, first: int, last: int, name: str) -> Record:
        """Samples first (included) to last (excluded), with the arrivals among them."""
        begin, end = max(first, 0), min(last, len(self.samples))
        moved = (replace(a, seconds=a.seconds - float(begin / self.rate)) for a in self.arrivals)
        arrivals = placed(moved, end - begin, self.rate)
        return replace(
            self,
            name=name,
            start_ns=self.start_ns + samples_to_ns(begin, self.rate),
            samples=self.samples[begin:end],
            arrivals=arrivals,
            events=tuple(e for e in self.events if e.event_id in {a.event_id for a in arrivals}),
        )

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


def placed(arrivals: Iterable[Arrival], samples: int, rate: Fraction) -> tuple[Arrival, ...]:
    """Arrivals within a record, in order of time; a time labelled twice counts once."""
    unique: dict[tuple[str, float], Arrival] = {}
    for arrival in arrivals:
        if 0 <= arrival.seconds < samples / rate:
            unique.setdefault((arrival.phase, round(arrival.seconds, 3)), arrival)
    return tuple(sorted(unique.values(), key=lambda a: (a.seconds, a.phase)))


def stack(columns: dict[int, NDArray[Any]], count: int) -> NDArray[Any]:
    """Columns by component -> shape (count, 3), zeros where a component or a sample is missing.

    Whole numbers that fit become int32, everything else float64.
    """
    whole = all(
        np.issubdtype(c.dtype, np.integer) and np.abs(c, dtype=np.float64).max(initial=0) < 2**31
        for c in columns.values()
    )
    samples = np.zeros((count, len(COMPONENTS)), np.int32 if whole else np.float64)
    for component, column in columns.items():
        samples[:, component] = column if whole else np.nan_to_num(column, posinf=0, neginf=0)
    return samples
