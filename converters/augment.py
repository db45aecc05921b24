"""Training windows: labelled recordings cut, mixed and spoiled as the field spoils them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.conditioning import RATE, band_pass
from models.picker import WINDOW, compress

Floats = NDArray[np.float32]
Generator = np.random.Generator

EDGE = 300  # newest samples of a window that get more than their share of onsets
_SPIKE = signal.sosfilt(band_pass(RATE), np.eye(1, 300)[0])
_STEP = signal.sosfilt(band_pass(RATE), np.ones(300))


@dataclass(frozen=True)
class Stretch:
    """A conditioned recording and what a picker should say of it.

    samples, targets: shape (n, 3), n ≥ 3000; components Z N E, and P, S, detection 0..1
    picks: sample numbers of its onsets, on which windows are preferably placed
    weight: how often windows come from it, relative to others
    """

    samples: Floats
    targets: Floats
    picks: NDArray[np.int64]
    weight: float


def render(rng: Generator, stretches: Sequence[Stretch], count: int) -> tuple[Floats, Floats]:
    """Augmented, normalised windows and their targets, each of shape (count, 3000, 3)."""
    x, y = _cut(rng, stretches, count)
    x, y = _superpose(rng, stretches, x, y)
    x = _rotate(rng, x)
    for chance, spoil in (
        (0.15, _add_noise),
        (0.10, _limit_band),
        (0.05, _add_glitch),
        (0.03, _clip),
        (0.18, _drop_components),
    ):
        for i in np.flatnonzero(rng.random(count) < chance):
            x[i] = spoil(rng, x[i])
    for i in np.flatnonzero(rng.random(count) < 0.06):
        _cut_gap(rng, x[i], y[i])
    return np.stack([compress(window) for window in x]), y


def _cut(rng: Generator, stretches: Sequence[Stretch], count: int) -> tuple[Floats, Floats]:
    weights = np.array([stretch.weight for stretch in stretches])
    x = np.empty((count, WINDOW, 3), np.float32)
    y = np.empty_like(x)
    for i, k in enumerate(rng.choice(len(stretches), count, p=weights / weights.sum())):
        stretch = stretches[k]
        # A third is played slower or faster: other distances, sources and site noise.
        speed = 2.0 ** rng.uniform(-1.3, 0.4) if rng.random() < 0.35 else 1.0
        last = len(stretch.samples) - int(WINDOW * speed) - 2
        if last < 0:
            speed, last = 1.0, len(stretch.samples) - WINDOW
        if len(stretch.picks) and rng.random() < 0.75:
            onset = int(rng.choice(stretch.picks))
            place = WINDOW - int(rng.integers(EDGE if rng.random() < 0.25 else WINDOW))
            start = min(max(onset - int(place * speed), 0), last)
        else:
            start = int(rng.integers(last + 1))
        x[i] = _play(stretch.samples, start, speed)
        y[i] = _play(stretch.targets, start, speed)
    return x, y


def _play(values: Floats, start: int, speed: float) -> Floats:
    if speed == 1.0:
        return values[start : start + WINDOW]
    at = np.arange(WINDOW) * speed
    below = at.astype(np.int64)
    part = (at - below).astype(np.float32)[:, None]
    values = values[start : start + below[-1] + 2]
    played: Floats = values[below] * (1 - part) + values[below + 1] * part
    return played


def _superpose(
    rng: Generator, stretches: Sequence[Stretch], x: Floats, y: Floats
) -> tuple[Floats, Floats]:
    """Add another recording to a third of the windows; who drowns the other keeps its labels."""
    chosen = np.flatnonzero(rng.random(len(x)) < 0.35)
    other_x, other_y = _cut(rng, stretches, len(chosen))
    ratio = 10 ** rng.uniform(-1.2, 0.6, len(chosen)).astype(np.float32)
    own = x[chosen] / _rms(x[chosen])
    other = other_x / _rms(other_x) * ratio[:, None, None]
    own_level, other_level = _level(own), _level(other)
    own_share = own_level / (own_level + 0.5 * other_level + 1e-9)
    other_share = other_level / (other_level + 0.5 * own_level + 1e-9)
    x[chosen] = own + other
    y[chosen] = np.maximum(y[chosen] * own_share[..., None], other_y * other_share[..., None])
    return x, y


def _rms(x: Floats) -> Floats:
    rms: Floats = np.sqrt(np.mean(np.square(x), axis=(1, 2), keepdims=True)) + np.float32(1e-12)
    return rms


def _level(x: Floats) -> Floats:
    """Amplitude over the second that follows each sample, shape (windows, n)."""
    energy = np.cumsum(np.pad(np.square(x).sum(axis=2), ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    now = np.arange(x.shape[1])
    then = np.minimum(now + RATE, x.shape[1])
    level: Floats = np.sqrt((energy[:, then] - energy[:, now]) / (then - now)).astype(np.float32)
    return level


def _rotate(rng: Generator, x: Floats) -> Floats:
    """Turn the horizontals of half of the windows by any angle, and flip any component."""
    angle = rng.uniform(0, 2 * np.pi, len(x)) * (rng.random(len(x)) < 0.5)
    cos, sin = (f(angle).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    north, east = x[:, :, 1], x[:, :, 2]
    turned = np.stack([x[:, :, 0], cos * north - sin * east, sin * north + cos * east], axis=2)
    signs = rng.choice(np.array([-1, 1], np.float32), (len(x), 1, 3))
    flipped: Floats = turned * signs
    return flipped


def _add_noise(rng: Generator, x: Floats) -> Floats:
    level = x.std(axis=0) * rng.uniform(0, 0.3)
    noisy: Floats = x + level * rng.standard_normal(x.shape, np.float32)
    return noisy


def _limit_band(rng: Generator, x: Floats) -> Floats:
    corner = rng.uniform(8, 40)  # what a slower digitizer leaves
    sections = signal.butter(4, corner, fs=RATE, output="sos")
    limited: Floats = signal.sosfilt(sections, x, axis=0).astype(np.float32)
    return limited


def _add_glitch(rng: Generator, x: Floats) -> Floats:
    """A spike or a step, as it comes out of the band-pass."""
    shape = _SPIKE if rng.random() < 0.5 else _STEP
    at = int(rng.integers(WINDOW - 1))
    shape = shape[: WINDOW - at] / np.abs(shape).max()
    components = rng.random(3) < 0.6
    x[at : at + len(shape), components] += (
        shape[:, None] * x.std(axis=0)[components] * rng.uniform(3, 40)
    )
    return x


def _clip(rng: Generator, x: Floats) -> Floats:
    limit = np.abs(x).max(axis=0) * rng.uniform(0.2, 0.8)
    return np.clip(x, -limit, limit)


def _drop_components(rng: Generator, x: Floats) -> Floats:
    missing = [[1, 2], [1, 2], [1], [2], [0]][int(rng.integers(5))]
    x[:, missing] = 0
    return x


def _cut_gap(rng: Generator, x: Floats, y: Floats) -> None:
    """Zeros where nothing was recorded; at the beginning of the window as often as inside."""
    first = 0 if rng.random() < 0.5 else int(rng.integers(WINDOW))
    length = int(rng.integers(20, WINDOW // 2))
    x[first : first + length] = 0
    y[first : first + length] = 0
