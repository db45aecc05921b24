"""The phase picker: a window of three components -> probabilities of P, S and detection.

Whatever an artefact wants and gives, as its card tells, it is used in one way: conditioned samples
at 100 Hz in, probabilities at 100 Hz out. So a box runs pickers that others trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.card import MODELS, Card, Input, Normalisation, Output, Tensor
from models.conditioning import BAND_HZ, ORDER, RATE
from models.interpreter import Model, ModelError

PICKER = MODELS / "picker.tflite"
WINDOW = 3000  # samples at 100 Hz that the built-in picker looks at
SHORTEST_S, LONGEST_S = 5, 120  # windows that a box can judge, and whose votes it can hold
COMPONENTS = ("Z", "N", "E")
LABELS = ("P", "S", "detection")
NORMALISATION: Normalisation = "compressed per component"
COMPRESSED_FROM = 0.01  # standard deviations; the scale is linear below
LARGEST = 4.0  # on the compressed scale: 16 standard deviations
Floats = NDArray[np.float32]


class Picker:
    """A picker artefact, ready to run; its contract and thresholds are those of its card.

    window: samples at 100 Hz that it looks at; whole seconds. thresholds: phase -> probability.
    """

    def __init__(
        self, path: Path = PICKER, engine: str | None = None, card: Card | None = None
    ) -> None:
        """card: in place of the one beside the artefact.

        Raises ModelError where the artefact is not what its card says, or is no picker.
        """
        self._model = Model(path, engine, card)
        self.path = path
        self.card = self._model.card
        self.engine = self._model.engine
        self.thresholds = self.card.thresholds
        self._labels = [label for tensor in self.card.outputs for label in tensor.labels]
        try:
            self._into = Into(self.card.inputs)
            self._onto = [_Onto(tensor, self._into) for tensor in self.card.outputs]
            if missing := {"P", "S"} - set(self._labels):
                raise ModelError(f"outputs.labels: no {' and no '.join(sorted(missing))}")
            if missing := {"P", "S"} - self.thresholds.keys():
                raise ModelError(f"thresholds: none for {' and '.join(sorted(missing))}")
        except ModelError as problem:
            raise ModelError(f"{path}: not a picker: {problem}") from None
        self.window = self._into.window
        self._as_it_is = tuple(self._labels) == LABELS and len(self._onto) == 1

    def probabilities(self, window: Floats) -> Floats:
        """Conditioned samples (`window`, 3) at 100 Hz, Z, N or 1, E or 2, in any unit.

        A component that is missing or flat is zeros. Returns probabilities, shape (`window`, 3):
        P, S and detection of each sample, 0 to 1. Detection is what is not noise where the
        artefact tells only that, and the higher of P and S where it tells neither.
        """
        outputs = self._model.run(self._into.prepare(window))
        curves = [onto.read(values) for onto, values in zip(self._onto, outputs, strict=True)]
        if self._as_it_is:
            return curves[0]
        by_label = dict(zip(self._labels, np.concatenate(curves, axis=1).T, strict=True))
        p, s = by_label["P"], by_label["S"]
        if "detection" in by_label:
            detection = by_label["detection"]
        else:
            detection = 1 - by_label["noise"] if "noise" in by_label else np.maximum(p, s)
        return np.stack((p, s, detection), axis=1)


class Into:
    """From conditioned samples to an artefact's input."""

    def __init__(self, inputs: tuple[Input, ...]) -> None:
        """Raises ModelError for an input that is not samples."""
        if len(inputs) != 1:
            raise ModelError(f"inputs: {len(inputs)} instead of one")
        tensor = inputs[0]
        if not tensor.labels or not set(tensor.labels) <= set(COMPONENTS):
            raise ModelError(f"inputs.labels: {list(tensor.labels)} are not components (Z, N, E)")
        if tensor.normalisation not in NORMALISATIONS:
            raise ModelError(f"inputs.normalisation: '{tensor.normalisation}' is not for a window")
        self._tensor = tensor
        self._components = [COMPONENTS.index(label) for label in tensor.labels]
        self._normalise = NORMALISATIONS[tensor.normalisation]
        self.rate = Fraction(tensor.rate_hz).limit_denominator(1000)
        length = _length(tensor)
        seconds = int(length / self.rate)
        if not SHORTEST_S <= seconds <= LONGEST_S:
            raise ModelError(f"inputs.shape: {seconds} s is not {SHORTEST_S} to {LONGEST_S} s")
        self.window = seconds * RATE
        # What is more than whole seconds is filled with zeros, before the window.
        self.filled = length - math.ceil(self.window * self.rate / RATE)
        self._filter, self.delay_s = _narrower(tensor)

    def prepare(self, window: Floats) -> Floats:
        """(`window`, 3), Z N E -> the tensor."""
        seen = window
        if self._components != [0, 1, 2]:
            seen = np.take(seen, self._components, axis=1)
        if self._filter is not None:
            seen = signal.sosfilt(self._filter, seen, axis=0).astype(np.float32)
        if self.rate != RATE:
            seen = signal.resample_poly(seen, *(self.rate / RATE).as_integer_ratio(), axis=0)
        seen = self._normalise(seen)
        if self.filled:
            seen = np.pad(seen, ((self.filled, 0), (0, 0)))
        return (seen if _time_comes_first(self._tensor) else seen.T).reshape(self._tensor.shape)


class _Onto:
    """From an artefact's output to probabilities of each sample at 100 Hz."""

    def __init__(self, tensor: Output, into: Into) -> None:
        """Raises ModelError for an output that is not curves over the window."""
        self._tensor = tensor
        self._shape = (_length(tensor), len(tensor.labels))
        # Both in samples of the artefact's input, less what was filled.
        self._told_at = tensor.start + tensor.step * np.arange(self._shape[0]) - into.filled
        asked = np.arange(into.window) * float(into.rate / RATE) + into.delay_s * float(into.rate)
        first, last = self._told_at[0] - tensor.step, self._told_at[-1] + tensor.step
        self._outside = (asked <= first) | (asked >= last)
        self._asked = None if np.array_equal(asked, self._told_at) else asked

    def read(self, values: Floats) -> Floats:
        """The tensor -> (window, classes); zero where the artefact tells nothing."""
        time_first = _time_comes_first(self._tensor)
        curves = values.reshape(self._shape if time_first else self._shape[::-1])
        curves = _ACTIVATIONS[self._tensor.activation](curves if time_first else curves.T)
        if self._asked is None:
            return curves
        columns = [np.interp(self._asked, self._told_at, column) for column in curves.T]
        return np.where(self._outside, 0, columns).T.astype(np.float32)


def _length(tensor: Tensor) -> int:
    """Samples of a tensor whose other axis is that of its labels; further ones may be 1."""
    length, rest = divmod(math.prod(tensor.shape), max(1, len(tensor.labels)))
    axes = sorted(n for n in tensor.shape if n > 1)
    if rest or axes != sorted(n for n in (length, len(tensor.labels)) if n > 1):
        raise ModelError(
            f"{tensor.name}: shape {list(tensor.shape)} is not time by {list(tensor.labels)}"
        )
    return length


def _time_comes_first(tensor: Tensor) -> bool:
    return next((n for n in tensor.shape if n > 1), 1) != len(tensor.labels)


def _narrower(tensor: Input) -> tuple[NDArray[np.float64] | None, float]:
    """Filter and its delay (s) for a band that is narrower than that of conditioned samples."""
    low, high = tensor.band_hz
    if not BAND_HZ[0] <= low < high:
        raise ModelError(f"inputs.band_hz: {low:g}, {high:g}: from {BAND_HZ[0]:g} Hz or above, up")
    edges = {"highpass": low > BAND_HZ[0], "lowpass": high < min(BAND_HZ[1], 0.45 * tensor.rate_hz)}
    if not any(edges.values()):
        return None, 0.0
    kind = "bandpass" if all(edges.values()) else next(name for name in edges if edges[name])
    cut = {"highpass": low, "lowpass": high, "bandpass": (low, high)}[kind]
    filters = [signal.butter(ORDER, cut, kind, fs=RATE, output=form) for form in ("sos", "ba")]
    delay = signal.group_delay(filters[1], [math.sqrt(low * high)], fs=RATE)[1][0]
    return filters[0], float(delay) / RATE


def normalise(window: Floats) -> Floats:
    """(x − mean)/std of each component over the window, (n, c); a flat component is zeros."""
    centred = _centred(window)
    std = np.sqrt(np.einsum("ij,ij->j", centred, centred) / len(window))
    centred /= np.where(std > 0, std, np.float32(np.inf))
    return centred


def compress(window: Floats) -> Floats:
    """x/√(|x| + c) of x = `normalise(window)`, within ±4: what 8 bits hold of strong and weak.

    An onset is often a hundredth as strong as what follows it in the window; on a linear scale
    that is less than one of the 256 levels.
    """
    seen = normalise(window)
    seen /= np.sqrt(np.abs(seen) + np.float32(COMPRESSED_FROM))
    return seen.clip(-LARGEST, LARGEST, out=seen)


def _centred(window: Floats) -> Floats:
    # Relative to its first sample, a flat component is exactly 0. Sums as products: numpy's own
    # mean and std along the long axis of (n, 3) cost twice as much.
    centred: Floats = window - window[0]
    centred -= np.ones(len(window), np.float32) @ centred / len(window)
    return centred


def _by(size: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """Less the mean of each component, over a size; zeros where that is 0."""

    def normalised(window: Floats) -> Floats:
        centred = _centred(window)
        scale = size(centred)
        centred /= np.where(scale > 0, scale, np.float32(np.inf))
        return centred

    return normalised


NORMALISATIONS: dict[Normalisation, Callable[[Floats], Floats]] = {
    "none": lambda window: window,
    "standard per component": normalise,
    "compressed per component": compress,
    "standard per window": _by(lambda x: x.std()),
    "peak per component": _by(lambda x: np.abs(x).max(axis=0)),
    "peak per window": _by(lambda x: np.abs(x).max()),
}


def _softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


_ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "none": lambda values: values,
    "sigmoid": lambda logits: 1 / (1 + np.exp(-logits)),
    "softmax": _softmax,
}
