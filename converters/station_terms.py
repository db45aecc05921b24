"""Magnitudes at single stations as the sum of the earthquake's and the station's terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OUTLIER = 0.5  # of a magnitude: beyond it, a record counts for less (Huber 1964)
ROUNDS = 20


@dataclass(frozen=True)
class Terms:
    """magnitude = events[e] + stations[s] + what is left; the stations' terms are 0 on average."""

    events: dict[str, float]
    counts: dict[str, int]  # records of each event
    stations: dict[str, float]
    between: float  # standard deviation of the stations' terms
    within: float  # and of what is left, robust


def station_terms(
    magnitudes: Sequence[float], stations: Sequence[str], events: Sequence[str]
) -> Terms:
    """The terms of magnitudes, one for each record, by robust least squares.

    Whoever knows a station's term may take it off: it is what the ground there adds, at every
    earthquake, to what others see. ValueError without any record.
    """
    if not magnitudes:
        raise ValueError("magnitudes: none")
    names = [sorted(set(stations)), sorted(set(events))]
    columns = [
        np.array([index.index(name) for name in rows])
        for index, rows in zip(names, (stations, events), strict=True)
    ]
    values, count = np.asarray(magnitudes, float), len(names[0])
    design = np.zeros((len(values) + 1, count + len(names[1])))
    rows = np.arange(len(values))
    design[rows, columns[0]] = design[rows, count + columns[1]] = design[-1, :count] = 1
    weight = np.ones(len(values))
    for _ in range(ROUNDS):
        root = np.append(weight, 1.0) ** 0.5
        wanted = np.append(values, 0.0) * root
        solution = np.linalg.lstsq(design * root[:, None], wanted, rcond=None)[0]
        left = values - design[:-1] @ solution
        weight = np.minimum(1, OUTLIER / np.maximum(np.abs(left), OUTLIER))
    free = max(1, len(values) - design.shape[1] + 1)
    return Terms(
        events=dict(zip(names[1], solution[count:].tolist(), strict=True)),
        counts=dict(Counter(events)),
        stations=dict(zip(names[0], solution[:count].tolist(), strict=True)),
        between=float(np.std(solution[:count], ddof=min(1, count - 1))),
        within=float(np.sqrt(np.sum(weight * left**2) / free)),
    )
