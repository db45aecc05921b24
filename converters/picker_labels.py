"""What the picker learns from: recordings with the labels of analysts and of a teacher."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from converters.augment import Floats, Generator, Stretch
from converters.datasets import (
    Record,
    is_test_fold,
    read_continuous,
    read_miniseed,
    read_seisbench,
)
from converters.teachers import RedPan
from converters.voting import vote
from models.conditioning import RATE
from models.peaks import find_peaks
from models.picker import WINDOW

PHASES = ("P", "S")
SIGMA = (10.0, 12.0)  # samples, P and S; width of the target on an onset
TEACHER_DELAY = (1.0, 2.0)  # samples, P and S, by which the teacher trails analysts
TEACHER_LOWEST = 0.1  # lower peaks are no onsets
TEACHER_STRIDE = 200  # samples
APART = 100  # samples: a teacher's onset this close to an analyst's is the same one
VALIDATION = 300 * RATE  # samples at the end of an aftershock recording kept for validation
QUIET = 900 * RATE  # samples of ridgecrest_quiet learnt from; the rest, with its events, tests


def training_set(data: Path, cache: Path) -> list[Stretch]:
    """Stretches of the sets that the default picker may learn from.

    The teacher's votes, which take minutes, are kept in `cache`.
    """
    teacher = _teacher(data)
    labelled = [
        record
        for record in read_seisbench(data / "labelled" / "ncedc_stead")
        if not is_test_fold(record.station_id)
    ]
    turkiye = [read_miniseed(data / "turkiye_ceyt" / "CEYT1.mseed")]
    quiet = read_continuous(data / "ridgecrest_quiet")
    aftershocks = read_continuous(data / "ridgecrest_aftershocks")
    return [
        *_stretches(_label(labelled, teacher, cache / "ncedc_stead"), 0.30),
        *_stretches(_label(turkiye, teacher, cache / "turkiye"), 0.04),
        *_stretches(_label(quiet, teacher, cache / "quiet"), 0.16, slice(QUIET)),
        *_stretches(_label(aftershocks, teacher, cache / "aftershocks"), 0.50, slice(-VALIDATION)),
    ]


def validation_set(data: Path, cache: Path) -> list[Stretch]:
    """The end of each aftershock recording, as the teacher labels it."""
    aftershocks = read_continuous(data / "ridgecrest_aftershocks")
    labelled = _label(aftershocks, _teacher(data), cache / "aftershocks")
    return _stretches(labelled, 1.0, slice(-VALIDATION, None))


def _teacher(data: Path) -> RedPan:
    return RedPan(data / "weights" / "REDPAN_30s_v2.tflite")


def _stretches(
    labelled: list[tuple[Floats, Floats]], share: float, part: slice = slice(None)
) -> list[Stretch]:
    return [
        stretch(samples[part], targets[part], share / len(labelled))
        for samples, targets in labelled
    ]


def stretch(samples: Floats, targets: Floats, weight: float) -> Stretch:
    """A stretch whose onsets are those of its targets."""
    onsets = [at for k in range(2) for at, _ in find_peaks(targets[:, k], 0.3)]
    return Stretch(samples, targets, np.array(onsets, np.int64), weight)


def _label(records: Iterable[Record], teacher: RedPan, cache: Path) -> list[tuple[Floats, Floats]]:
    """Conditioned samples and targets of each record."""
    cache.mkdir(parents=True, exist_ok=True)
    labelled = []
    for record in records:
        samples = record.conditioned()
        file = cache / f"{record.name}.npy"
        if not file.exists():
            votes = vote(teacher.probabilities, samples, TEACHER_STRIDE)
            np.save(file, votes.astype(np.float16))
        labelled.append((samples, _targets(record, np.load(file).astype(np.float32))))
    return labelled


def _targets(record: Record, votes: Floats) -> Floats:
    """Gaussians on onsets: an analyst's of height 1, a teacher's as high as its vote."""
    targets = votes.copy()  # detection stays as the teacher says
    for k, phase in enumerate(PHASES):
        onsets = [(a.seconds * RATE, 1.0) for a in record.arrivals if a.phase == phase]
        known = np.array([at for at, _ in onsets])
        for at, height in find_peaks(votes[:, k], TEACHER_LOWEST):
            if not np.any(np.abs(known - at) < APART):
                onsets.append((at - TEACHER_DELAY[k], height))
        targets[:, k] = gaussians(len(votes), onsets, SIGMA[k])
    return targets


def gaussians(length: int, onsets: Iterable[tuple[float, float]], sigma: float) -> Floats:
    """The highest of Gaussians at (position, height) at each sample, shape (length,)."""
    curve = np.zeros(length, np.float32)
    for at, height in onsets:
        first = max(0, round(at - 5 * sigma))
        near = np.arange(first, min(length, round(at + 5 * sigma)))
        bell = height * np.exp(-0.5 * ((near - at) / sigma) ** 2)
        curve[near] = np.maximum(curve[near], bell)
    return curve


def synthetic_set(rng: Generator, count: int = 8) -> list[Stretch]:
    """Bursts in noise: enough to see that training runs, where there are no recordings."""
    return [_synthetic(rng) for _ in range(count)]


def _synthetic(rng: Generator) -> Stretch:
    n = 3 * WINDOW
    samples = rng.standard_normal((n, 3), np.float32)
    targets = np.zeros((n, 3), np.float32)
    p = int(rng.integers(WINDOW, 2 * WINDOW - 1000))
    s = p + int(rng.integers(100, 1000))
    for k, (at, strength, duration) in enumerate(((p, 10, 200), (s, 30, 400))):
        decay = np.exp(-np.arange(n - at) / duration)[:, None]
        samples[at:] += strength * decay * rng.standard_normal((n - at, 3))
        targets[:, k] = gaussians(n, [(at, 1.0)], SIGMA[k])
    targets[p : s + 500, 2] = 1
    return stretch(samples, targets, 1.0)
