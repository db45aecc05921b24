"""What is for training, what for validation and what for testing, by event and by station."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from converters.records import Record

Fold = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Split:
    """Records by fold; `left_out` counts those that would tie two folds together."""

    train: list[Record]
    validation: list[Record]
    test: list[Record]
    left_out: int


def split(records: Iterable[Record], seed: int = 0) -> Split:
    """The records by event and station together: no two folds share an event or a station.

    Whole continuous records hold events of every fold, and would nearly all be left out: give
    what `by_event` makes of them.
    """
    folds: dict[Fold | None, list[Record]] = {
        "train": [],
        "validation": [],
        "test": [],
        None: [],
    }
    for record in records:
        folds[fold_of(record, seed)].append(record)
    return Split(folds["train"], folds["validation"], folds["test"], len(folds[None]))


def by_event(record: Record, lead_s: float = 30.0, tail_s: float = 60.0) -> Iterator[Record]:
    """A continuous record as one record per event in it, so that it can be split by event.

    Each from `lead_s` before the event's first arrival to `tail_s` after its last; arrivals of
    other events in between come along, and tie the two together. Any other record comes as it is.
    """
    if not record.continuous:
        yield record
        return
    for event_id in sorted(record.event_ids):
        times = [a.seconds for a in record.arrivals if a.event_id == event_id]
        first, last = round((min(times) - lead_s) * record.rate), max(times) + tail_s
        yield record.part(first, round(last * record.rate), f"{record.name}.{event_id}")


def fold_of(record: Record, seed: int = 0) -> Fold | None:
    """The fold that the record's station and all of its events fall into; None if they differ.

    It hangs on their names alone, not on what other records there are. A fifth of the stations
    and of the events is for testing, a tenth of the rest for validation. With seed 0, the test
    stations are those of `is_test_fold`.
    """
    names = {*record.event_ids, record.station_id or record.name}
    folds = {_fold(name, seed) for name in names}
    return folds.pop() if len(folds) == 1 else None


def _fold(name: str, seed: int) -> Fold:
    digest = hashlib.sha256((f"{seed}:{name}" if seed else name).encode()).digest()
    if digest[0] % 5 == 0:
        return "test"
    return "validation" if digest[1] % 10 == 0 else "train"


def is_test_fold(station_id: str) -> bool:
    """Whether a station belongs to the fifth of stations that no model is trained on."""
    return _fold(station_id, 0) == "test"
