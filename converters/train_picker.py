"""Train the phase picker: teacher's and analysts' labels -> U-Net -> int8 artefact with its card.

The network reads 30 s as blocks of samples: its first and last layer turn time into channels and
back, so that no layer runs at the full rate (0.5 ms per window on one x86 core).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from converters.augment import Floats, Stretch, render
from converters.picker_card import complete_card, picker_card
from converters.picker_labels import PHASES, Labels, synthetic_set, training_set, validation_set
from converters.quantise import to_float32, to_int8, write_artefact
from converters.training import add_common_arguments, apart, fit, write_float
from models.card import MODELS, Card, write_card, write_manifest
from models.picker import PICKER, WINDOW

PARENT = Path(__file__).with_name("picker.keras")  # from which fine-tuning begins
BLOCK = 6  # samples that the first layer turns into channels
CHANNELS = (24, 48, 80)  # of each level
STRIDES = (5, 4)  # between them
DILATIONS = (1, 2, 4)  # of the deepest level's convolutions: together they see 18 s
LOSS_WEIGHTS = (1.0, 1.0, 0.15)  # P, S, detection: it is everywhere, they are rare
LEARNING_RATE = 3e-3
REPRESENTATIVE = 500  # windows that show the quantiser the range of every activation
SMOKE_WINDOWS = 8  # of them in a smoke run


def build() -> Any:
    """The untrained network: (n, 3000, 3) -> (n, 3000, 3), sigmoids of P, S and detection.

    A U-Net whose layers are those that the interpreters' int8 kernels are fast at: few and wide
    convolutions, and none of the additions that residual networks are made of (tflite-runtime
    takes 7 ns for each int8 addition, more than for the convolution before it). Activations end
    at 6, so that one loud window does not cost all others their resolution.
    """
    import keras
    from keras import layers

    def convolve(x: Any, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> Any:
        x = layers.Conv2D(
            channels,
            (1, kernel),
            (1, stride),
            padding="same",
            use_bias=False,
            dilation_rate=(1, dilation),
        )(x)
        return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.97)(x))

    def join(x: Any, y: Any) -> Any:
        return layers.Concatenate()([x, y])

    window = keras.Input((WINDOW, 3))
    x = layers.Reshape((1, WINDOW // BLOCK, 3 * BLOCK))(window)
    x = convolve(x, CHANNELS[0], 7)
    skips = [x]
    for channels, stride in zip(CHANNELS[1:], STRIDES, strict=True):
        x = convolve(x, channels, stride + 3, stride)
        if channels != CHANNELS[-1]:
            x = convolve(x, channels, 3)
            skips.append(x)
    for dilation in DILATIONS:
        x = convolve(join(x, convolve(x, CHANNELS[-1], 3, dilation=dilation)), CHANNELS[-1], 1)
    for channels, stride, skip in zip(CHANNELS[-2::-1], STRIDES[::-1], skips[::-1], strict=True):
        x = layers.ReLU(6.0)(layers.Conv2D(channels * stride, 1)(x))
        x = convolve(join(layers.Reshape(skip.shape[1:])(x), skip), channels, 3)
        if channels != CHANNELS[0]:
            x = convolve(x, channels, 3)
    # Onsets are rare: to begin at their base rate spares the first epoch.
    rare = keras.initializers.Constant(-3.0)
    x = layers.Conv2D(3 * BLOCK, (1, 3), padding="same", bias_initializer=rare)(x)
    x = layers.Reshape((WINDOW, 3))(x)
    return keras.Model(window, layers.Activation("sigmoid")(x), name="picker")


def cross_entropy(target: Any, probability: Any) -> Any:
    """Of each window, the classes weighted by `LOSS_WEIGHTS`; a target of NaN leaves open what is
    right."""
    from keras import ops

    known = ops.logical_not(ops.isnan(target))
    target = ops.where(known, target, 0.0)
    probability = ops.clip(probability, 1e-6, 1 - 1e-6)
    entropy = -target * ops.log(probability) - (1 - target) * ops.log(1 - probability)
    weights = ops.convert_to_tensor(LOSS_WEIGHTS)
    return ops.mean(ops.where(known, entropy, 0.0) * weights, axis=(1, 2))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, PICKER, epochs=100, batch=64, steps=100)


def run(args: argparse.Namespace) -> int:
    """Label, train, quantise, measure; leaves the artefact and its card."""
    labels = Labels(args.data, args.work / "labels")
    if args.smoke:
        args.epochs, args.steps, args.batch = 2, 4, 8
        training = validation = synthetic_set(np.random.default_rng(args.seed))
    else:
        # Before TensorFlow is loaded: tflite_runtime, which runs a teacher, fails beside it.
        training, validation = training_set(labels), validation_set(labels)
    model = train(training, validation, args)
    write_models(model, training, args, args.out, picker_card(dict.fromkeys(PHASES, 0.3), {}))
    keep(model, PARENT if args.out.parent == MODELS else args.out.with_suffix(".keras"))
    if not args.smoke:
        apart(complete_card, args.out, labels)
    if args.out.parent == MODELS:
        write_manifest()
    return 0


def write_models(
    model: Any, training: list[Stretch], args: argparse.Namespace, out: Path, described: Card
) -> None:
    """The int8 artefact and its float parent, each with its card."""
    write_artefact(out, to_int8(model, representative(training, args)))
    write_card(out, described)
    told = f"{described.description}; the float parent, its weights in float16"
    beside = out.with_name(f"{out.stem}_float.tflite")
    content = to_float32(model, half_weights=True)
    write_float(beside, content, msgspec.structs.replace(described, description=told))


def representative(training: list[Stretch], args: argparse.Namespace) -> Iterator[list[Floats]]:
    """Windows that show the quantiser what the network will see."""
    count = SMOKE_WINDOWS if args.smoke else REPRESENTATIVE
    windows, _ = render(np.random.default_rng(args.seed), training, count)
    return ([window[None]] for window in windows)


def keep(model: Any, file: Path) -> None:
    """Keep a network to go on from, without its optimiser, which is twice as large."""
    bare = type(model).from_config(model.get_config())
    bare.set_weights(model.get_weights())
    bare.save(file)


def train(training: list[Stretch], validation: list[Stretch], args: argparse.Namespace) -> Any:
    """The trained network; `args.work` keeps checkpoint, `loss.csv` and `loss.png`."""
    import keras

    keras.utils.set_random_seed(args.seed)
    model = build()
    rate = keras.optimizers.schedules.CosineDecay(
        0.1 * LEARNING_RATE,
        args.epochs * args.steps,
        alpha=0.01,
        warmup_target=LEARNING_RATE,
        warmup_steps=2 * args.steps,
    )
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), loss=cross_entropy)
    fit(
        model,
        lambda rng: render(rng, training, args.batch),
        args.work,
        steps=args.steps,
        epochs=args.epochs,
        seed=args.seed,
        validation=render(np.random.default_rng(args.seed), validation, 8 * args.batch),
        quantity="cross-entropy",
    )
    return model
