"""What the first-motion model learns from: onsets whose sign is known, and noise laid over them.

Sure signs come from simulation, from analysts, and from onsets so clear that a rule reads them;
real noise then makes them as hard as those that analysts dispute.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from cloud.travel_times import TravelTimes
from converters.datasets import Record, is_test_fold, read_continuous, read_seisbench
from converters.picked import picked
from converters.simulator import VELOCITY
from converters.synthetics import Site, Source, ground_velocity, p_radiation, trace_path
from models.conditioning import RATE, band_pass
from models.fmp import BEFORE, CLASSES, WINDOW, normalise

Floats = NDArray[np.float32]
Generator = np.random.Generator
HALF = 200  # samples kept on either side of an onset
SIMULATED = 6000
NODAL = 0.1  # radiation below which coda hides the first motion
SWING = 8  # samples within which a first motion peaks
CLEAR = 5.0  # times the largest noise that the first swing of a rule's onset must reach
ABOVE = 1.2  # times that noise: where the first swing begins
MAIN = 0.05  # of what follows within 0.3 s that it must reach, or it may be a filter's precursor
LOST, PLAIN = 1.5, 2.5  # swing over noise (standard deviation): below nobody, above everybody sees
CLEANEST = 60.0
PICK_ERROR = 4.0  # samples, standard deviation
WORST_PICK = 12  # samples: picks off by more have no label ...
WRONG_PICK = 35  # ... and by more than this are undecided
UNDECIDED = CLASSES.index("undecided")


class Onset(NamedTuple):
    """A vertical around a P.

    samples: conditioned, any unit, shape (2 HALF,), the onset at HALF
    sign: 1 up, -1 down
    clean: whether noise may be laid over it to any level, since it has next to none
    """

    samples: Floats
    sign: int
    clean: bool


class Material(NamedTuple):
    """What batches are drawn from, and how much of them each group is."""

    onsets: tuple[tuple[list[Onset], float], ...]
    noises: list[Floats]  # conditioned verticals without P


def training_material(data: Path, cache: Path, seed: int) -> tuple[Material, Material]:
    """What to learn from, and the same of stations kept out."""
    aftershocks = list(
        picked(
            read_continuous(data / "ridgecrest_aftershocks"),
            data / "weights" / "REDPAN_30s_v2.tflite",
            cache / "aftershocks",
        )
    )
    labelled = list(read_seisbench(data / "labelled" / "ncedc_stead"))
    quiet = list(read_continuous(data / "ridgecrest_quiet"))
    parts = []
    for fold, groups in ((False, (0.45, 0.4, 0.15)), (True, (0.0, 0.75, 0.25))):
        stations = [r for r in quiet if is_test_fold(r.station_id) == fold]
        noises = [record.conditioned()[10 * RATE :, 0] for record in stations]
        sure = [o for r in aftershocks if is_test_fold(r.station_id) == fold for o in by_rule(r)]
        read = [o for r in labelled if is_test_fold(r.station_id) == fold for o in by_analysts(r)]
        made = list(simulated(0 if fold else SIMULATED, seed))
        onsets = tuple(zip((made, sure, read), groups, strict=True))
        parts.append(Material(onsets, noises))
    return parts[0], parts[1]


def simulated(count: int, seed: int) -> Iterator[Onset]:
    """Onsets of a double couple, noise-free; some begin weakly, as ruptures may."""
    rng = np.random.default_rng(seed)
    tables = TravelTimes(VELOCITY, max_distance_km=120, max_depth_km=25, max_elevation_km=2)
    made = 0
    while made < count:
        onset = _simulate(tables, rng)
        if onset is not None:
            made += 1
            yield onset


def _simulate(tables: TravelTimes, rng: Generator) -> Onset | None:
    path = trace_path(tables, 100 * rng.uniform() ** 1.5, 0.0, rng.uniform(2, 22), 500.0)
    source = Source(
        magnitude=rng.uniform(0, 4.5),
        strike=rng.uniform(0, 360),
        dip=rng.uniform(15, 90),
        rake=rng.uniform(-180, 180),
        stress_drop_pa=3e6 * np.exp(rng.normal(0, 1)),
    )
    radiation = p_radiation(source, path)
    if abs(radiation) < NODAL:
        return None
    site = Site(kappa_s=rng.uniform(0.005, 0.07))
    settle = 2 * RATE
    at = (settle + HALF + rng.uniform(-0.5, 0.5)) / RATE
    motion = ground_velocity(source, path, site, RATE, settle + 2 * HALF, at - path.p_time_s, rng)[
        :, 0
    ]
    if rng.uniform() < 0.5:  # a small beginning of the same rupture
        delay = int(rng.integers(3, 20))
        beginning = rng.uniform(0.05, 1) * motion
        beginning[delay:] += motion[:-delay]
        motion = beginning
    vertical = signal.sosfilt(band_pass(RATE), motion)[settle:].astype(np.float32)
    return Onset(vertical / np.abs(vertical).max(), 1 if radiation > 0 else -1, clean=True)


def by_analysts(record: Record) -> Iterator[Onset]:
    """The onsets of a record whose first motion somebody has read."""
    vertical = record.conditioned()[:, 0]
    for arrival in record.arrivals:
        at = round((arrival.seconds + record.delay_s) * RATE)
        samples = vertical[max(at - HALF, 0) : at + HALF]
        if arrival.polarity in CLASSES[:2] and len(samples) == 2 * HALF and samples.any():
            yield Onset(samples, 1 if arrival.polarity == "up" else -1, clean=False)


def by_rule(record: Record) -> Iterator[Onset]:
    """Onsets whose first swing stands far above a silent past."""
    vertical = record.conditioned()[:, 0]
    for arrival in record.arrivals:
        at = round((arrival.seconds + record.delay_s) * RATE)
        around = vertical[max(at - HALF, 0) : at + HALF]
        if arrival.phase == "P" and len(around) == 2 * HALF:
            found = _first_swing(around)
            if found is not None:
                start, sign = found
                samples = vertical[at - HALF + start - HALF : at + start]
                if len(samples) == 2 * HALF:
                    yield Onset(samples, sign, clean=True)


def _first_swing(around: Floats) -> tuple[int, int] | None:
    """Where the first swing near the middle begins, and its sign; None where it is not clear."""
    near = slice(HALF - 20, HALF + 20)
    noise = float(np.abs(around[HALF - 150 : near.start]).max())
    loud = np.flatnonzero(np.abs(around[near]) > ABOVE * noise)
    if not len(loud):
        return None
    at = near.start + int(loud[0])
    sign = 1 if around[at] > 0 else -1
    swing = sign * around[at:]
    crossing = np.flatnonzero(swing <= 0)
    peak = float(swing[: crossing[0] if len(crossing) else len(swing)].max())
    if peak < max(CLEAR * noise, MAIN * float(np.abs(around[at : at + 30]).max())):
        return None
    quiet = np.flatnonzero(sign * around[:at] <= noise)
    return int(quiet[-1]) + 1, sign


def batch(material: Material, count: int, rng: Generator) -> tuple[Floats, Floats]:
    """Network inputs (count, 128, 2) and targets (count, 3), as many up as down.

    A tenth is noise, a twentieth an onset picked wrongly; both are undecided.
    """
    groups = [(onsets, share) for onsets, share in material.onsets if onsets and share]
    shares = np.array([share for _, share in groups])
    inputs, targets = np.zeros((count, WINDOW, 2), np.float32), np.zeros((count, 3), np.float32)
    done = 0
    while done < count:
        kind = rng.uniform()
        answer: int | None = UNDECIDED
        if kind < 0.1:
            window = _noise(material.noises, WINDOW, rng)
        else:
            onsets = groups[rng.choice(len(groups), p=shares / shares.sum())][0]
            onset = onsets[int(rng.integers(len(onsets)))]
            window, answer = _disturbed(onset, material.noises, kind < 0.15, rng)
        seen = normalise(window)
        if seen is not None and answer is not None:
            inputs[done], targets[done, answer] = seen, 1
            done += 1
    return inputs, targets


def _disturbed(
    onset: Onset, noises: list[Floats], wrong: bool, rng: Generator
) -> tuple[Floats, int | None]:
    """A window with an onset in noise, turned over or not, and its class if it has one."""
    sign = int(rng.choice((-1, 1)))
    swing = np.abs(onset.samples[HALF : HALF + SWING]).max()
    own = onset.samples[: HALF - WORST_PICK].std()
    snr = np.exp(rng.uniform(np.log(1.0), np.log(CLEANEST)))
    added = swing / snr if onset.clean else own * rng.uniform(0, 0.5)
    samples = sign * onset.samples + added * _noise(noises, 2 * HALF, rng)
    off = float(np.clip(rng.normal(0, PICK_ERROR), -WORST_PICK, WORST_PICK))
    if wrong:
        off = float(rng.choice((-1, 1)) * rng.uniform(WRONG_PICK, BEFORE))
    first = HALF - BEFORE + round(off)
    window = samples[first : first + WINDOW].astype(np.float32)
    noise = np.hypot(added, own)
    if wrong or swing < LOST * noise:
        return window, UNDECIDED
    if swing < PLAIN * noise:
        return window, None
    return window, CLASSES.index("up" if sign * onset.sign > 0 else "down")


def _noise(noises: list[Floats], length: int, rng: Generator) -> Floats:
    """A stretch of noise of unit standard deviation."""
    while True:
        noise = noises[int(rng.integers(len(noises)))]
        start = int(rng.integers(len(noise) - length))
        stretch = noise[start : start + length]
        if (deviation := float(stretch.std())) > 0:
            return stretch / deviation
