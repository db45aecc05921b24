"""PhaseNet (Zhu & Beroza 2019, doi 10.1093/gji/ggy423), from whatever framework its weights are.

The network of github.com/AI4EPS/PhaseNet, file phasenet/model.py: a U-Net of five levels with
kernels of 7 samples, strides of 4, and each batch normalisation before its ReLU; here they are
folded into the convolutions. SeisBench's port (seisbench/models/phasenet.py) pads by hand to the
same effect, on 3001 samples.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.foreign.contract import Contract, Foreign, ForeignError, Told
from converters.foreign.torch_file import read_state_dict
from models.card import Dataset

DEPTH, STRIDE = 5, 4
EPSILON = 1e-3  # of every batch normalisation
Floats = NDArray[np.float32]
LABELS = {"N": "noise", "P": "P", "S": "S"}  # of SeisBench


class Layer(NamedTuple):
    """A convolution, kernel (taps, 1, in, out), or for one that goes up (taps, 1, out, in)."""

    kernel: Floats
    bias: Floats


class Norm(NamedTuple):
    """A batch normalisation, each of shape (channels,)."""

    gamma: Floats
    beta: Floats
    mean: Floats
    variance: Floats


def read_checkpoint(path: Path) -> Foreign:
    """A TensorFlow 1 checkpoint as PhaseNet's repository has it: a folder, or one of its files."""
    if path.is_dir():
        found = sorted(path.rglob("*.index"))
        if len(found) != 1:
            raise ForeignError(f"{path}: {len(found)} checkpoints (*.index) instead of one")
        path = found[0]
    contract = Contract(
        components=("E", "N", "Z"),
        outputs=(Told(labels=("noise", "P", "S")),),
        description="PhaseNet (Zhu & Beroza 2019, doi 10.1093/gji/ggy423)",
        licence="MIT (github.com/AI4EPS/PhaseNet)",
        training_data=(
            Dataset(name="NCEDC", use="700,000 records of Northern California", licence="NCEDC"),
        ),
        limits=("trained on records that were not band-passed",),
    )
    return Foreign(contract, partial(_from_checkpoint, path.with_suffix("")))


def _from_checkpoint(prefix: Path) -> Any:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except (ValueError, tf.errors.OpError) as error:
        raise ForeignError(f"{prefix}: {str(error).splitlines()[0]}") from None

    def get(name: str) -> Floats:
        if not reader.has_tensor(name):
            raise ForeignError(f"{prefix}: not PhaseNet: no variable {name}")
        values: Floats = reader.get_tensor(name)
        return values

    def folded(scope: str, convolution: str, norm: str, up: bool = False) -> Layer:
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        bias = f"{scope}/{convolution}/bias"
        return fold(
            get(f"{scope}/{convolution}/kernel"),
            get(bias) if reader.has_tensor(bias) else None,
            Norm(*(get(f"{scope}/{norm}/{part}") for part in parts)),
            up,
        )

    layers = {"in": folded("Input", "input_conv", "input_bn")}
    for d in range(DEPTH):
        scope = f"DownConv_{d}"
        layers[f"same{d}"] = folded(scope, f"down_conv1_{d + 1}", f"down_bn1_{d + 1}")
        if d < DEPTH - 1:
            layers[f"down{d}"] = folded(scope, f"down_conv3_{d + 1}", f"down_bn3_{d + 1}")
            scope = f"UpConv_{d}"
            layers[f"up{d}"] = folded(scope, f"up_conv0_{d + 1}", f"up_bn0_{d + 1}", up=True)
            layers[f"join{d}"] = folded(scope, f"up_conv1_{d + 1}", f"up_bn1_{d + 1}")
    layers["out"] = Layer(get("Output/output_conv/kernel"), get("Output/output_conv/bias"))
    return build(3000, layers)


def read_seisbench(path: Path) -> Foreign:
    """A state dict of seisbench.models.PhaseNet (`NAME.pt.v2`), with `NAME.json.v2` beside it.

    Without that, what the constructor takes by default: labels N P S, 100 Hz, Z N E.
    """
    state = read_state_dict(path)
    arguments = _seisbench_arguments(path)
    if arguments.get("norm_detrend"):
        raise ForeignError(f"{path}: norm_detrend: no such normalisation here")
    peak = arguments.get("norm_amp_per_comp") or arguments.get("norm") == "peak"
    phases = str(arguments.get("phases", "NPS"))
    contract = Contract(
        components=tuple(str(arguments.get("component_order", "ZNE"))),
        rate_hz=float(arguments.get("sampling_rate", 100)),
        normalisation="peak per component" if peak else "standard per component",
        outputs=(Told(labels=tuple(LABELS.get(phase, phase) for phase in phases)),),
        description="PhaseNet (Zhu & Beroza 2019, doi 10.1093/gji/ggy423), weights of SeisBench",
        limits=("trained on records that were not band-passed",),
    )
    return Foreign(contract, partial(_from_state, path, state))


def _seisbench_arguments(path: Path) -> dict[str, Any]:
    beside = path.with_name(path.name.replace(".pth", ".json").replace(".pt", ".json"))
    if beside == path or not beside.is_file():
        return {}
    try:
        described = msgspec.json.decode(beside.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, OSError) as error:
        raise ForeignError(f"{beside}: {error}") from None
    arguments: dict[str, Any] = described.get("model_args", {})
    return arguments


def _from_state(path: Path, state: dict[str, Floats]) -> Any:
    def get(name: str) -> Floats:
        if name not in state:
            raise ForeignError(f"{path}: not SeisBench's PhaseNet: no tensor {name}")
        return state[name]

    def kernel(name: str) -> Floats:  # PyTorch: (out, in, taps), or (in, out, taps) to go up
        return get(name).transpose(2, 1, 0)[:, None]

    def folded(convolution: str, norm: str, up: bool = False) -> Layer:
        parts = ("weight", "bias", "running_mean", "running_var")
        return fold(
            kernel(f"{convolution}.weight"),
            state.get(f"{convolution}.bias"),
            Norm(*(get(f"{norm}.{part}") for part in parts)),
            up,
        )

    layers = {"in": folded("inc", "in_bn")}
    for d in range(DEPTH):
        branch = f"down_branch.{d}"
        layers[f"same{d}"] = folded(f"{branch}.0", f"{branch}.1")
        if d < DEPTH - 1:
            layers[f"down{d}"] = folded(f"{branch}.2", f"{branch}.3")
            branch = f"up_branch.{DEPTH - 2 - d}"
            layers[f"up{d}"] = folded(f"{branch}.0", f"{branch}.1", up=True)
            layers[f"join{d}"] = folded(f"{branch}.2", f"{branch}.3")
    layers["out"] = Layer(kernel("out.weight"), get("out.bias"))
    return build(3001, layers)


def fold(kernel: Floats, bias: Floats | None, norm: Norm, up: bool) -> Layer:
    """A convolution and the batch normalisation after it, as one convolution."""
    scale = norm.gamma / np.sqrt(norm.variance + EPSILON)
    shift = norm.beta - norm.mean * scale
    if bias is not None:
        shift = shift + bias * scale
    return Layer(kernel * (scale[:, None] if up else scale), shift)


def spread(layer: Layer) -> Layer:
    """A transposed convolution as a plain one with STRIDE outputs per sample, side by side.

    Output STRIDE m + p gets input j through tap STRIDE (m − j) + p + 1. TFLite's own transposed
    convolution is slower, and takes no int8 weights in float arithmetic.
    """
    taps, _, channels, inputs = layer.kernel.shape
    kernel = np.zeros((3, 1, inputs, STRIDE, channels), np.float32)
    for near, place in np.ndindex(3, STRIDE):
        tap = STRIDE * (1 - near) + place + 1
        if 0 <= tap < taps:
            kernel[near, 0, :, place] = layer.kernel[tap, 0].T
    return Layer(kernel.reshape(3, 1, inputs, STRIDE * channels), np.tile(layer.bias, STRIDE))


def build(length: int, layers: dict[str, Layer]) -> Any:
    """The network: (n, length, 1, components) -> probabilities (n, length, 1, classes)."""
    import keras
    from keras import layers as kl

    weights: dict[str, Layer] = {}

    def convolve(x: Any, name: str, stride: int = 1, activation: str = "relu") -> Any:
        weights[name] = layer = spread(layers[name]) if name.startswith("up") else layers[name]
        taps, _, _, channels = layer.kernel.shape
        convolution = kl.Conv2D(
            channels, (taps, 1), (stride, 1), padding="same", activation=activation, name=name
        )
        return convolution(x)

    window = keras.Input((length, 1, layers["in"].kernel.shape[2]))
    x = convolve(window, "in")
    skips = []
    for d in range(DEPTH - 1):
        x = convolve(x, f"same{d}")
        skips.append(x)
        x = convolve(x, f"down{d}", STRIDE)
    x = convolve(x, f"same{DEPTH - 1}")
    for d, skip in reversed([*enumerate(skips)]):
        x = convolve(x, f"up{d}")
        x = kl.Reshape((STRIDE * x.shape[1], 1, x.shape[3] // STRIDE))(x)
        over = x.shape[1] - skip.shape[1]
        x = kl.Cropping2D(((over // 2, over - over // 2), (0, 0)))(x)
        x = convolve(kl.Concatenate()([skip, x]), f"join{d}")
    model = keras.Model(window, convolve(x, "out", activation="softmax"), name="phasenet")
    for name, layer in weights.items():
        model.get_layer(name).set_weights(list(layer))
    return model
