"""What self-training came to, judged by association: nobody has labelled the recordings.

An arrival is true where the earthquakes of the picker before or after a round confirm it. A pick
is right where it is one of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloud.model import Phase
from converters.confirm import SAME_S
from converters.datasets import Record
from converters.picker_card import CANDIDATES
from converters.picker_labels import PHASES
from converters.score_picker import compare
from converters.selftrain_labels import Confirmation, Onsets
from ringbuffer.segment import NS

SPLIT = (0.7, 0.8)  # of the time recorded: until here to learn, until there to check, then to test
ONE_IN = 5  # stations teaches nothing, where there are so many
Span = tuple[int, int]  # ns


@dataclass(frozen=True)
class Plan:
    """What is learnt from, and what is kept to judge by."""

    elsewhere: frozenset[str]  # stations from which nothing is learnt
    here: frozenset[str]  # the others
    learn: Span
    check: Span  # for early stopping and thresholds
    test: Span  # no earthquake in it is learnt from

    def held_out(self) -> dict[str, tuple[frozenset[str], Span]]:
        """Name -> stations and time of what is kept to judge by."""
        whole = (self.learn[0], self.test[1])
        parts = {"other events": (self.here, self.test), "other stations": (self.elsewhere, whole)}
        return {name: part for name, part in parts.items() if part[0]}


@dataclass(frozen=True)
class Seen:
    """What one picker made of the recordings."""

    picker: str
    picked: Mapping[str, Onsets]
    thresholds: Mapping[Phase, float]
    known: Confirmation

    def picks(self, station_id: str, phase: Phase, span: Span) -> list[float]:
        """What it says there is, in seconds from the span's start."""
        return [
            (at - span[0]) / NS
            for at, probability in self.picked.get(station_id, {}).get(phase, [])
            if probability >= self.thresholds[phase] and span[0] <= at < span[1]
        ]


@dataclass(frozen=True)
class Judged:
    """Labels and picks of a station, in seconds, as `score_picker.compare` wants them."""

    labels: dict[str, list[float]]
    onsets: dict[str, list[tuple[float, float]]]  # phase -> time, probability

    def picks(self, phase: str, threshold: float) -> list[float]:
        """Times of those at or above a threshold."""
        return [at for at, probability in self.onsets[phase] if probability >= threshold]


def make_plan(records: Iterable[Record]) -> Plan:
    """A fifth of the stations, by a hash of their names, and the last fifth of the time."""
    stations: set[str] = set()
    starts, ends = [], []
    for record in records:
        stations.add(record.station_id)
        starts.append(record.start_ns)
        ends.append(record.start_ns + round(len(record.samples) / record.rate * NS))
    begin, end = min(starts, default=0), max(ends, default=0)
    until = [begin + round(part * (end - begin)) for part in SPLIT]
    ordered = sorted(stations, key=lambda name: hashlib.sha256(name.encode()).digest())
    elsewhere = frozenset(ordered[: len(ordered) // ONE_IN])
    spans = (begin, until[0]), (until[0], until[1]), (until[1], end)
    return Plan(elsewhere, frozenset(stations) - elsewhere, *spans)


def choose_thresholds(
    picked: Mapping[str, Onsets], taught: Confirmation, plan: Plan
) -> dict[Phase, float]:
    """Those at which a picker agrees best (F1) with what it was taught, on the part to check;
    picks where nobody was sure count neither way."""
    judged = [_checked(picked[name], name, taught, plan.check) for name in plan.here & set(picked)]
    scores = [compare(judged, dict.fromkeys(PHASES, candidate)) for candidate in CANDIDATES]
    return {
        phase: CANDIDATES[int(np.argmax([score[phase]["f1"] for score in scores]))]
        for phase in PHASES
    }


def _checked(own: Onsets, station_id: str, taught: Confirmation, span: Span) -> Judged:
    labels: dict[str, list[float]] = {}
    onsets: dict[str, list[tuple[float, float]]] = {}
    for phase in PHASES:
        true = np.array(taught.arrivals(station_id, phase), np.int64)
        doubtful = np.array(taught.doubtful(station_id, phase)).reshape(-1, 2)
        labels[phase] = [(at - span[0]) / NS for at in true if span[0] <= at < span[1]]
        onsets[phase] = [
            ((at - span[0]) / NS, probability)
            for at, probability in own[phase]
            if span[0] <= at < span[1]
            and (
                np.any(np.abs(true - at) <= SAME_S[phase] * NS)
                or not np.any(np.abs(doubtful[:, 0] - at) <= doubtful[:, 1] * NS)
            )
        ]
    return Judged(labels, onsets)


def judge(before: Seen, after: Seen, plan: Plan) -> dict[str, Any]:
    """Earthquakes and picks of the picker that taught and the one that learnt, and scores of
    both on what neither time nor station was learnt from."""
    return {
        role: {
            "picker": seen.picker,
            "thresholds": dict(seen.thresholds),
            "events": len(seen.known.origins),
            "picks": {p: _count(seen, p, plan) for p in PHASES},
            "confirmed": {
                p: sum(len(seen.known.arrivals(s, p)) for s in seen.picked) for p in PHASES
            },
        }
        | {
            name: _score(seen, (before, after), stations, span)
            for name, (stations, span) in plan.held_out().items()
        }
        for role, seen in (("before", before), ("after", after))
    }


def _count(seen: Seen, phase: Phase, plan: Plan) -> int:
    whole = (plan.learn[0], plan.test[1])
    return sum(len(seen.picks(station_id, phase, whole)) for station_id in seen.picked)


def _score(seen: Seen, both: Sequence[Seen], stations: Iterable[str], span: Span) -> dict[str, Any]:
    judged = [
        Judged(
            {p: _true(both, station_id, p, span) for p in PHASES},
            {p: [(at, 1.0) for at in seen.picks(station_id, p, span)] for p in PHASES},
        )
        for station_id in sorted(stations)
    ]
    figures = compare(judged, dict.fromkeys(PHASES, 0.5))
    return {p: {k: figures[p][k] for k in ("labels", "precision", "recall", "f1")} for p in PHASES}


def _true(both: Sequence[Seen], station_id: str, phase: Phase, span: Span) -> list[float]:
    """Arrivals that the earthquakes of either confirm, in seconds from the span's start."""
    kept: list[int] = []
    for at in sorted(at for seen in both for at in seen.known.arrivals(station_id, phase)):
        if span[0] <= at < span[1] and not (kept and at - kept[-1] <= SAME_S[phase] * NS):
            kept.append(at)
    return [(at - span[0]) / NS for at in kept]


def describe(report: dict[str, Any]) -> str:
    """A round in a few lines."""
    lines = [f"round {report['round']}: learnt from {report['learnt']}"]
    for role in ("before", "after"):
        seen = report[role]
        lines.append(
            f"  {role:6} {seen['picker']}: {seen['events']} events, "
            + ", ".join(
                f"{seen['picks'][p]} {p} ({seen['confirmed'][p]} confirmed)" for p in PHASES
            )
        )
        for name in ("other events", "other stations"):
            if name in seen:
                scores = ", ".join(
                    f"{p} recall {_figure(seen[name][p]['recall'])} "
                    f"precision {_figure(seen[name][p]['precision'])} F1 {seen[name][p]['f1']:.3f}"
                    for p in PHASES
                )
                lines.append(f"         {name}: {scores}")
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
