"""From digitizer counts to ground velocity in m/s."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

Units = Literal["M", "M/S", "M/S**2"]  # displacement, velocity, acceleration
UNITS: tuple[Units, ...] = get_args(Units)
BAND_HZ = (1.0, 45.0)
MIDDLE_HZ = 5.0  # where a passband is flat if anywhere between 1 and 45 Hz
WATER_LEVEL = 1e-3  # of the largest gain in the band (-60 dB): below it nothing is amplified more
INTEGRATOR_HZ = 0.2  # corner below which the integration of accelerations forgets


@dataclass(frozen=True)
class Response:
    """An instrument: its sensitivity, and the poles and zeros of its analogue stages.

    Digital filters (FIR) are left out, since they are flat in most of the band and their delay
    is taken back in the time tags: against evalresp the gain of the CI and PB instruments of
    2019 is off by at most 2 % from 1 to 30 Hz, and 14 % at 40 Hz, where theirs fall off.

    sensitivity: counts per unit of ground motion at `frequency_hz`, negative where reversed
    units: of that ground motion
    zeros, poles: in rad/s; without any the instrument is taken as flat
    """

    sensitivity: float
    units: Units = "M/S"
    frequency_hz: float = MIDDLE_HZ
    zeros: tuple[complex, ...] = ()
    poles: tuple[complex, ...] = ()

    def velocity_gain(self, frequency_hz: NDArray[Any]) -> NDArray[np.complex128]:
        """Counts per m/s at each frequency (> 0)."""
        s = 2j * np.pi * np.append(frequency_hz, self.frequency_hz)
        shape = np.prod([s - z for z in self.zeros], axis=0) / np.prod(
            [s - p for p in self.poles], axis=0
        )
        shape = np.broadcast_to(shape, s.shape)
        order = UNITS.index(self.units) - 1  # accelerations are jω times velocities
        gain: NDArray[np.complex128] = (
            self.sensitivity * (shape[:-1] / abs(shape[-1])) * s[:-1] ** order
        )
        return gain

    @cached_property
    def flat_gain(self) -> float:
        """Counts per unit of ground motion (`units`) at 5 Hz, with the sign of `sensitivity`."""
        order = UNITS.index(self.units) - 1
        gain = abs(self.velocity_gain(np.array([MIDDLE_HZ]))[0])
        return float(np.copysign(gain / (2 * np.pi * MIDDLE_HZ) ** order, self.sensitivity))

    def to_velocity(
        self, counts: NDArray[Any], rate: float, band_hz: tuple[float, float] = BAND_HZ
    ) -> NDArray[np.float64]:
        """Counts, shape (n,), at `rate` -> ground velocity in m/s, shape (n,).

        Deconvolution in the frequency domain within a band, with cosine edges from half its
        lower end and to 1.1 times its upper end (at most the Nyquist frequency). For records
        that are complete: the result at any time depends on all samples.
        """
        count = len(counts)
        samples = signal.detrend(np.asarray(counts, np.float64))
        size = fft.next_fast_len(2 * count, real=True)
        frequency = np.fft.rfftfreq(size, 1 / rate)
        low, high = band_hz[0], min(band_hz[1], 0.45 * rate)
        weight = _edge(frequency, low / 2, low) * (1 - _edge(frequency, high, 1.1 * high))
        inside = weight > 0
        gain = self.velocity_gain(frequency[inside])
        floor = WATER_LEVEL * np.max(np.abs(gain))
        gain *= np.maximum(1, floor / np.maximum(np.abs(gain), np.finfo(float).tiny))
        spectrum = fft.rfft(samples, size)
        spectrum[~inside] = 0
        spectrum[inside] *= weight[inside] / gain
        velocity: NDArray[np.float64] = fft.irfft(spectrum, size)[:count]
        return velocity

    def scale_to_velocity(self, conditioned: NDArray[Any], rate: float) -> NDArray[np.float64]:
        """Conditioned samples, shape (n,), in counts -> ground velocity in m/s, shape (n,).

        The cheap and causal way, for samples that are band-passed already: velocities are
        divided by the gain at 5 Hz, which is right where the instrument is flat (a broadband
        seismometer between 1 and 45 Hz; a geophone above its corner). Accelerations are
        integrated as well, beginning at rest with the first sample; displacements are
        differentiated.
        """
        motion = np.asarray(conditioned, np.float64) / self.flat_gain
        if self.units == "M/S**2":
            forget = np.exp(-2 * np.pi * INTEGRATOR_HZ / rate)
            motion = signal.lfilter([0.5 / rate, 0.5 / rate], [1, -forget], motion)
        elif self.units == "M":
            motion = np.diff(motion, prepend=motion[:1]) * rate
        return motion


def _edge(frequency: NDArray[np.float64], begin: float, end: float) -> NDArray[np.float64]:
    """0 up to `begin`, 1 from `end` on, half a cosine between."""
    x = np.clip((frequency - begin) / (end - begin), 0, 1)
    edge: NDArray[np.float64] = (1 - np.cos(np.pi * x)) / 2
    return edge
