"""Networks that Keras saved: `.keras`, `.h5`, `.hdf5`; DiTingMotion among them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from converters.foreign.contract import Contract, Foreign, ForeignError, Told

# DiTingMotion (Zhao et al. 2023, doi 10.1029/2022JB025796): the outputs of four depths, for the
# first motion and for its clarity; its authors average the depths.
DITING_MOTION = Contract(
    kind="fmp",
    components=("standardised", "sign of differences"),
    normalisation="standard and sign",
    outputs=(
        Told(labels=("up", "down", "undecided")),
        Told(labels=("impulsive", "emergent", "unclear")),
    ),
    thresholds={"decided": 0.0},
    description="DiTingMotion: first motion and clarity of P on the vertical, each the mean of "
    "four depths of the network",
    licence="none stated; its authors ask for citation (github.com/mingzhaochina)",
)
_MOTION, _CLARITY = (tuple(f"T{task}D{depth}" for depth in range(4)) for task in range(2))


def read_keras(path: Path, contract: Contract | None) -> Foreign:
    """A network with its contract; DiTingMotion is known by its outputs and brings its own."""
    if contract is not None:
        return Foreign(contract, partial(_load, path))
    if _outputs(path) == {*_MOTION, *_CLARITY}:
        return Foreign(DITING_MOTION, partial(_diting_motion, path))
    raise ForeignError(f"{path}: not DiTingMotion; --contract has to say what goes in and out")


def _outputs(path: Path) -> set[str]:
    """The names of a model's outputs, where its file is HDF5 and they have any."""
    import h5py
    import msgspec

    try:
        with h5py.File(path) as file:
            config = msgspec.json.decode(file.attrs["model_config"])
            outputs = config["config"]["output_layers"]
            return set(outputs) if isinstance(outputs, dict) else set()
    except (OSError, KeyError, TypeError, msgspec.DecodeError):
        return set()


def _load(path: Path) -> Any:
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    # Keras raises whatever it stumbles over in somebody else's file.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ForeignError(f"{path}: Keras cannot load it: {reason[0]}") from None


def _diting_motion(path: Path) -> Any:
    import keras

    network = _load(path)
    by_name = network.output
    means = [keras.layers.Average()([by_name[n] for n in names]) for names in (_MOTION, _CLARITY)]
    return keras.Model(network.input, means)
