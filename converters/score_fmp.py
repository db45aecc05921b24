"""Scores of a first-motion model against the readings of analysts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.datasets import DatasetError, Record, read_records
from models.conditioning import RATE
from models.fmp import BEFORE, CLASSES, WINDOW, FirstMotion

SHIFTS_S = (-0.1, -0.05, 0.05, 0.1)  # of the pick
READ = CLASSES[:2]
Window = tuple[NDArray[np.float32], str]  # vertical around a pick, and how an analyst read it


def score(dataset: Path, artefact: Path, threshold: float) -> dict[str, Any]:
    """Figures at the analysts' picks, forced and at the threshold given, and at the card's.

    Raises DatasetError, ModelError.
    """
    model = FirstMotion(artefact)
    records = list(read_records(dataset))
    figures = compare(records, model)
    if not figures["readings"]:
        raise DatasetError(f"{dataset}: no P with a first motion")
    at_threshold = _decided(list(windows(records)), model, threshold)
    return {
        "dataset": dataset.name,
        "model": f"{model.card.name} {model.card.version} {model.card.sha256[:12]}",
        "engine": model.engine,
        "threshold": threshold,
        "at_threshold": at_threshold,
        **figures,
    }


def windows(records: Iterable[Record], shift_s: float = 0.0) -> Iterator[Window]:
    """What the model would see at each P whose first motion was read, picked `shift_s` late."""
    for record in records:
        readings = [a for a in record.arrivals if a.phase == "P" and a.polarity in READ]
        if not readings:
            continue
        vertical = record.conditioned()[:, 0]
        for reading in readings:
            first = round((reading.seconds + record.delay_s + shift_s) * RATE) - BEFORE
            window = vertical[max(first, 0) : first + WINDOW]
            if len(window) == WINDOW and window.any():
                yield window, reading.polarity


def compare(records: list[Record], model: FirstMotion) -> dict[str, Any]:
    """Forced to say up or down; at the card's threshold; and with picks that are off."""
    read = list(windows(records))
    return {
        "readings": len(read),
        "forced": _forced(read, model),
        "card": _decided(read, model, model.threshold),
        "forced_by_pick_error_s": {
            f"{shift:+g}": _forced(list(windows(records, shift)), model) for shift in SHIFTS_S
        },
    }


def _forced(read: list[Window], model: FirstMotion) -> float | None:
    answers = [model.probabilities(window) for window, _ in read]
    right = [
        READ[int(np.argmax(a[:2]))] == label for a, (_, label) in zip(answers, read, strict=True)
    ]
    return round(float(np.mean(right)), 4) if right else None


def _decided(read: list[Window], model: FirstMotion, threshold: float) -> dict[str, Any]:
    confusion = {label: dict.fromkeys(CLASSES, 0) for label in READ}
    for window, label in read:
        up, down, _ = model.probabilities(window)
        answer = ("up" if up > down else "down") if max(up, down) >= threshold else "undecided"
        confusion[label][answer] += 1
    decided = sum(row[answer] for row in confusion.values() for answer in READ)
    right = sum(confusion[label][label] for label in READ)
    return {
        "threshold": threshold,
        "decided": round(decided / len(read), 4) if read else None,
        "accuracy": round(right / decided, 4) if decided else None,
        "confusion": confusion,
    }


def describe(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [
        f"{figures['dataset']}: {figures['readings']} first motions, {figures['model']} on "
        f"{figures['engine']}",
        f"forced to say up or down: {figures['forced']} right; with picks off by "
        + ", ".join(f"{k} s {v}" for k, v in figures["forced_by_pick_error_s"].items()),
    ]
    for part in (figures["at_threshold"], figures["card"]):
        lines.append(
            f"from {part['threshold']:.2f} on: {part['decided']} decided, {part['accuracy']} of "
            "these right"
        )
        lines.append(f"{'read as, found as:':24}" + "".join(f"{c:>12}" for c in CLASSES))
        lines += [
            f"{label:24}" + "".join(f"{row[c]:>12}" for c in CLASSES)
            for label, row in part["confusion"].items()
        ]
    return "\n".join(lines)
