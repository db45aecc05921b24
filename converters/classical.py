"""Pickers that nobody had to train: energy and kurtosis tell that something comes, AIC tells when.

A trigger is a rise of the ratio of short- and long-term energy (STA/LTA; Allen 1978), or of the
kurtosis (Baillard et al. 2014), as in PAL (Zhou et al. 2021). Around it, the onset is where two
stationary stretches meet best (Maeda 1985). What arrives mostly on the vertical is called P; what
arrives on the horizontals some seconds after a P is called S. The numbers were set on
ridgecrest_foreshocks, where PAL's own (0.8 s, 6 s, ratio 12) found 0.51 of the analysts' P.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.conditioning import RATE

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

STA_S = 0.3
LTA_S = {"P": 4.0, "S": 2.0}  # before S there is P's coda, and soon
ENERGY_RATIO = {"P": 5.0, "S": 3.0}  # of short to long term
KURTOSIS_S = (1.0, 2.0, 4.0)  # windows, averaged over
KURTOSIS_RISE = 2.0  # within RISE_S
RISE_S = 0.5
APART_S = 1.0  # two triggers of a kind
SAME_S = 0.3  # onsets closer than this are one
AROUND_S = {"P": (1.5, 0.5), "S": (1.0, 0.5)}  # before and after a trigger: its onset is there
NOISE_S, SIGNAL_S = 1.0, 0.5  # compared to tell how clear an onset is
FAINTEST, CLEAREST = 1.3, 10.0  # of their ratio of amplitudes: below it nothing, above it no more
VERTICAL = {"P": (0.25, 1.0), "S": (0.0, 0.5)}  # of the energy that comes
S_MINUS_P_S = (0.3, 12.0)
WARM_UP_S = 3.0  # of the filter that conditioned the samples
_TINY = 1e-30


@dataclass(frozen=True)
class Onset:
    """An onset in a recording."""

    phase: str  # P or S
    sample: int  # at 100 Hz
    quality: float  # 0 to 1: logarithm of signal to noise


def pick(samples: NDArray[np.float32]) -> list[Onset]:
    """P, and S after P, in conditioned samples of shape (n, 3), Z N E, 100 Hz; in order of time.

    A component that is missing is zeros: no P without a vertical, no S without a horizontal.
    """
    trace = samples.astype(np.float64)
    trace /= trace.std() + _TINY  # counts or m/s: the numbers below are for numbers about 1
    p, p_quality = _pick_phase(trace, "P")
    s, s_quality = _pick_phase(trace, "S")
    since_p = (s[:, None] - p[None, :]) / RATE
    follows = ((since_p >= S_MINUS_P_S[0]) & (since_p <= S_MINUS_P_S[1])).any(axis=1)
    onsets = [Onset("P", int(at), float(q)) for at, q in zip(p, p_quality, strict=True)]
    onsets += [
        Onset("S", int(at), float(q)) for at, q in zip(s[follows], s_quality[follows], strict=True)
    ]
    return sorted(onsets, key=lambda onset: (onset.sample, onset.phase))


def _pick_phase(trace: Array, phase: str) -> tuple[Indices, Array]:
    """Onsets (sample numbers, qualities) of what moves the ground as the phase does."""
    parts = trace[:, :1] if phase == "P" else trace[:, 1:]
    triggers = _peaks(sta_lta((parts**2).sum(axis=1), LTA_S[phase]), ENERGY_RATIO[phase])
    if phase == "P":
        triggers = np.union1d(triggers, _peaks(kurtosis_rise(trace[:, 0]), KURTOSIS_RISE))
    before, after = (round(RATE * seconds) for seconds in AROUND_S[phase])
    onsets = _distinct(
        [
            max(0, at - before) + aic_onset(parts[max(0, at - before) : at + after])
            for at in triggers
            if at >= WARM_UP_S * RATE
        ]
    )
    vertical, ratio = _compare(trace, onsets)
    low, high = VERTICAL[phase]
    good = (vertical >= low) & (vertical <= high) & (ratio >= FAINTEST)
    quality = np.clip(np.log(ratio[good]) / np.log(CLEAREST), 0.0, 1.0)
    return onsets[good], quality


def sta_lta(energy: Array, lta_s: float) -> Array:
    """Ratio of recursive averages (Withers et al. 1998) of an energy (n,): over STA_S, and over
    `lta_s` up to where that begins; 0 while the filter warms up."""
    short, long = (
        signal.lfilter([1 / length], [1, 1 / length - 1], energy)
        for length in (STA_S * RATE, lta_s * RATE)
    )
    lag, start = round(STA_S * RATE), round(WARM_UP_S * RATE)
    ratio = np.zeros(len(energy))
    if len(energy) > start:
        # What is dead has no ratio, nor has the first that comes after it.
        floor = 1e-6 * energy.mean() + _TINY
        ratio[start:] = short[start:] / np.maximum(long[start - lag : -lag], floor)
    return ratio


def kurtosis_rise(values: Array) -> Array:
    """By how much the kurtosis of the last seconds has grown within RISE_S, shape (n,)."""
    kurtosis = np.mean([_kurtosis(values, round(s * RATE)) for s in KURTOSIS_S], axis=0)
    smooth = signal.lfilter(np.ones(5) / 5, 1, kurtosis)
    lag = round(RISE_S * RATE)
    rise = np.zeros(len(values))
    rise[lag:] = smooth[lag:] - smooth[:-lag]
    rise[: round((WARM_UP_S + max(KURTOSIS_S)) * RATE)] = 0
    return rise


def _kurtosis(values: Array, window: int) -> Array:
    """Of the `window` samples up to each one, whose mean is taken for 0; 3 is Gaussian."""
    second, fourth = (_running_sum(values**power, window) / window for power in (2, 4))
    return np.divide(fourth, second**2, out=np.full(len(values), 3.0), where=second**2 > _TINY)


def _running_sum(values: Array, window: int) -> Array:
    total = np.cumsum(np.concatenate([np.zeros(window), values]))
    result: Array = total[window:] - total[:-window]
    return result


def aic_onset(parts: Array) -> int:
    """Sample at which two stationary stretches of different variance meet best (Maeda 1985).

    parts: shape (n, components), n ≥ 4; the components add up.
    """
    n = len(parts)
    k = np.arange(2, n - 1)
    variances = []
    for values in (parts, parts[::-1]):  # of all before sample k, and of all from it on
        count = np.arange(1, n + 1)[:, None]
        mean = np.cumsum(values, axis=0) / count
        spread = np.cumsum(values**2, axis=0) / count - mean**2
        variances.append(np.log(np.maximum(spread, 1e-12 * parts.var(axis=0) + _TINY)).sum(axis=1))
    criterion = k * variances[0][k - 1] + (n - k - 1) * variances[1][n - k - 1]
    return int(k[np.argmin(criterion)])


def _peaks(curve: Array, height: float) -> Indices:
    peaks: Indices = signal.find_peaks(curve, height=height, distance=round(APART_S * RATE))[0]
    return peaks


def _distinct(onsets: list[int]) -> Indices:
    """In order of time, the first of several that are one."""
    kept: list[int] = []
    for onset in sorted(onsets):
        if not kept or onset - kept[-1] >= SAME_S * RATE:
            kept.append(onset)
    return np.array(kept, np.int64)


def _compare(trace: Array, onsets: Indices) -> tuple[Array, Array]:
    """Of what comes at each onset: the vertical's share of its energy, and its amplitude relative
    to what was before."""
    total = np.concatenate([np.zeros((1, 3)), np.cumsum(trace**2, axis=0)])
    noise_from = np.maximum(onsets - round(NOISE_S * RATE), 0)
    noise_to = np.maximum(onsets - round(0.1 * RATE), noise_from + 1)
    signal_to = np.minimum(onsets + round(SIGNAL_S * RATE), len(trace))
    noise = (total[noise_to] - total[noise_from]) / (noise_to - noise_from)[:, None]
    level = (total[signal_to] - total[onsets]) / (signal_to - onsets)[:, None]
    fresh = np.maximum(level - noise, 0)
    vertical = fresh[:, 0] / (fresh.sum(axis=1) + _TINY)
    return vertical, np.sqrt(level.sum(axis=1) / (noise.sum(axis=1) + _TINY))
