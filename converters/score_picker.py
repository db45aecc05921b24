"""Scores of a picker: against labels, over whole recordings, as a box picks them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from converters.datasets import DatasetError, Record, read_records
from converters.progress import watched
from converters.voting import BEGINS, Floats, vote
from models.conditioning import RATE
from models.peaks import find_peaks
from models.picker import WINDOW, Picker

PHASES = ("P", "S")
TOLERANCE_S = 0.5
AROUND_S = 10.0  # of a labelled record, only this much around its arrivals is known to be complete
POSITIONS_S = tuple(range(2, 29, 2))  # of P in the window
Probabilities = Callable[[Floats], Floats]  # a picker's, (3000, 3) -> (3000, 3)
Positions = dict[str, dict[str, dict[str, Any]]]  # phase -> position of P (s) -> figures


class Picked(Protocol):
    """A recording, what its labels say and what a picker found."""

    @property
    def labels(self) -> Mapping[str, list[float]]:
        """Phase -> seconds after the first sample."""

    def picks(self, phase: str, threshold: float) -> list[float]:
        """Seconds after the first sample, within the part where labels are complete."""


@dataclass(frozen=True)
class Voted:
    """A recording with the whole vote of a picker."""

    labels: dict[str, list[float]]  # phase -> seconds
    span: tuple[float, float]  # seconds: the part in which labels are complete
    curves: Floats  # shape (n, 3), 100 Hz
    delay_s: float

    def picks(self, phase: str, threshold: float) -> list[float]:
        """Seconds after the first sample, within the span."""
        return [at for at, _ in self.peaks(phase, threshold)]

    def peaks(self, phase: str, threshold: float) -> list[tuple[float, float]]:
        """The same, each with its probability."""
        found = find_peaks(self.curves[:, PHASES.index(phase)], threshold)
        times = [(at / RATE - self.delay_s, height) for at, height in found]
        return [(t, height) for t, height in times if self.span[0] <= t < self.span[1]]


@dataclass
class Tally:
    """Hits, misses and false picks of one phase."""

    labels: int = 0
    picks: int = 0
    residuals: list[float] = field(default_factory=list)  # pick − label, s

    def counts(self) -> dict[str, Any]:
        hits = len(self.residuals)
        recall = hits / self.labels if self.labels else None
        precision = hits / self.picks if self.picks else None
        return {
            "labels": self.labels,
            "picks": self.picks,
            "hits": hits,
            "precision": _rounded(precision),
            "recall": _rounded(recall),
            "f1": _rounded(2 * hits / (self.labels + self.picks) if hits else 0.0),
        }

    def figures(self) -> dict[str, Any]:
        hits = len(self.residuals)
        found = np.array(self.residuals) if hits else np.array([np.nan])
        return {
            **self.counts(),
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
    voted = vote_all(picker.probabilities, watched(records, artefact.name), picker.window)
    if not voted:
        raise DatasetError(f"{dataset}: no record of {picker.window / RATE:g} s, a window")
    windows = sum(1 + (len(v.curves) - BEGINS) // RATE for v in voted)
    spent = time.process_time() - began
    figures = {
        "dataset": dataset.name,
        "model": f"{picker.card.name} {picker.card.version} {picker.card.sha256[:12]}",
        "engine": picker.engine,
        "records": len(voted),
        "cpu_ms_per_window": round(1e3 * spent / windows, 3),  # with voting
        "threshold": threshold,
        **compare(voted, dict.fromkeys(PHASES, threshold)),
        "card": {
            "thresholds": picker.thresholds,
            **compare(voted, picker.thresholds),
        },
    }
    if picker.window != WINDOW:
        return figures
    by_position = sweep(picker.probabilities, records, dict.fromkeys(PHASES, threshold))
    return figures | ({"by_p_position_s": by_position} if by_position else {})


def vote_all(picker: Probabilities, records: Iterable[Record], window: int = WINDOW) -> list[Voted]:
    """Every record of at least one window, picked as a box would, ready to be compared."""
    voted = []
    for record in records:
        samples = record.conditioned()
        if len(samples) < window:
            continue
        curves = vote(picker, samples, window=window)
        voted.append(Voted(labels_of(record), span_of(record), curves, record.delay_s))
    return voted


def labels_of(record: Record) -> dict[str, list[float]]:
    """Phase -> seconds."""
    return {p: [a.seconds for a in record.arrivals if a.phase == p] for p in PHASES}


def span_of(record: Record) -> tuple[float, float]:
    """Seconds between which a pick that nobody labelled is a false one."""
    if not record.arrivals or record.continuous:
        return 0.0, np.inf
    known = [a.seconds for a in record.arrivals]
    return min(known) - AROUND_S, max(known) + AROUND_S


def compare(voted: Iterable[Picked], thresholds: Mapping[str, float]) -> dict[str, Any]:
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
    picker: Probabilities, records: Iterable[Record], thresholds: Mapping[str, float]
) -> Positions:
    """Figures from single windows, without a vote, by where in the window P stands.

    Only earthquakes whose record goes on long enough for every position, so that all positions
    see the same ones; empty without any. S counts where the window holds it. A pick is false
    within AROUND_S of the arrivals where no arrival of its phase is labelled.
    """
    tallies = {position: {phase: Tally() for phase in PHASES} for position in POSITIONS_S}
    for record in records:
        earthquakes = list(_earthquakes(record))
        if not earthquakes:
            continue
        samples = record.conditioned()
        labels = {p: [t + record.delay_s for t in times] for p, times in labels_of(record).items()}
        for earthquake in earthquakes:
            starts = [round((earthquake["P"] - p) * RATE) for p in POSITIONS_S]
            if min(starts) < 0 or max(starts) + WINDOW > len(samples):
                continue
            for start, position in zip(starts, POSITIONS_S, strict=True):
                curves = picker(samples[start : start + WINDOW])
                _count(tallies[position], curves, start / RATE, earthquake, labels, thresholds)
    if not tallies[POSITIONS_S[0]]["P"].labels:
        return {}
    return {
        phase: {str(p): by_phase[phase].counts() for p, by_phase in tallies.items()}
        for phase in PHASES
    }


def variation(by_position: Mapping[str, Mapping[str, Any]]) -> float:
    """By how much F1 varies between positions: position -> figures."""
    scores = [figures["f1"] for figures in by_position.values()]
    return float(round(max(scores) - min(scores), 4))


def _earthquakes(record: Record) -> Iterator[dict[str, float]]:
    """Each P with the S that follows before the next P: phase -> seconds in what a model sees."""
    labels = labels_of(record)
    onsets = sorted(labels["P"])
    for p, following in zip(onsets, [*onsets, np.inf][1:], strict=True):
        s = [t for t in labels["S"] if p < t < following]
        arrivals = {"P": p} | ({"S": min(s)} if s else {})
        yield {phase: t + record.delay_s for phase, t in arrivals.items()}


def _count(
    tallies: dict[str, Tally],
    curves: Floats,
    start_s: float,
    earthquake: Mapping[str, float],
    labels: Mapping[str, list[float]],
    thresholds: Mapping[str, float],
) -> None:
    """Add one window to the tallies of its position."""
    end_s = start_s + len(curves) / RATE
    first, last = min(earthquake.values()) - AROUND_S, max(earthquake.values()) + AROUND_S
    for phase, tally in tallies.items():
        peaks = find_peaks(curves[:, PHASES.index(phase)], thresholds[phase])
        picks = [start_s + at / RATE for at, _ in peaks]
        onset = [t for t in (earthquake.get(phase, np.inf),) if t < end_s - TOLERANCE_S]
        hits = [r for r in match(onset, picks) if r is not None]
        near = [t for t in picks if first <= t < last]
        tally.labels += len(onset)
        tally.residuals += hits
        tally.picks += len(hits) + match(near, labels[phase]).count(None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
