"""What a small earthquake sends out, and what the path and the surface make of it: spectra.

All spectra are one-sided, at the frequencies of `numpy.fft.rfftfreq`, and causal: in time they
begin at 0 and not before, so that first motions keep their sign and their edge.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]


class Surface(NamedTuple):
    """Motion of a free surface for an incident wave of unit amplitude."""

    radial: float  # away from the source for P, towards it for SV
    up: float


def seismic_moment(magnitude: float) -> float:
    """Moment (N m) of a local magnitude.

    Calibrated on what `synthetics` renders, so that the formula of Hutton & Boore (1987) gives
    the magnitude back. The slope 2/3 for small ones is that of nature, whose Wood-Anderson
    amplitudes grow like the moment itself (Munafò et al. 2016, doi 10.1785/0120160130).
    """
    moment_magnitude = 2 / 3 * magnitude + 0.83 + 0.085 * max(0.0, magnitude - 2.5) ** 2
    return math.pow(10, 1.5 * moment_magnitude + 9.1)


def corner_frequency(moment: float, stress_drop_pa: float, beta_m_s: float) -> float:
    """Corner (Hz) of S by Brune (1970); that of P is `P_CORNER` times as high."""
    return 2.34 * beta_m_s / (2 * math.pi * source_radius(moment, stress_drop_pa))


def source_radius(moment: float, stress_drop_pa: float) -> float:
    """Radius (m) of a circular fault (Eshelby 1957)."""
    return math.cbrt(7 / 16 * moment / stress_drop_pa)


P_CORNER = 1.5  # Madariaga (1976)


def brune_velocity(frequency: Array, corner: float) -> Spectrum:
    """Far-field velocity pulse of a Brune (1970) source of unit moment, i ω / (1 + i f/fc)².

    Its displacement is ωc² t exp(-ωc t): one-sided, so that velocity begins with its peak.
    """
    spectrum: Spectrum = 2j * np.pi * frequency / (1 + 1j * frequency / corner) ** 2
    return spectrum


def attenuation(count: int, rate: float, t_star: float) -> Spectrum:
    """Anelastic loss exp(-π f t*) with minimum phase, for a transform of `count` samples."""
    operator: Spectrum = np.exp(t_star * _log_loss(count, rate))
    return operator


@lru_cache(maxsize=8)
def _log_loss(count: int, rate: float) -> Spectrum:
    """Logarithm of the loss for t* = 1 s: its phase is the Hilbert transform of its amplitude."""
    amplitude = -np.pi * np.fft.rfftfreq(count, 1 / rate)
    cepstrum = np.fft.irfft(amplitude, count)
    cepstrum[1 : (count + 1) // 2] *= 2
    cepstrum[count // 2 + 1 :] = 0
    return np.fft.rfft(cepstrum)


def surface_p(slowness: float, alpha: float, beta: float) -> Surface:
    """Free surface under P of a horizontal slowness (Aki & Richards 2002, problem 5.6)."""
    eta_a, eta_b, denominator = _surface(slowness, alpha, beta)
    return Surface(
        4 * alpha * slowness * eta_a * eta_b / beta**2 / denominator,
        2 * alpha * eta_a * (1 / beta**2 - 2 * slowness**2) / beta**2 / denominator,
    )


def surface_sv(slowness: float, alpha: float, beta: float) -> Surface:
    """Free surface under SV; `slowness` below 1/alpha, that is, before total reflection."""
    eta_a, eta_b, denominator = _surface(slowness, alpha, beta)
    return Surface(
        2 * beta * eta_b * (1 / beta**2 - 2 * slowness**2) / beta**2 / denominator,
        4 * beta * slowness * eta_a * eta_b / beta**2 / denominator,
    )


SURFACE_SH = 2.0


def _surface(slowness: float, alpha: float, beta: float) -> tuple[float, float, float]:
    eta_a = (1 / alpha**2 - slowness**2) ** 0.5
    eta_b = (1 / beta**2 - slowness**2) ** 0.5
    return eta_a, eta_b, (1 / beta**2 - 2 * slowness**2) ** 2 + 4 * slowness**2 * eta_a * eta_b
