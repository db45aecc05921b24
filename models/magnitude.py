"""Station magnitude: Wood-Anderson amplitude, distance from S-P, and a network for the rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.conditioning import RATE

NM_PER_M = 1e9
# Period and damping of the Wood-Anderson seismograph (Anderson & Wood 1925).
_OMEGA, _DAMPING = 2 * np.pi / 0.8, 0.8
_WOOD_ANDERSON = signal.bilinear([1.0, 0.0], [1.0, 2 * _DAMPING * _OMEGA, _OMEGA**2], RATE)


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
