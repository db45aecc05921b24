"""Keras model -> TFLite: full int8 after training, or float32 for comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import MAX_BYTES


class QuantiseError(Exception):
    """A model that does not become a usable artefact."""


def to_int8(model: Any, representative: Iterable[Sequence[NDArray[np.float32]]]) -> bytes:
    """Full-integer TFLite model: int8 inputs, weights, activations and outputs.

    model: Keras model whose inputs have a fixed batch size of 1 or a free one (it becomes 1).
    representative: examples that span what the model will see; each is one array per input,
    shape (1, ...), float32. A few hundred are enough; ranges come from their extremes.
    """
    import tensorflow as tf

    def examples() -> Iterator[dict[str, NDArray[np.float32]]]:
        for example in representative:
            yield {_input(k): np.asarray(array, np.float32) for k, array in enumerate(example)}

    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    content: bytes = converter.convert()
    return content


def to_float32(model: Any, half_weights: bool = False) -> bytes:
    """The same model in float32: the reference that int8 is measured against.

    half_weights: keep the weights, not the arithmetic, in float16: half the size.
    """
    import tensorflow as tf

    converter = _converter(model)
    if half_weights:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    content: bytes = converter.convert()
    return content


def to_int8_weights(model: Any) -> bytes:
    """The same model with weights in int8 and arithmetic in float32, inputs and outputs too."""
    import tensorflow as tf

    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content: bytes = converter.convert()
    return content


def write_artefact(path: Path, content: bytes) -> None:
    """Write an artefact; QuantiseError where it is larger than an artefact may be."""
    if len(content) > MAX_BYTES:
        raise QuantiseError(f"{path}: {len(content)} bytes, at most {MAX_BYTES} allowed")
    path.write_bytes(content)


def _converter(model: Any) -> Any:
    import keras
    import tensorflow as tf

    inputs = [
        keras.Input(batch_shape=(1, *tensor.shape[1:]), name=_input(k))
        for k, tensor in enumerate(model.inputs)
    ]
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    return tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, outputs))


def _input(position: int) -> str:
    """TFLite does not keep the order of inputs; by these names it is found again."""
    return f"input_{position}"
