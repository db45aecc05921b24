"""Teachers: published models whose votes label recordings that no analyst has picked."""

from __future__ import annotations

from pathlib import Path

from converters.foreign.red_pan import RED_PAN
from converters.foreign.tflite_file import describe
from models.card import stamped
from models.picker import Picker


class RedPan(Picker):
    """RED-PAN for 30 s windows (Liao et al. 2022, doi 10.1109/TGRS.2022.3170783)."""

    def __init__(self, path: Path, engine: str | None = None) -> None:
        """path: its TFLite file, without a card.

        Raises ModelError where it is missing or no model, or the engine is not there.
        """
        super().__init__(path, engine, stamped(path, describe(path, RED_PAN, "red-pan")))
