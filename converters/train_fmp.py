"""Train the first-motion model: simulated, ruled and read onsets -> int8 artefact with its card."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from converters.fmp_card import fmp_card, measure
from converters.fmp_data import (
    SIMULATED,
    Batch,
    Floats,
    Generator,
    Material,
    batch,
    gather,
    read_recordings,
    serves,
    simulated,
)
from converters.gate import GATE, gate_figures
from converters.quantise import to_float32, to_int8, write_artefact
from converters.training import add_common_arguments, apart, fit, write_float
from models.card import MODELS, write_card, write_manifest
from models.fmp import CHANNELS, CLARITIES, CLASSES, FMP, WINDOW

LAYERS = ((16, 9), (24, 7), (32, 5), (32, 3))  # channels and kernel; each halves the length
POLARITY, CLARITY = "polarity", "clarity"  # names of the outputs
LEARNING_RATE = 2e-3
SMOOTHING = 0.02  # of the labels: some of them are wrong
CLARITY_WEIGHT = 0.3  # of the loss
PRECISION = 0.95  # wanted of what is said to be up or down
REPRESENTATIVE = 400  # windows that show the quantiser the range of every activation


def smoke_material(seed: int) -> Material:
    """A few simulated onsets in white noise: enough to see that training runs."""
    noise = np.random.default_rng(seed).standard_normal(20_000).astype(np.float32)
    return Material(((list(simulated(40, seed)), 1.0),), [noise])


def training_material(args: argparse.Namespace) -> tuple[Material, Material]:
    """What to learn from, and, of stations kept out, what to calibrate on."""
    recordings = read_recordings(args.data, args.work / "labels")
    made = list(simulated(SIMULATED, args.seed))
    training = gather(recordings, lambda station_id: serves(station_id) == "training", made)
    validation = gather(recordings, lambda station_id: serves(station_id) == "validation", [])
    return training, validation


def build() -> Any:
    """The untrained network: (n, 128, 2) -> logits (n, 3) of polarity, (n, 2) of clarity."""
    import keras
    from keras import layers

    window = keras.Input((WINDOW, CHANNELS))
    x = layers.Reshape((1, WINDOW, CHANNELS))(window)
    for channels, kernel in LAYERS:
        x = layers.Conv2D(channels, (1, kernel), (1, 2), padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(32, activation="relu")(x)
    outputs = [
        layers.Dense(len(CLASSES), name=POLARITY),
        layers.Dense(len(CLARITIES), name=CLARITY),
    ]
    return keras.Model(window, [layer(x) for layer in outputs], name="fmp")


def train(training: Material, validation: Material, args: argparse.Namespace) -> tuple[Any, float]:
    """(network with calibrated probabilities, threshold); logs go to `args.work`."""
    import keras

    keras.utils.set_random_seed(args.seed)
    logits = build()
    rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE, args.epochs * args.steps, alpha=0.01
    )
    cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True)
    logits.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-3),
        loss=[cross_entropy, cross_entropy],
        loss_weights=[1.0, CLARITY_WEIGHT],
    )
    held_out = batch(validation, 32 * args.batch, np.random.default_rng(args.seed))

    def draw(rng: Generator) -> tuple[Any, ...]:
        return _weighted(batch(training, args.batch, rng))

    fit(
        logits,
        draw,
        args.work,
        steps=args.steps,
        epochs=args.epochs,
        seed=args.seed,
        validation=_weighted(held_out),
        quantity="cross-entropy",
    )
    polarity, _ = _calibrate(logits, held_out)
    outputs = [
        keras.layers.Softmax(name=f"{name}_probabilities")(output)
        for name, output in zip((POLARITY, CLARITY), logits.outputs, strict=True)
    ]
    return keras.Model(logits.input, outputs, name="fmp"), _threshold(polarity, held_out.polarity)


def _weighted(drawn: Batch) -> tuple[Any, ...]:
    """Inputs, targets none of which is quite sure, and weights: 0 where a target is unknown."""
    targets = (drawn.polarity, drawn.clarity)
    smoothed = tuple((1 - SMOOTHING) * y + SMOOTHING / y.shape[1] for y in targets)
    return drawn.windows, smoothed, tuple(y.sum(axis=1) for y in targets)


def _calibrate(logits: Any, held_out: Batch) -> list[Floats]:
    """Divide the logits by the temperatures of least cross-entropy (Guo et al. 2017) of what
    `FirstMotion` makes of them, the mean over a window and its mirror image; returns that.
    """
    straight = logits.predict(held_out.windows, verbose=0)
    mirrored = logits.predict(-held_out.windows, verbose=0)
    calibrated = []
    for name, targets, one, other, turned in (
        (POLARITY, held_out.polarity, straight[0], mirrored[0], [1, 0, 2]),
        (CLARITY, held_out.clarity, straight[1], mirrored[1], [0, 1]),
    ):
        means = {
            temperature: (_softmax(one / temperature) + _softmax(other / temperature)[:, turned])
            / 2
            for temperature in np.geomspace(0.3, 5, 60)
        }
        best = min(means, key=lambda t: -float(np.sum(targets * np.log(means[t] + 1e-9))))
        layer = logits.get_layer(name)
        layer.set_weights([weights / best for weights in layer.get_weights()])
        calibrated.append(means[best])
    return calibrated


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def _threshold(probabilities: Floats, targets: Floats) -> float:
    """The lowest from which what is said to be up or down is so often enough; at least 0.5."""
    said = probabilities[:, :2]
    right = said.argmax(axis=1) == targets.argmax(axis=1)
    for threshold in np.arange(0.5, 0.95, 0.01):
        decided = said.max(axis=1) >= threshold
        if decided.any() and right[decided].mean() >= PRECISION:
            return round(float(threshold), 2)
    return 0.95


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, FMP, epochs=30, batch=128, steps=100)


def run(args: argparse.Namespace) -> int:
    """Gather, train, calibrate, quantise, measure; leaves the artefact and its card."""
    args.work.mkdir(parents=True, exist_ok=True)
    if args.smoke:
        args.epochs, args.steps = 1, 4
        training = validation = smoke_material(args.seed)
    else:
        # Before TensorFlow is loaded: tflite_runtime, which runs the teacher, fails beside it.
        training, validation = training_material(args)
    model, threshold = train(training, validation, args)
    windows = batch(training, REPRESENTATIVE, np.random.default_rng(args.seed)).windows
    write_artefact(args.out, to_int8(model, ([window[None]] for window in windows)))
    card = fmp_card(threshold, {})
    write_card(args.out, card)
    parent = write_float(args.work / "fmp_float.tflite", to_float32(model), card)
    if not args.smoke:
        scores = apart(measure, args.out, parent, args.data)
        scores[GATE] = apart(gate_figures, "fmp", args.out, args.data)
        write_card(args.out, fmp_card(threshold, scores))
    if args.out.parent == MODELS:
        write_manifest()
    return 0
