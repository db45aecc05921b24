"""What no picker can do better, as far as the labels tell: where independent pickers agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.evidence.found import Found
from bench.evidence.page import table
from converters.score_picker import PHASES, TOLERANCE_S, match

TOGETHER_S = 0.3  # picks of different pickers that are closer are the same


@dataclass(frozen=True)
class Errors:
    """Residuals (pick − label, s) of two pickers that never saw each other, at the same labels.

    own_s: standard deviation of what each gets wrong by itself, if their errors were independent
    labels_s: of what they get wrong together: the label, or the place where an onset begins
    """

    count: int
    correlation: float
    own_s: float
    labels_s: float


def errors(
    one: list[Found], other: list[Found], phase: str, thresholds: tuple[float, float]
) -> Errors:
    """How much of the residuals is the labels': the covariance of two independent pickers."""
    pairs = [
        pair
        for a, b in zip(one, other, strict=True)
        for pair in zip(
            match(a.labels[phase], a.picks(phase, thresholds[0])),
            match(b.labels[phase], b.picks(phase, thresholds[1])),
            strict=True,
        )
        if None not in pair
    ]
    residuals = np.array(pairs, np.float64)
    covariance = np.cov(residuals.T)
    return Errors(
        len(pairs),
        float(np.corrcoef(residuals.T)[0, 1]),
        float(np.sqrt(np.var(residuals[:, 0] - residuals[:, 1]) / 2)),
        float(np.sqrt(max(covariance[0, 1], 0.0))),
    )


@dataclass(frozen=True)
class Ceiling:
    """Of one phase in one set: labels at which no picker has a pick within ±0.5 s, and picks
    that all of them make where nothing is labelled."""

    labels: int
    missed_by_all: int
    false_of_all: int

    @property
    def f1(self) -> float:
        """Of a picker that errs only where all others do."""
        hits = self.labels - self.missed_by_all
        return 2 * hits / (self.labels + hits + self.false_of_all)


def ceiling(found: list[list[Found]], phase: str, thresholds: list[float]) -> Ceiling:
    """found: of each picker, the same recordings."""
    labels = missed = false = 0
    for recordings in zip(*found, strict=True):
        told = recordings[0].labels[phase]
        picks = [f.picks(phase, t) for f, t in zip(recordings, thresholds, strict=True)]
        answers = [match(told, own) for own in picks]
        labels += len(told)
        missed += sum(all(a[k] is None for a in answers) for k in range(len(told)))
        false += sum(
            all(abs(at - label) > TOLERANCE_S for label in told)
            and all(any(abs(at - their) <= TOGETHER_S for their in own) for own in picks[1:])
            for at in picks[0]
        )
    return Ceiling(labels, missed, false)


Seen = dict[str, dict[str, list[Found]]]  # set -> picker -> recordings; ours, and two peers


def errors_table(seen: Seen, thresholds: dict[str, dict[str, float]]) -> str:
    """Of the two peers. thresholds: picker -> phase -> threshold."""
    rows = []
    for name, by in seen.items():
        _, one, other = by
        for phase in PHASES:
            e = errors(
                by[one], by[other], phase, (thresholds[one][phase], thresholds[other][phase])
            )
            values = (e.correlation, e.own_s, e.labels_s)
            rows.append([f"{name}, {phase}", str(e.count), *(f"{value:.3f}" for value in values)])
    head = ["residuals of RED-PAN and PhaseNet", "labels", "correlation", "own (s)", "shared (s)"]
    return table(head, rows)


def ceilings_table(seen: Seen, thresholds: dict[str, dict[str, float]]) -> str:
    """Of all three."""
    rows = []
    for name, by in seen.items():
        for phase in PHASES:
            c = ceiling(list(by.values()), phase, [thresholds[picker][phase] for picker in by])
            counts = (c.labels, c.missed_by_all, c.false_of_all)
            rows.append([f"{name}, {phase}", *map(str, counts), f"{c.f1:.3f}"])
    head = ["ours, RED-PAN and PhaseNet", "labels", "missed by all", "false of all", "F1 at best"]
    return table(head, rows)
