"""The phase picker: 30 s of three components -> probabilities of P, S and detection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.card import MODELS
from models.interpreter import Model, ModelError

PICKER = MODELS / "picker.tflite"
WINDOW = 3000  # samples at 100 Hz
LABELS = ("P", "S", "detection")  # of the outputs, in the card's order
NORMALISATION = "per component (x - mean) / std over the window; zeros where std is 0"


class Picker:
    """A picker artefact, ready to run; its contract and thresholds are those of its card."""

    def __init__(self, path: Path = PICKER, engine: str | None = None) -> None:
        """Raises ModelError where the artefact is not what its card says."""
        self._model = Model(path, engine)
        self.path = path
        self.card = self._model.card
        self.engine = self._model.engine
        self.thresholds = self.card.thresholds  # phase -> probability
        shape, labels = self.card.inputs[0].shape, self.card.outputs[0].labels
        if shape != (1, WINDOW, 3) or set(labels) != set(LABELS):
            raise ModelError(f"{path}: not a picker: {list(shape)} samples in, {labels} out")
        if not {"P", "S"} <= self.thresholds.keys():
            raise ModelError(f"{path}: its card has no thresholds for P and S")

    def probabilities(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Conditioned samples (3000, 3) in the card's order (Z, N or 1, E or 2), any unit.

        A component that is missing or flat is zeros. Returns probabilities, shape (3000, 3): P, S
        and detection of each sample, independent of each other, 0 to 1 in steps of 1/256.
        """
        probabilities: NDArray[np.float32] = self._model.run(normalise(window)[None])[0][0]
        return probabilities


def normalise(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """(x − mean)/std of each component over the window, (n, 3); a flat component is zeros."""
    # Relative to its first sample, a flat component is exactly 0. Sums as products: numpy's own
    # mean and std along the long axis of (n, 3) cost twice as much.
    centred: NDArray[np.float32] = window - window[0]
    centred -= np.ones(len(window), np.float32) @ centred / len(window)
    std = np.sqrt(np.einsum("ij,ij->j", centred, centred) / len(window))
    centred /= np.where(std > 0, std, np.float32(np.inf))
    return centred
