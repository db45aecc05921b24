"""Station magnitude: Wood-Anderson amplitude and distance, corrected by a network.

Physics carries the value, as the local magnitude of the largest Wood-Anderson amplitude so far of
the horizontals at the distance that S-P gives, or at a typical one where S is unknown. From the
shape of the record, seen as displacement, velocity and acceleration, a network adds what that
misses (the S to come, the distance that nobody told, noise, the site) and says how sure it is.
What the network sees has no absolute amplitude, so that ground shaking ten times as strongly is
exactly one unit of magnitude more, and nothing pulls towards the mean of what was trained on.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.card import MODELS
from models.conditioning import RATE
from models.interpreter import Model, ModelError

MAGNITUDE = MODELS / "magnitude.tflite"
BEFORE = RATE  # samples of the window before P
WINDOW = 25 * RATE  # samples that are looked at, at most
SHORTEST = BEFORE + 3 * RATE  # and at least
BIN = 25  # samples of which the network sees the largest
BINS = WINDOW // BIN
DECADES = 4.0  # below the peak, to which the network sees
KM_PER_S = 8.0  # hypocentral distance per second of S-P
UNKNOWN_KM = 30.0
NEAREST_KM = 1.0
MOTIONS = ("displacement", "velocity", "acceleration")  # the first of a Wood-Anderson seismograph
CHANNELS = tuple(f"{motion} {part}" for motion in MOTIONS for part in ("vertical", "horizontal"))
SCALARS = (
    *("s_minus_p", "s_is_known", "seconds"),
    *("displacement/velocity", "velocity/acceleration"),  # their peaks in the record
    *("P displacement/velocity", "P velocity/acceleration"),  # and in 3 s on the vertical
)
NM_PER_M = 1e9
# Period and damping of the Wood-Anderson seismograph (Anderson & Wood 1925).
_OMEGA, _DAMPING = 2 * np.pi / 0.8, 0.8
_WOOD_ANDERSON = signal.bilinear([1.0, 0.0], [1.0, 2 * _DAMPING * _OMEGA, _OMEGA**2], RATE)


class Estimate(NamedTuple):
    """A station magnitude and its standard deviation."""

    magnitude: float
    sigma: float


class Features(NamedTuple):
    """What is known of a record: the magnitude of the physics, and the network's inputs."""

    baseline: float
    shape: NDArray[np.float32]  # (1, BINS, 6) as in CHANNELS, -1 to 1
    scalars: NDArray[np.float32]  # (1, 7) as in SCALARS, about -1 to 1


class StationMagnitude:
    """A magnitude artefact, ready to run."""

    def __init__(self, path: Path = MAGNITUDE, engine: str | None = None) -> None:
        """Raises ModelError where the artefact is not what its card says, or is another's."""
        self._model = Model(path, engine)
        self.card = self._model.card
        self.engine = self._model.engine
        wanted = [(1, BINS, len(CHANNELS)), (1, len(SCALARS))]
        if [tensor.shape for tensor in self.card.inputs] != wanted:
            raise ModelError(f"{path}: not a magnitude model")

    def estimate(self, window: NDArray[np.float32], s_minus_p_s: float | None) -> Estimate:
        """Magnitude of the earthquake whose P came `BEFORE` samples into the window.

        window: conditioned ground velocity (m/s) at 100 Hz, shape (n, 3), vertical first, from
        1 s before P up to now: at least 4 s (`SHORTEST` samples); what lies beyond 25 s
        (`WINDOW`) is not looked at. A missing component is zeros.
        s_minus_p_s: seconds from P to S, None where S is not known (yet).
        Raises ValueError for other shapes, for samples that are not finite or all zero from P
        on, and for an S that is not after P.
        """
        features = make_features(window, s_minus_p_s)
        residual, log_sigma = self._model.run(features.shape, features.scalars)
        return Estimate(features.baseline + float(residual[0, 0]), math.exp(float(log_sigma[0, 0])))


def make_features(window: NDArray[Any], s_minus_p_s: float | None) -> Features:
    """What `StationMagnitude.estimate` makes of its arguments; raises ValueError as it does."""
    if window.ndim != 2 or window.shape[1] != 3 or len(window) < SHORTEST:
        raise ValueError(f"window: shape {window.shape} is not (at least {SHORTEST}, 3)")
    if s_minus_p_s is not None and not 0 < s_minus_p_s < math.inf:
        raise ValueError(f"s_minus_p_s: {s_minus_p_s} is not a positive number")
    velocity = window[:WINDOW]
    shown = np.abs(wood_anderson(velocity))
    largest = shown[BEFORE:].max(axis=0)
    if not 0 < largest.max() < math.inf:
        raise ValueError("window: no finite motion after P")
    known = s_minus_p_s is not None
    distance_km = max(NEAREST_KM, KM_PER_S * s_minus_p_s) if s_minus_p_s else UNKNOWN_KM
    horizontals = [c for c in (1, 2) if largest[c] > 0]
    amplitude = math.exp(np.log(largest[horizontals or [0]]).mean())
    steps = np.abs(np.diff(velocity, axis=0, prepend=velocity[:1])) * RATE
    motions = shown, np.abs(velocity) * NM_PER_M, steps * NM_PER_M
    early = slice(BEFORE, SHORTEST)
    peaks = [float(motion[BEFORE:].max()) for motion in motions]
    p_peaks = [float(motion[early, 0].max()) for motion in motions]
    scalars = (
        math.log10(s_minus_p_s) - 0.5 if s_minus_p_s else 0.0,
        1.0 if known else -1.0,
        2 * len(velocity) / WINDOW - 1,
        *_periods(peaks),
        *_periods(p_peaks),
    )
    envelopes = [
        _envelope(part, peak)
        for motion, peak in zip(motions, peaks, strict=True)
        for part in (motion[:, 0], _together(motion, horizontals))
    ]
    return Features(
        local_magnitude(amplitude, distance_km),
        np.stack(envelopes, axis=-1)[None],
        np.array([scalars], np.float32),
    )


def _together(motion: NDArray[Any], horizontals: list[int]) -> NDArray[Any]:
    """Root mean square of the horizontals that there are; zeros where there is none."""
    if not horizontals:
        return np.zeros(len(motion))
    together: NDArray[Any] = np.sqrt(np.mean(motion[:, horizontals] ** 2, axis=1))
    return together


def _periods(peaks: list[float]) -> list[float]:
    """Logarithms of displacement by velocity by acceleration, which grow with the period of the
    ground; about -1 to 1, 0 where there is no motion."""
    return [
        (math.log10(a / b) + 1.7) / 0.75 if a > 0 and b > 0 else 0.0 for a, b in pairwise(peaks)
    ]


def _envelope(motion: NDArray[Any], peak: float) -> NDArray[np.float32]:
    """Largest value in each bin, from `DECADES` below the peak (-1) to the peak (1)."""
    padded = np.zeros(WINDOW)
    padded[: len(motion)] = motion
    largest = padded.reshape(BINS, BIN).max(axis=1) / peak if peak > 0 else padded[:BINS]
    decades = np.log10(np.maximum(largest, 10**-DECADES))
    envelope: NDArray[np.float32] = (1 + decades * (2 / DECADES)).clip(-1, 1).astype(np.float32)
    return envelope


def wood_anderson(velocity: NDArray[Any]) -> NDArray[np.float64]:
    """Ground velocity at 100 Hz (m/s) along the first axis -> what a Wood-Anderson seismograph
    of magnification 1 shows of it, in nm."""
    shown: NDArray[np.float64] = signal.lfilter(*_WOOD_ANDERSON, velocity, axis=0) * NM_PER_M
    return shown


def local_magnitude(amplitude_nm: float, distance_km: float) -> float:
    """ML of a Wood-Anderson amplitude (nm) at a hypocentral distance (km).

    Hutton & Boore (1987) in the form of IASPEI's working group on magnitudes (2013).
    """
    return math.log10(amplitude_nm) + 1.11 * math.log10(distance_km) + 0.00189 * distance_km - 2.09
