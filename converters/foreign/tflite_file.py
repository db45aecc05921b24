"""TFLite artefacts of others: they stay as they are, and get a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from converters.foreign.contract import Contract, Foreign, ForeignError
from converters.foreign.red_pan import RED_PAN, SHA256
from models.card import Card, sha256
from models.interpreter import in_order, load_interpreter, read_artefact


def read_tflite(path: Path, contract: Contract | None) -> Foreign:
    """An artefact with its contract; RED-PAN is known by its hash and brings its own."""
    if contract is None and sha256(path) == SHA256:
        contract = RED_PAN
    if contract is None:
        raise ForeignError(f"{path}: --contract has to say what goes in and out")
    return Foreign(contract, None)


def describe(path: Path, contract: Contract, name: str) -> Card:
    """The card of an artefact, but for the hash and size that `write_card` fills in.

    Raises ModelError, and ForeignError where the contract does not fit.
    """
    _, interpreter = load_interpreter(read_artefact(path), path)
    tensors = interpreter.get_input_details(), interpreter.get_output_details()
    inputs, outputs = (
        [tuple(int(n) for n in detail["shape"]) for detail in in_order(details)]
        for details in tensors
    )
    dtypes = {np.dtype(detail["dtype"]).name for details in tensors for detail in details}
    for dtype in ("int8", "float32"):
        if dtypes == {dtype}:
            return contract.card(name, inputs, outputs, dtype)
    raise ForeignError(f"{path}: its tensors are {' and '.join(sorted(dtypes))}")
