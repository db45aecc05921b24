"""Teachers: published models whose votes label recordings that no analyst has picked."""

from __future__ import annotations

from pathlib import Path

from converters.foreign.phasenet import read_checkpoint
from converters.foreign.red_pan import RED_PAN
from converters.foreign.tflite_file import describe
from converters.quantise import to_float32
from converters.training import apart, write_float
from models.card import stamped
from models.picker import Picker


class RedPan(Picker):
    """RED-PAN for 30 s windows (Liao et al. 2022, doi 10.1109/TGRS.2022.3170783)."""

    def __init__(self, path: Path, engine: str | None = None) -> None:
        """path: its TFLite file, without a card.

        Raises ModelError where it is missing or no model, or the engine is not there.
        """
        super().__init__(path, engine, stamped(path, describe(path, RED_PAN, "red-pan")))


def read_phasenet(checkpoint: Path, cache: Path) -> Picker:
    """PhaseNet (Zhu & Beroza 2019, doi 10.1093/gji/ggy423) in float32, as TFLite in `cache`.

    Raises ForeignError where the folder holds no checkpoint of it.
    """
    artefact = cache / "phasenet.tflite"
    if not artefact.exists():
        cache.mkdir(parents=True, exist_ok=True)
        apart(_write_phasenet, checkpoint, artefact)
    return Picker(artefact)


def _write_phasenet(checkpoint: Path, artefact: Path) -> None:
    foreign = read_checkpoint(checkpoint)
    assert foreign.build is not None
    model = foreign.build()
    inputs, outputs = (
        [(1, *tensor.shape[1:]) for tensor in tensors] for tensors in (model.inputs, model.outputs)
    )
    write_float(artefact, to_float32(model), foreign.contract.card("phasenet", inputs, outputs))
