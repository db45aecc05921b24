"""Scores of a picker: against labels, over whole recordings, as a box picks them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from converters.datasets import Record, read_records
from converters.voting import Floats, vote
from models.conditioning import RATE
from models.peaks import find_peaks
from models.picker import WINDOW, Picker

PHASES = ("P", "S")
TOLERANCE_S = 0.5
AROUND_S = 10.0  # of a labelled record, only this much around its arrivals is known to be complete
POSITIONS_S = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 28.0, 29.0, 29.5)


@dataclass(frozen=True)
class Voted:
    """A recording, what its labels say and what the picker voted."""

    labels: dict[str, list[float]]  # phase -> seconds
    span: tuple[float, float]  # seconds: the part in which labels are complete
    curves: Floats  # shape (n, 3), 100 Hz
    delay_s: float

    def picks(self, phase: str, threshold: float) -> list[float]:
        """Seconds after the first sample."""
        peaks = find_peaks(self.curves[:, PHASES.index(phase)], threshold)
        times = [at / RATE - self.delay_s for at, _ in peaks]
        return [t for t in times if self.span[0] <= t < self.span[1]]


@dataclass
class Tally:
    """Hits, misses and false picks of one phase."""

    labels: int = 0
    picks: int = 0
    residuals: list[float] = field(default_factory=list)  # pick − label, s

    def figures(self) -> dict[str, Any]:
        hits = len(self.residuals)
        recall = hits / self.labels if self.labels else None
        precision = hits / self.picks if self.picks else None
        found = np.array(self.residuals) if hits else np.array([np.nan])
        return {
            "labels": self.labels,
            "picks": self.picks,
            "hits": hits,
            "precision": _rounded(precision),
            "recall": _rounded(recall),
            "f1": _rounded(2 * hits / (self.labels + self.picks) if hits else 0.0),
            "residual_mean_s": _rounded(float(found.mean())) if hits else None,
            "residual_std_s": _rounded(float(found.std())) if hits else None,
            "residual_mae_s": _rounded(float(np.abs(found).mean())) if hits else None,
        }


def score(dataset: Path, artefact: Path, threshold: float) -> dict[str, Any]:
    """Figures at one threshold, and at those of the card.

    Precision counts every pick that nobody labelled as false: where labels are incomplete, as in
    analysts' lists of small events, it is a lower bound. Raises DatasetError, ModelError.
    """
    picker = Picker(artefact)
    records = list(read_records(dataset))
    began = time.process_time()
    voted = vote_all(picker.probabilities, records)
    windows = sum(1 + (len(v.curves) - WINDOW) // RATE for v in voted)
    spent = time.process_time() - began
    figures = {
        "dataset": dataset.name,
        "model": f"{picker.card.name} {picker.card.version} {picker.card.sha256[:12]}",
        "engine": picker.engine,
        "records": len(voted),
        "cpu_ms_per_window": round(1e3 * spent / windows, 3),  # voting included
        "threshold": threshold,
        **compare(voted, dict.fromkeys(PHASES, threshold)),
        "card": {
            "thresholds": picker.thresholds,
            **compare(voted, picker.thresholds),
        },
    }
    if not any(record.continuous for record in records):
        figures["recall_by_position"] = sweep(picker.probabilities, records, threshold)
    return figures


def vote_all(picker: Callable[[Floats], Floats], records: Iterable[Record]) -> list[Voted]:
    """Every record of at least one window, picked as a box would, ready to be compared."""
    voted = []
    for record in records:
        samples = record.conditioned()
        if len(samples) < WINDOW:
            continue
        labels = {p: [a.seconds for a in record.arrivals if a.phase == p] for p in PHASES}
        span = (0.0, np.inf)
        if record.arrivals and not record.continuous:
            known = [a.seconds for a in record.arrivals]
            span = (min(known) - AROUND_S, max(known) + AROUND_S)
        voted.append(Voted(labels, span, vote(picker, samples), record.delay_s))
    return voted


def compare(voted: Iterable[Voted], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Phase -> figures, and the confusion table: label -> what was picked there."""
    tallies = {phase: Tally() for phase in PHASES}
    confusion = {row: dict.fromkeys((*PHASES, "none"), 0) for row in (*PHASES, "none")}
    for recording in voted:
        picks = {phase: recording.picks(phase, thresholds[phase]) for phase in PHASES}
        for phase, other in zip(PHASES, reversed(PHASES), strict=True):
            labels, tally = recording.labels[phase], tallies[phase]
            residuals = match(labels, picks[phase])
            tally.labels += len(labels)
            tally.picks += len(picks[phase])
            tally.residuals += [r for r in residuals if r is not None]
            for at, residual in zip(labels, residuals, strict=True):
                mistaken = any(abs(t - at) <= TOLERANCE_S for t in picks[other])
                answer = phase if residual is not None else other if mistaken else "none"
                confusion[phase][answer] += 1
            unclaimed = match(picks[phase], labels + recording.labels[other])
            confusion["none"][phase] += unclaimed.count(None)
    return {phase: tally.figures() for phase, tally in tallies.items()} | {"confusion": confusion}


def match(labels: list[float], picks: list[float]) -> list[float | None]:
    """For each label its pick's residual (s), None without one; closest pairs first."""
    pairs = sorted(
        (abs(pick - label), i, k)
        for i, label in enumerate(labels)
        for k, pick in enumerate(picks)
        if abs(pick - label) <= TOLERANCE_S
    )
    residuals: list[float | None] = [None] * len(labels)
    taken: set[int] = set()
    for _, i, k in pairs:
        if residuals[i] is None and k not in taken:
            residuals[i] = picks[k] - labels[i]
            taken.add(k)
    return residuals


def sweep(
    picker: Callable[[Floats], Floats], records: Iterable[Record], threshold: float
) -> dict[str, dict[str, Any]]:
    """Recall of P from single windows, by where in the window P stands (s)."""
    tallies = {position: Tally() for position in POSITIONS_S}
    for record in records:
        samples = record.conditioned()
        onsets = [a.seconds + record.delay_s for a in record.arrivals if a.phase == "P"]
        for onset, (position, tally) in product(onsets, tallies.items()):
            start = round((onset - position) * RATE)
            if not 0 <= start <= len(samples) - WINDOW:
                continue
            curve = picker(samples[start : start + WINDOW])[:, 0]
            picks = [(start + peak) / RATE for peak, _ in find_peaks(curve, threshold)]
            tally.labels += 1
            tally.residuals += [r for r in match([onset], picks) if r is not None]
    return {
        str(position): {"records": tally.labels, "recall": tally.figures()["recall"]}
        for position, tally in tallies.items()
    }


def describe(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [
        f"{figures['dataset']}: {figures['records']} records, {figures['model']} on "
        f"{figures['engine']}, {figures['cpu_ms_per_window']} ms of CPU per window",
        "phase threshold labels picks  hits precision recall    F1  mean s   std s   MAE s",
    ]
    for scores, thresholds in (
        (figures, dict.fromkeys(PHASES, figures["threshold"])),
        (figures["card"], figures["card"]["thresholds"]),
    ):
        for phase in PHASES:
            row = scores[phase]
            cells = [
                _cell(row[name], width)
                for name, width in (
                    ("labels", 6),
                    ("picks", 5),
                    ("hits", 5),
                    ("precision", 9),
                    ("recall", 6),
                    ("f1", 5),
                    ("residual_mean_s", 7),
                    ("residual_std_s", 7),
                    ("residual_mae_s", 7),
                )
            ]
            lines.append(f"{phase:5} {thresholds[phase]:9.2f} " + " ".join(cells))
    confusion = figures["confusion"]
    lines += ["labelled as, picked as:      P      S   none"]
    lines += [
        f"{row:24}" + "".join(f"{n:7d}" for n in counts.values())
        for row, counts in confusion.items()
    ]
    for position, part in figures.get("recall_by_position", {}).items():
        lines.append(f"P at {position:>4} s: recall {part['recall']} of {part['records']}")
    return "\n".join(lines)


def _cell(value: float | None, width: int) -> str:
    if value is None:
        return "–".rjust(width)
    return (f"{value:.3f}" if isinstance(value, float) else str(value)).rjust(width)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
