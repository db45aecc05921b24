"""The seam over the two TFLite interpreters: `tflite_runtime`, and its successor `ai_edge_litert`.

Both run the same artefacts; their int8 results differ by one step here and there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import Card, CardError, Tensor, read_card, sha256

ENGINES = {  # in order of preference
    "tflite-runtime": "tflite_runtime.interpreter",
    "ai-edge-litert": "ai_edge_litert.interpreter",
}
_STDERR_LOCK = threading.Lock()


class ModelError(Exception):
    """An artefact that cannot be used; the message names the file and what is wrong with it."""


class Model:
    """An artefact ready to run on one thread: float32 in, float32 out, int8 between.

    Not safe for use from several threads at once.
    """

    def __init__(self, path: Path, engine: str | None = None, card: Card | None = None) -> None:
        """Load an artefact, checked against `card` (default: the one beside it).

        engine: "tflite-runtime", "ai-edge-litert", or None for $DITING_ENGINE, else the first of
        these that is installed. Raises ModelError.
        """
        self.path = path
        content = read_artefact(path)
        try:
            self.card = card or read_card(path)
        except CardError as error:
            raise ModelError(str(error)) from None
        # The hash comes before the interpreter: tflite_runtime crashes on a truncated artefact.
        if (found := sha256(path)) != self.card.sha256:
            raise ModelError(f"{path}: sha256 is {found[:12]}…, card says {self.card.sha256[:12]}…")
        self.engine, self._interpreter = load_interpreter(content, path, engine)
        self._inputs = [
            _Quantisation(path, detail, tensor)
            for detail, tensor in _paired(
                path, "inputs", self._interpreter.get_input_details(), self.card.inputs
            )
        ]
        self._outputs = [
            _Quantisation(path, detail, tensor)
            for detail, tensor in _paired(
                path, "outputs", self._interpreter.get_output_details(), self.card.outputs
            )
        ]

    def run(self, *inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Float inputs of the card's shapes -> float outputs of the card's shapes."""
        for tensor, values in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(tensor.index, tensor.quantise(values))
        self._interpreter.invoke()
        return tuple(
            tensor.dequantise(self._interpreter.get_tensor(tensor.index))
            for tensor in self._outputs
        )


class _Quantisation:
    """One tensor's place in the interpreter and its scale between float and int8."""

    def __init__(self, path: Path, detail: dict[str, Any], tensor: Tensor) -> None:
        found = (tuple(int(n) for n in detail["shape"]), np.dtype(detail["dtype"]).name)
        if found != (tensor.shape, tensor.dtype):
            raise ModelError(
                f"{path}: {tensor.name} is {found[1]} {list(found[0])}, "
                f"card says {tensor.dtype} {list(tensor.shape)}"
            )
        self.index: int = detail["index"]
        self.is_float = tensor.dtype == "float32"
        scale, zero = detail["quantization"]
        if not self.is_float:
            self._inverse_scale, self._zero = np.float32(1 / scale), np.float32(zero)
            levels = np.arange(-128, 128, dtype=np.float32)
            # Indexed by the int8 value read as uint8: one look-up instead of three passes.
            self._values = np.roll((levels - zero) * np.float32(scale), 128)

    def quantise(self, values: NDArray[np.float32]) -> NDArray[Any]:
        if self.is_float:
            return values.astype(np.float32, copy=False)
        scaled = values * self._inverse_scale
        scaled += self._zero
        np.rint(scaled, out=scaled)
        return scaled.clip(-128, 127, out=scaled).astype(np.int8)

    def dequantise(self, values: NDArray[Any]) -> NDArray[np.float32]:
        if self.is_float:
            return values
        return self._values.take(values.view(np.uint8))


def load_interpreter(content: bytes, path: Path, engine: str | None = None) -> tuple[str, Any]:
    """(engine, interpreter) on one thread with its tensors allocated; raises ModelError.

    content must be a whole artefact: a truncated one may crash the process.
    """
    name, interpreter_class = _find_engine(engine)
    try:
        with _quiet_stderr():
            interpreter = interpreter_class(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: {name} refuses it: {str(error).splitlines()[0]}") from None
    return name, interpreter


def _find_engine(engine: str | None) -> tuple[str, Any]:
    wanted = engine or os.environ.get("DITING_ENGINE") or None
    if wanted is not None and wanted not in ENGINES:
        raise ModelError(f"engine: {wanted!r} is none of {', '.join(ENGINES)}")
    for name in [wanted] if wanted else ENGINES:
        try:
            return name, import_module(ENGINES[name]).Interpreter
        except ImportError:
            continue
    raise ModelError(f"engine: {wanted or ' or '.join(ENGINES)} is not installed")


def read_artefact(path: Path) -> bytes:
    """The bytes of a file that at least claims to be a TFLite model; raises ModelError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from None
    if content[4:8] != b"TFL3":
        raise ModelError(f"{path}: not a TFLite model ({len(content)} bytes, no TFL3 mark)")
    return content


def _paired(
    path: Path, what: str, details: list[dict[str, Any]], tensors: tuple[Tensor, ...]
) -> Iterator[tuple[dict[str, Any], Tensor]]:
    if len(details) != len(tensors):
        raise ModelError(f"{path}: {len(details)} {what}, card says {len(tensors)}")
    return zip(in_order(details), tensors, strict=True)


def in_order(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Inputs or outputs as the model that was converted had them.

    TFLite does not keep the order of several tensors, but numbers their names: a, a_1, … a_10.
    """
    return sorted(details, key=lambda detail: (len(detail["name"]), detail["name"]))


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hide what the interpreters' C++ prints on loading: it has no switch."""
    with _STDERR_LOCK:
        sys.stderr.flush()
        saved = os.dup(2)
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
