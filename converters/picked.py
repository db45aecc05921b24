"""Recordings that no analyst has picked, with the picks of a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from converters.datasets import Arrival, DatasetError, Record
from converters.picker_labels import PHASES, TEACHER_DELAYS, TEACHER_STRIDE
from converters.teachers import RedPan
from converters.voting import vote
from models.conditioning import RATE
from models.peaks import find_peaks

THRESHOLD = 0.3  # the one that its authors recommend


def picked(records: Iterable[Record], weights: Path, cache: Path) -> Iterator[Record]:
    """The records with the teacher's P and S as arrivals.

    weights: RED-PAN's TFLite file. Its votes, which take minutes, are kept in `cache`, in the
    form in which the picker's training keeps them. Raises DatasetError where it is missing.
    """
    if not weights.is_file():
        raise DatasetError(f"{weights}: no such file")
    teacher = RedPan(weights)
    cache.mkdir(parents=True, exist_ok=True)
    for record in records:
        file = cache / f"{record.name}.npy"
        if not file.exists():
            votes = vote(teacher.probabilities, record.conditioned(), TEACHER_STRIDE)
            np.save(file, votes.astype(np.float16))
        curves = np.load(file).astype(np.float32)
        arrivals = [
            Arrival(phase, (at - TEACHER_DELAYS["redpan"][k]) / RATE - record.delay_s)
            for k, phase in enumerate(PHASES)
            for at, _ in find_peaks(curves[:, k], THRESHOLD)
        ]
        yield replace(record, arrivals=tuple(sorted(arrivals, key=lambda a: a.seconds)))
