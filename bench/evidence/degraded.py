"""The same earthquakes with less to see: components that are dead, data that never came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from bench.evidence.found import Contestant, find
from bench.evidence.page import table
from converters.datasets import Record
from converters.score_picker import PHASES, compare
from converters.voting import Floats
from models.conditioning import RATE

GAP_S, EVERY_S = 1.5, 15.0


class Gappy(Record):
    """A record of which a tenth is missing."""

    def conditioned(self) -> Floats:
        """As a box hands it on: zeros where nothing came."""
        samples = super().conditioned()
        missing = np.arange(len(samples)) % round(EVERY_S * RATE) >= round((EVERY_S - GAP_S) * RATE)
        samples[missing] = 0
        return samples


def _without(*components: int) -> Callable[[Record], Record]:
    def dead(record: Record) -> Record:
        samples = record.samples.copy()
        samples[:, components] = 0
        return replace(record, samples=samples)

    return dead


def _gappy(record: Record) -> Record:
    return Gappy(**{field.name: getattr(record, field.name) for field in fields(record)})


CASES: dict[str, Callable[[Record], Record]] = {
    "as recorded": lambda record: record,
    "one horizontal dead": _without(2),
    "the vertical alone": _without(1, 2),
    "the vertical dead": _without(0),
    f"{GAP_S:g} s missing every {EVERY_S:g} s": _gappy,
}


def degraded(picker: Contestant, name: str, records: list[Record], work: Path) -> str:
    """The table: what the picker finds in a set in each case, at its thresholds."""
    rows = []
    for case, spoil in CASES.items():
        found = find(picker, f"{name}, {case}", [spoil(record) for record in records], work)
        scores = compare(found, picker.thresholds)
        cells = [f"{scores[phase][key]:.3f}" for phase in PHASES for key in ("precision", "recall")]
        rows.append([case, *cells])
    head = [name, *(f"{phase}: {key}" for phase in PHASES for key in ("precision", "recall"))]
    return table(head, rows)
