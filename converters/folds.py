"""What is for training, what for validation and what for testing, by event and by station."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
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
    """The records by event and station together: no two folds share an event or a station."""
    folds: dict[Fold | None, list[Record]] = {
        "train": [],
        "validation": [],
        "test": [],
        None: [],
    }
    for record in records:
        folds[fold_of(record, seed)].append(record)
    return Split(folds["train"], folds["validation"], folds["test"], len(folds[None]))


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
