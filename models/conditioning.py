"""What every model expects of its samples: 100 Hz, no offset, causally band-passed to 1–45 Hz.

Causal filters only: a zero-phase filter smears an onset into the time before it, which costs
pick accuracy and first motions, and cannot run on a stream.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import signal

RATE = 100  # samples per second of everything after conditioning
BAND_HZ = (1.0, 45.0)
ORDER = 2  # of each edge of the Butterworth band-pass


def band_pass(rate: float) -> NDArray[np.float64]:
    """Second-order sections of the band-pass 1–45 Hz, or up to 0.45 of the rate."""
    high = min(BAND_HZ[1], 0.45 * rate)
    sections: NDArray[np.float64] = signal.butter(
        ORDER, (BAND_HZ[0], high), "bandpass", fs=rate, output="sos"
    )
    return sections


class Conditioner:
    """Conditions one channel as it streams in; what comes later never changes what went out."""

    warm_up_s = 3.0  # after a start or gap; the 1 Hz edge has settled to 1e-3 by then

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate
        self._sections = band_pass(float(rate))
        self._rest = signal.sosfilt_zi(self._sections)
        self._state: NDArray[np.float64] | None = None

    def reset(self) -> None:
        """Forget the past: the next sample starts a new stretch."""
        self._state = None

    def process(self, samples: NDArray[np.int32]) -> NDArray[np.float32]:
        """The next samples, shape (n,), in counts -> conditioned samples at 100 Hz, in counts."""
        if not len(samples):
            return np.empty(0, np.float32)
        values = samples.astype(np.float64)
        if self._state is None:
            # At rest at the first value: an offset of any size causes no transient.
            self._state = self._rest * values[0]
        values, self._state = signal.sosfilt(self._sections, values, zi=self._state)
        conditioned: NDArray[np.float32] = values.astype(np.float32)
        return conditioned
