"""What every model expects of its samples: 100 Hz, no offset, causally band-passed to 1–45 Hz.

Causal filters only: a zero-phase filter smears an onset into the time before it, which costs
pick accuracy and first motions, and cannot run on a stream. The same holds for the usual
linear-phase resampler with its delay taken back, so other rates go through `Resampler`.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

RATE = 100  # samples per second of everything after conditioning
MIN_RATE = 10  # below it there is nothing left of the band
BAND_HZ = (1.0, 45.0)
ORDER = 2  # of each edge of the Butterworth band-pass
PHASES = 1000  # output times are kept to at least this fraction of an input interval


def band_pass(rate: float) -> NDArray[np.float64]:
    """Second-order sections of the band-pass 1–45 Hz, or up to 0.45 of the rate."""
    high = min(BAND_HZ[1], 0.45 * rate)
    sections: NDArray[np.float64] = signal.butter(
        ORDER, (BAND_HZ[0], high), "bandpass", fs=rate, output="sos"
    )
    return sections


class Conditioner:
    """Conditions one channel as it streams in; what comes later never changes what went out.

    Output k belongs to k/100 s after the first sample since the start or the last `reset`, and
    depends only on samples up to that time. What it shows happened `delay_s` earlier: the delay
    of the anti-alias filter beyond that of the 100 Hz path, 0 at 100 Hz, 0.013 s above it, and
    0.034 s at 50 Hz (there 0.005 s more at two thirds of the band). Whoever turns an output
    into a time subtracts it.

    rate: samples per second, exact. Raises ValueError below 10.
    """

    warm_up_s = 3.0  # after a start or gap; the 1 Hz edge has settled to 1e-3 by then

    def __init__(self, rate: Fraction) -> None:
        if rate < MIN_RATE:
            raise ValueError(f"rate: {float(rate):g} Hz is below {MIN_RATE} Hz")
        self.rate = rate
        self._resampler = None if rate == RATE else Resampler(rate)
        self.delay_s = self._resampler.delay_s if self._resampler else 0.0
        self._sections = band_pass(RATE)
        self._rest = signal.sosfilt_zi(self._sections)
        self._state: NDArray[np.float64] | None = None

    def reset(self) -> None:
        """Forget the past: the next sample starts a new stretch."""
        self._state = None
        if self._resampler:
            self._resampler.reset()

    def memory(self) -> list[float]:
        """What is kept of the past, to the bit; empty before the first sample."""
        if self._resampler:
            return self._resampler.memory()
        return [] if self._state is None else [float(x) for x in self._state.flat]

    def remember(self, memory: list[float]) -> None:
        """Go on where one of the same rate was. Raises ValueError where it cannot have been."""
        self.reset()
        if self._resampler:
            self._resampler.remember(memory)
        elif memory:
            self._state = np.array(memory).reshape(self._rest.shape)

    def samples_for(self, outputs: int) -> int:
        """How many more samples it takes until so many outputs (> 0) have come."""
        return self._resampler.samples_for(outputs) if self._resampler else outputs

    def process(self, samples: NDArray[np.int32]) -> NDArray[np.float32]:
        """The next samples, shape (n,), in counts -> conditioned samples at 100 Hz, in counts."""
        if not len(samples):
            return np.empty(0, np.float32)
        values = samples.astype(np.float64)
        if self._resampler:
            return self._resampler.process(values).astype(np.float32)
        if self._state is None:
            # At rest at the first value: an offset of any size causes no transient.
            self._state = self._rest * values[0]
        values, self._state = signal.sosfilt(self._sections, values, zi=self._state)
        conditioned: NDArray[np.float32] = values.astype(np.float32)
        return conditioned


class _Design(NamedTuple):
    """The filters of one input rate."""

    sections: NDArray[np.float64]  # at the input rate: high-pass, then the poles of the anti-alias
    numerators: NDArray[np.float64]  # (taps, phases): its zeros, for outputs between two samples
    low_pass: tuple[NDArray[np.float64], NDArray[np.float64]]  # at 100 Hz
    delay_s: float


class Resampler:
    """Band-passed samples of any rate -> 100 Hz, causally.

    The samples drive an analogue elliptic low-pass, whose response is known at any time after
    each of them: h(t) = Σ cᵢ exp(pᵢ t) (impulse invariance; Oppenheim & Schafer, Discrete-Time
    Signal Processing, section 7.2). Its poles run as a recursion at the input's rate; its zeros
    are a short sum for each output, with weights for where that lies between two samples: exact
    where the rate and 100 Hz are in a ratio of small whole numbers, else to 1/1000 of an
    interval. The 1 Hz edge comes first, so that an offset leaves no images, and the upper edge
    last, at 100 Hz, as in the path without resampling.
    """

    def __init__(self, rate: Fraction) -> None:
        design = _design(rate)
        self.delay_s = design.delay_s
        self._sections, self._numerators = design.sections, design.numerators
        self._low_pass = design.low_pass
        # Positions count in units of 1/_unit input intervals; outputs are _step apart.
        self._step, self._unit = rate.numerator, RATE * rate.denominator
        self._taps = np.arange(len(self._numerators))[:, None]
        self.reset()

    def reset(self) -> None:
        self._offset: float | None = None
        self._state = np.zeros((len(self._sections), 2))
        self._low_state = np.zeros(ORDER)
        self._past = np.zeros(len(self._numerators) - 1)
        self._next = 0  # position of the next output, from the next input sample

    def memory(self) -> list[float]:
        if self._offset is None:
            return []
        parts = (self._state.ravel(), self._low_state, self._past)
        return [self._offset, float(self._next), *(float(x) for part in parts for x in part)]

    def remember(self, memory: list[float]) -> None:
        if not memory:
            return
        sizes = np.cumsum([2, self._state.size, self._low_state.size])
        _, state, self._low_state, past = np.split(np.array(memory), sizes)
        if past.size != self._past.size:
            raise ValueError("filters: the memory of others")
        self._offset, self._next = memory[0], int(memory[1])
        self._state, self._past = state.reshape(self._state.shape), past

    def samples_for(self, outputs: int) -> int:
        return max(1, ((outputs - 1) * self._step + self._next) // self._unit + 1)

    def process(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next values, shape (n > 0,) -> those outputs that need no later one."""
        if self._offset is None:
            self._offset = float(values[0])
        poles, self._state = signal.sosfilt(self._sections, values - self._offset, zi=self._state)
        poles = np.concatenate((self._past, poles))
        self._past = poles[len(values) :]
        end = len(values) * self._unit
        count = max(0, -((self._next - end) // self._step))
        if not count:
            self._next -= end
            return np.empty(0)
        position = self._next + self._step * np.arange(count)
        self._next += count * self._step - end
        index, between = np.divmod(position, self._unit)
        phase = between * self._numerators.shape[1] // self._unit
        outputs = (self._numerators[:, phase] * poles[index + self._taps]).sum(axis=0)
        filtered: NDArray[np.float64]
        filtered, self._low_state = signal.lfilter(*self._low_pass, outputs, zi=self._low_state)
        return filtered


@lru_cache(maxsize=16)
def _design(rate: Fraction) -> _Design:
    interval = float(1 / rate)
    high = min(BAND_HZ[1], 0.45 * float(rate))
    # Flat to 0.1 dB up to `high` and 50 dB down from 11/9 of it, the mirror of `high` at the
    # Nyquist frequency of the lower rate. An odd order: h(t) is then without an impulse at 0.
    zeros, poles, gain = signal.ellip(7, 0.1, 50, 2 * np.pi * high, analog=True, output="zpk")
    others = [np.delete(poles, i) for i in range(len(poles))]
    residues = [
        gain * np.prod(p - zeros) / np.prod(p - o) for p, o in zip(poles, others, strict=True)
    ]
    steps = (RATE / rate).numerator  # an output falls on one of so many places in an interval
    phases = steps if steps <= PHASES else PHASES
    times = np.arange(phases) * interval / phases
    numerators = np.zeros((len(poles) + 1, phases))
    for p, c, o in zip(poles, residues, others, strict=True):
        numerators[:-1] += (np.poly(np.exp(o * interval))[:, None] * (c * np.exp(p * times))).real
    # h jumps at 0; an output that coincides with a sample gets the middle of the jump.
    numerators[:, 0] -= np.sum(residues).real / 2 * np.poly(np.exp(poles * interval)).real
    all_pole = signal.zpk2sos([], np.exp(poles * interval), interval)
    high_pass = signal.butter(ORDER, BAND_HZ[0], "highpass", fs=float(rate), output="sos")
    low_pass = signal.butter(ORDER, high, fs=RATE)
    middle = high / 5  # Hz; the delay hardly changes up to half the band
    omega = 2j * np.pi * middle
    delay = float(np.sum(-poles.real / np.abs(omega - poles) ** 2))
    for edge, sign in ((high, 1), (BAND_HZ[1], -1)):
        b_a = signal.butter(ORDER, edge, fs=RATE)
        delay += sign * float(signal.group_delay(b_a, [middle], fs=RATE)[1][0]) / RATE
    # Latest first in a polynomial in 1/z, oldest first in the stream.
    return _Design(np.concatenate((high_pass, all_pole)), numerators[::-1].copy(), low_pass, delay)
