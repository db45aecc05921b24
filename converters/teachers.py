"""Teachers: published models whose votes label recordings that no analyst has picked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.interpreter import load_interpreter, read_artefact
from models.picker import normalise


class RedPan:
    """RED-PAN for 30 s windows (Liao et al. 2022, doi 10.1109/TGRS.2022.3170783)."""

    def __init__(self, path: Path, engine: str | None = None) -> None:
        """Raises ModelError where the file is missing or no model, or the engine is not there."""
        _, self._interpreter = load_interpreter(read_artefact(path), path, engine)
        self._input = self._interpreter.get_input_details()[0]["index"]
        picks, mask = self._interpreter.get_output_details()
        self._picks, self._mask = picks["index"], mask["index"]

    def probabilities(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Conditioned window (3000, 3), Z N E -> probabilities (3000, 3), P S detection."""
        # It was trained on E N Z: in that order it agrees better with analysts.
        self._interpreter.set_tensor(self._input, normalise(window)[None, :, ::-1])
        self._interpreter.invoke()
        picks = self._interpreter.get_tensor(self._picks)[0]
        mask = self._interpreter.get_tensor(self._mask)[0]
        return np.concatenate([picks[:, :2], mask[:, :1]], axis=1)
