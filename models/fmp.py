"""First-motion polarity: did the ground go up or down first, or can nobody tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.card import MODELS, Card, Normalisation, Output
from models.conditioning import RATE
from models.interpreter import Model, ModelError

FMP = MODELS / "fmp.tflite"
WINDOW = 128  # samples at 100 Hz
BEFORE = 64  # of them before the pick
QUIET = 48  # first samples of the window, before any onset, which tell the noise
CHANNELS = 2
CLASSES = ("up", "down", "undecided")
CLARITIES = ("impulsive", "emergent")
Clarity = Literal["impulsive", "emergent", ""]
NORMALISATION: Normalisation = "linear and logarithmic"
Floats = NDArray[np.float32]


class Polarity(NamedTuple):
    """`probability` is that of `polarity`, or of "undecided" where that is empty.

    `clarity` tells how the onset begins, whether or not it can be read; it is empty where the
    window or the artefact does not tell.
    """

    polarity: Literal["up", "down", ""]
    probability: float
    clarity: Clarity = ""


class FirstMotion:
    """A first-motion artefact, ready to run."""

    def __init__(self, path: Path = FMP, engine: str | None = None) -> None:
        """Raises ModelError where the artefact is not what its card says."""
        self._model = Model(path, engine)
        self.card = self._model.card
        self.engine = self._model.engine
        try:
            self._understand(self.card)
        except ModelError as problem:
            raise ModelError(f"{path}: not a reader of first motions: {problem}") from None

    def _understand(self, card: Card) -> None:
        """Take from a card what is needed to use the artefact. Raises ModelError."""
        if len(card.inputs) != 1 or card.inputs[0].normalisation not in NORMALISATIONS:
            raise ModelError(f"inputs.normalisation: none of {', '.join(NORMALISATIONS)}")
        if card.inputs[0].shape != (1, WINDOW, CHANNELS) or card.inputs[0].rate_hz != RATE:
            raise ModelError(f"inputs: not {WINDOW} samples by {CHANNELS} at {RATE} Hz")
        if any(tensor.activation != "none" for tensor in card.outputs):
            raise ModelError("outputs.activation: has to be in the artefact")
        self._normalise = NORMALISATIONS[card.inputs[0].normalisation]
        if (motion := _places(card.outputs, CLASSES)) is None:
            raise ModelError(f"outputs.labels: none has {', '.join(CLASSES)}")
        self._motion = motion
        self._clarity = _places(card.outputs, CLARITIES)
        if "decided" not in card.thresholds:
            raise ModelError("thresholds: none for decided")
        self.threshold = card.thresholds["decided"]

    def classify(self, window: NDArray[Any]) -> Polarity:
        """First motion of a P that was picked at sample `BEFORE` of the window.

        window: conditioned vertical at 100 Hz, any unit, shape (128,); up is positive. The
        artefact sees it and its mirror image, so that turning the vertical over exchanges up and
        down and nothing else. Undecided below the card's threshold, and for a window that is
        flat or not finite, or where that is the likeliest. Raises ValueError for another shape.
        """
        (up, down, undecided), impulsive = self.judge(window)
        clarity: Clarity = ""
        if impulsive is not None:
            clarity = "impulsive" if impulsive >= 0.5 else "emergent"
        if max(up, down) < max(self.threshold, undecided):
            return Polarity("", undecided, clarity)
        return Polarity("up", up, clarity) if up > down else Polarity("down", down, clarity)

    def probabilities(self, window: NDArray[Any]) -> tuple[float, float, float]:
        """Probabilities of up, down and undecided; they add up to 1."""
        return self.judge(window)[0]

    def judge(self, window: NDArray[Any]) -> tuple[tuple[float, float, float], float | None]:
        """Probabilities of up, down and undecided, and that of an impulsive beginning.

        The latter is None for a window that is flat or not finite, and where the artefact does
        not tell.
        """
        seen = self._normalise(window)
        if seen is None:
            return (0.0, 0.0, 1.0), None
        straight, mirrored = self._model.run(seen[None]), self._model.run(-seen[None])
        tensor, columns = self._motion
        both = straight[tensor][0, columns] + mirrored[tensor][0, columns][[1, 0, 2]]
        up, down, undecided = (float(value) for value in both / both.sum())
        if self._clarity is None:
            return (up, down, undecided), None
        tensor, columns = self._clarity
        impulsive, emergent = straight[tensor][0, columns] + mirrored[tensor][0, columns]
        told = float(impulsive + emergent)
        return (up, down, undecided), float(impulsive) / told if told > 0 else None


def _places(outputs: tuple[Output, ...], labels: tuple[str, ...]) -> tuple[int, list[int]] | None:
    """The output that has all of the labels, and where in it they are."""
    for number, tensor in enumerate(outputs):
        if set(labels) <= set(tensor.labels):
            return number, [tensor.labels.index(label) for label in labels]
    return None


def normalise(window: NDArray[Any]) -> Floats | None:
    """The network's input, shape (128, 2), within ±1; None for a flat or not finite window.

    x / max|x| and, since a weak first motion before a strong second one would be lost in 8 bits,
    asinh(x / s) / asinh(max|x| / s), s the standard deviation of the first `QUIET` samples.
    """
    if window.shape != (WINDOW,):
        raise ValueError(f"window: shape {window.shape} is not ({WINDOW},)")
    peak = float(np.abs(window).max())
    if not 0 < peak < np.inf:
        return None
    relative = window / peak
    noise = max(float(relative[:QUIET].std()), 1e-6)
    compressed = np.arcsinh(relative / noise) / np.arcsinh(1 / noise)
    seen: Floats = np.stack((relative, compressed), axis=-1).astype(np.float32)
    return seen


def standard_and_sign(window: NDArray[Any]) -> Floats | None:
    """The input of DiTingMotion (Zhao et al. 2023), shape (128, 2); None as `normalise`.

    (x − mean) / std and, from the pick on, the sign of its differences.
    """
    if window.shape != (WINDOW,):
        raise ValueError(f"window: shape {window.shape} is not ({WINDOW},)")
    deviation = float(window.std())
    if not 0 < deviation < np.inf:
        return None
    seen = np.zeros((WINDOW, CHANNELS), np.float32)
    seen[:, 0] = (window - window.mean()) / deviation
    seen[BEFORE + 1 :, 1] = np.sign(np.diff(seen[BEFORE:, 0]))
    return seen


NORMALISATIONS: dict[Normalisation, Callable[[NDArray[Any]], Floats | None]] = {
    "linear and logarithmic": normalise,
    "standard and sign": standard_and_sign,
}
