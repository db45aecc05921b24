"""First-motion polarity: did the ground go up or down first, or can nobody tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.card import MODELS
from models.interpreter import Model

FMP = MODELS / "fmp.tflite"
WINDOW = 128  # samples at 100 Hz
BEFORE = 64  # of them before the pick
QUIET = 48  # first samples of the window, before any onset, which tell the noise
CHANNELS = 2
CLASSES = ("up", "down", "undecided")
CLARITIES = ("impulsive", "emergent")
Clarity = Literal["impulsive", "emergent", ""]
NORMALISATION = (
    "x / max|x| and asinh(x / s) / asinh(max|x| / s), s the standard deviation of the first "
    f"{QUIET} samples"
)
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
        self.threshold = self.card.thresholds["decided"]

    def classify(self, window: NDArray[Any]) -> Polarity:
        """First motion of a P that was picked at sample `BEFORE` of the window.

        window: conditioned vertical at 100 Hz, any unit, shape (128,); up is positive. The
        artefact sees it and its mirror image, so that turning the vertical over exchanges up and
        down and nothing else. Undecided below the card's threshold, and for a window that is
        flat or not finite. Raises ValueError for another shape.
        """
        (up, down, undecided), impulsive = self.judge(window)
        clarity: Clarity = ""
        if impulsive is not None:
            clarity = "impulsive" if impulsive >= 0.5 else "emergent"
        if max(up, down) < self.threshold:
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
        seen = normalise(window)
        if seen is None:
            return (0.0, 0.0, 1.0), None
        straight, *clear = self._model.run(seen[None])
        mirrored, *clear_too = self._model.run(-seen[None])
        both = straight[0] + mirrored[0, [1, 0, 2]]
        up, down, undecided = (float(value) for value in both / both.sum())
        if not clear:
            return (up, down, undecided), None
        impulsive, emergent = clear[0][0] + clear_too[0][0]
        return (up, down, undecided), float(impulsive / (impulsive + emergent))


def normalise(window: NDArray[Any]) -> Floats | None:
    """The network's input, shape (128, 2), within ±1; None for a flat or not finite window.

    Beside the plain window stands one on a logarithmic scale: a weak first motion before a
    strong second one would be lost in 8 bits.
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
