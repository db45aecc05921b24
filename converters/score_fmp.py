"""Scores of a first-motion model against the readings of analysts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.datasets import DatasetError, Record, read_records
from models.conditioning import RATE
from models.fmp import BEFORE, CLARITIES, CLASSES, WINDOW, FirstMotion

PICK_ERRORS_S = (-0.1, -0.05, 0.0, 0.05, 0.1)
MARGIN = round(max(PICK_ERRORS_S) * RATE)
READ = CLASSES[:2]
SUREST = 0.86  # of the readings: what DiTingMotion's authors let it decide
EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # of the bins of a reliability diagram
Window = tuple[NDArray[np.float32], str]  # vertical around a pick, and how an analyst read it


class Reading(NamedTuple):
    """What an analyst said of a P."""

    samples: NDArray[np.float32]  # conditioned vertical, MARGIN more than a window on either side
    polarity: str
    clarity: str

    def window(self, late: int = 0) -> NDArray[np.float32]:
        """What a model sees where the pick is so many samples late."""
        return self.samples[MARGIN + late : MARGIN + late + WINDOW]


class Answer(NamedTuple):
    """What a model said of a reading."""

    up: float
    down: float
    undecided: float
    impulsive: float | None
    polarity: str  # of the analyst
    clarity: str

    @property
    def probability(self) -> float:
        """Of the likelier of up and down."""
        return max(self.up, self.down)

    @property
    def right(self) -> bool:
        """Whether the likelier of up and down is what the analyst read."""
        return READ[self.up < self.down] == self.polarity


def score(dataset: Path, artefact: Path, threshold: float) -> dict[str, Any]:
    """Figures at the analysts' picks, forced and at the threshold given, and at the card's.

    Raises DatasetError, ModelError.
    """
    model = FirstMotion(artefact)
    found = readings(read_records(dataset))
    figures = _figures(found, model, threshold)
    if not figures["readings"]:
        raise DatasetError(f"{dataset}: no P with a first motion")
    return {
        "dataset": dataset.name,
        "model": f"{model.card.name} {model.card.version} {model.card.sha256[:12]}",
        "engine": model.engine,
        **figures,
    }


def compare(records: Iterable[Record], model: FirstMotion) -> dict[str, Any]:
    """Forced to say up or down; at the card's threshold; and with picks that are off."""
    return _figures(readings(records), model)


def readings(records: Iterable[Record]) -> list[Reading]:
    """Every P whose first motion or clarity somebody has read, on a vertical that is alive."""
    found = []
    for record in records:
        arrivals = [a for a in record.arrivals if a.phase == "P" and (a.polarity or a.clarity)]
        vertical = record.conditioned()[:, 0] if arrivals else np.empty(0, np.float32)
        for arrival in arrivals:
            first = round((arrival.seconds + record.delay_s) * RATE) - BEFORE - MARGIN
            samples = vertical[max(first, 0) : first + WINDOW + 2 * MARGIN]
            if len(samples) == WINDOW + 2 * MARGIN and samples.any():
                found.append(Reading(samples, arrival.polarity, arrival.clarity))
    return found


def windows(records: Iterable[Record], shift_s: float = 0.0) -> Iterator[Window]:
    """What a model would see at each P whose first motion was read, picked `shift_s` late."""
    for reading in readings(records):
        if reading.polarity:
            yield reading.window(round(shift_s * RATE)), reading.polarity


def answers(found: Iterable[Reading], model: FirstMotion, late: int = 0) -> list[Answer]:
    """What the model says where the picks are so many samples late."""
    said = []
    for reading in found:
        probabilities, impulsive = model.judge(reading.window(late))
        said.append(Answer(*probabilities, impulsive, reading.polarity, reading.clarity))
    return said


def reliability(said: Iterable[Answer]) -> dict[str, dict[str, float]]:
    """Of the answers within each bin of probability: how many, how probable, how often right.

    Of an answer that is worth what it says, `probability` and `right` are alike.
    """
    said = [answer for answer in said if answer.polarity]
    bins = {}
    for low, high in pairwise(EDGES):
        inside = [a for a in said if low <= a.probability < high or a.probability == high == 1]
        if inside:
            bins[f"{low:g} to {high:g}"] = {
                "answers": len(inside),
                "probability": round(float(np.mean([a.probability for a in inside])), 4),
                "right": round(float(np.mean([a.right for a in inside])), 4),
            }
    return bins


def calibration_error(bins: dict[str, dict[str, float]]) -> float | None:
    """By how much probabilities are off on average (expected calibration error)."""
    count = sum(row["answers"] for row in bins.values())
    off = sum(row["answers"] * abs(row["probability"] - row["right"]) for row in bins.values())
    return round(off / count, 4) if count else None


def _figures(
    found: list[Reading], model: FirstMotion, threshold: float | None = None
) -> dict[str, Any]:
    late = {error: round(error * RATE) for error in PICK_ERRORS_S}
    by_error = {error: answers(found, model, samples) for error, samples in late.items()}
    read = [answer for answer in by_error[0.0] if answer.polarity]
    surest = sorted(read, key=lambda a: -a.probability)[: round(SUREST * len(read))]
    bins = reliability(answer for said in by_error.values() for answer in said)
    return {
        "readings": len(read),
        "forced": _accuracy(read),
        "surest_86_percent": _accuracy(surest),
        "calibration_error": calibration_error(bins),
        **({} if threshold is None else {"at_threshold": _decided(read, threshold)}),
        "card": _decided(read, model.threshold),
        "forced_by_pick_error_s": {
            f"{error:+g}": _accuracy([a for a in said if a.polarity])
            for error, said in by_error.items()
        },
        "reliability_with_these_pick_errors": bins,
        "clarity": _clarity(by_error[0.0]),
    }


def _accuracy(said: list[Answer]) -> float | None:
    return round(float(np.mean([answer.right for answer in said])), 4) if said else None


def _decided(read: list[Answer], threshold: float) -> dict[str, Any]:
    """Of the answers that are said (see `FirstMotion.classify`): how many, and how many right."""
    confusion = {label: dict.fromkeys(CLASSES, 0) for label in READ}
    for answer in read:
        decided = answer.probability >= max(threshold, answer.undecided)
        said = READ[answer.up < answer.down] if decided else "undecided"
        confusion[answer.polarity][said] += 1
    count = sum(row[said] for row in confusion.values() for said in READ)
    right = sum(confusion[label][label] for label in READ)
    return {
        "threshold": threshold,
        "decided": round(count / len(read), 4) if read else None,
        "accuracy": round(right / count, 4) if count else None,
        "confusion": confusion,
    }


def _clarity(said: list[Answer]) -> dict[str, Any]:
    """How onsets were read, and how they were found; empty where neither can be told."""
    confusion = {label: dict.fromkeys(CLARITIES, 0) for label in CLARITIES}
    for answer in said:
        if answer.clarity and answer.impulsive is not None:
            confusion[answer.clarity][CLARITIES[answer.impulsive < 0.5]] += 1
    shares = {
        label: row[label] / sum(row.values())
        for label, row in confusion.items()
        if any(row.values())
    }
    if not shares:
        return {}
    return {
        "balanced_accuracy": round(float(np.mean(list(shares.values()))), 4),
        "confusion": confusion,
    }
