"""What each picker finds in each set: computed once for an artefact, then kept in a folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from converters.datasets import DatasetError, Record, is_test_fold, read_continuous, read_seisbench
from converters.progress import watched
from converters.score_picker import (
    PHASES,
    Positions,
    Probabilities,
    Voted,
    labels_of,
    match,
    span_of,
    sweep,
)
from converters.voting import vote
from models.card import sha256

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 0.05  # peaks below are not kept
QUIET_S = 900.0  # of ridgecrest_quiet, the first part was noise in the training of ours
JUDGES = ("converters/voting.py", "models/peaks.py", "models/conditioning.py")
FEW = {True: 1, False: 20}  # recordings, continuous or not, of each set with --fast


@dataclass(frozen=True)
class Contestant:
    """A picker that takes part.

    artefact: its hash names what is kept of it. thresholds: at which it is used.
    """

    name: str
    artefact: Path
    thresholds: dict[str, float]
    load: Callable[[], Probabilities]


@dataclass(frozen=True)
class Found:
    """What a picker found in a recording. peaks: phase -> (s, probability)."""

    labels: dict[str, list[float]]
    peaks: dict[str, list[tuple[float, float]]]

    def picks(self, phase: str, threshold: float) -> list[float]:
        """Seconds after the first sample."""
        return [at for at, height in self.peaks[phase] if height >= threshold]


def recordings(data: Path, fast: bool) -> dict[str, list[Record]]:
    """Name of a set -> its records; a set that is not there is left out with a line."""
    readers: dict[str, Callable[[], Iterator[Record]]] = {
        "ridgecrest_foreshocks": lambda: read_continuous(data / "ridgecrest_foreshocks"),
        "ridgecrest_quiet": lambda: map(_later, read_continuous(data / "ridgecrest_quiet")),
        "ncedc_stead": lambda: (
            record
            for record in read_seisbench(data / "labelled" / "ncedc_stead")
            if is_test_fold(record.station_id)
        ),
        "diting_sichuan": lambda: islice(
            read_seisbench(data / "labelled" / "diting_sichuan"), None, None, 5
        ),
    }
    sets = {}
    for name, reader in readers.items():
        try:
            records = list(reader())
        except DatasetError as error:
            print(f"left out: {error}")
            continue
        if fast and records:
            records = records[1 :: max(1, len(records) // FEW[records[0].continuous])]
        if records:
            sets[name] = records
    return sets


def _later(record: Record) -> Record:
    """What of a recording no training has seen."""
    first = round(QUIET_S * record.rate)
    return record.part(first, len(record.samples), record.name)


def find(contestant: Contestant, name: str, records: list[Record], work: Path) -> list[Found]:
    """What it finds in the set, by the median vote and the peaks of a box."""
    kept = _place(contestant, name, work)
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    new = [record for record in records if record.name not in known]
    if new:
        picker = contestant.load()
        for record in watched(new, f"{contestant.name}, {name}"):
            known[record.name] = _find(picker, record)
            if record.continuous or record is new[-1]:
                _keep(kept, known)
    found = [known[record.name] for record in records]
    return [Found(labels, peaks) for labels, peaks in found]


def sweep_through(
    contestant: Contestant, name: str, records: list[Record], work: Path
) -> Positions:
    """`converters.score_picker.sweep` at the contestant's thresholds."""
    thresholds = "-".join(str(value) for value in contestant.thresholds.values())
    kept = _place(contestant, f"{name} {len(records)} swept {thresholds}", work)
    if not kept.exists():
        told = watched(records, f"{contestant.name}, {name}, positions")
        _keep(kept, sweep(contestant.load(), told, contestant.thresholds))
    positions: Positions = json.loads(kept.read_text())
    return positions


def _find(picker: Probabilities, record: Record) -> tuple[Any, Any]:
    """(labels, peaks), as `Found`."""
    labels = labels_of(record)
    curves = vote(picker, record.conditioned())
    voted = Voted(labels, span_of(record), curves, record.delay_s)
    return labels, {phase: voted.peaks(phase, FLOOR) for phase in PHASES}


def _place(contestant: Contestant, name: str, work: Path) -> Path:
    """Another artefact, or another way of judging, is kept elsewhere."""
    judges = hashlib.sha256(b"".join((ROOT / file).read_bytes() for file in JUDGES)).hexdigest()
    words = f"{contestant.name} {sha256(contestant.artefact)[:10]} {name} {judges[:6]}"
    return work / "found" / f"{re.sub('[^A-Za-z0-9.]+', '-', words)}.json"


def _keep(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(content))
    unfinished.rename(file)


def equally_many(found: list[Found], phase: str, picks: int) -> float:
    """The threshold at which a picker makes at most so many picks."""
    heights = sorted((h for one in found for _, h in one.peaks[phase]), reverse=True)
    return float(np.nextafter(heights[picks], 1)) if picks < len(heights) else FLOOR


def reliability(found: list[Found], phase: str, edges: list[float]) -> list[tuple[float, int, int]]:
    """Mean probability, hits and picks of each bin of probability that holds any."""
    picks = []
    for one in found:
        times = [at for at, _ in one.peaks[phase]]
        hit = match(times, one.labels[phase])
        picks += [(h, r is not None) for (_, h), r in zip(one.peaks[phase], hit, strict=True)]
    bins = []
    for low, high in pairwise(edges):
        inside = [(h, right) for h, right in picks if low <= h < high]
        if inside:
            mean = float(np.mean([h for h, _ in inside]))
            bins.append((mean, sum(right for _, right in inside), len(inside)))
    return bins
