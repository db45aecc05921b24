"""Train the first-motion model: simulated, ruled and read onsets -> int8 artefact with its card."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from converters.fmp_card import fmp_card, measure
from converters.fmp_data import UNDECIDED, Floats, Material, batch, simulated, training_material
from converters.quantise import to_float32, to_int8, write_artefact
from converters.training import add_common_arguments, plot_losses, write_float
from models.card import MODELS, write_card, write_manifest
from models.fmp import CHANNELS, CLASSES, FMP, WINDOW

LAYERS = ((16, 9), (24, 7), (32, 5), (32, 3))  # channels and kernel; each halves the length
LEARNING_RATE = 2e-3
SMOOTHING = 0.02  # of the labels: some of them are wrong
PRECISION = 0.9  # wanted of what is said to be up or down
REPRESENTATIVE = 400  # windows that show the quantiser the range of every activation


def smoke_material(seed: int) -> Material:
    """A few simulated onsets in white noise: enough to see that training runs."""
    noise = np.random.default_rng(seed).standard_normal(20_000).astype(np.float32)
    return Material(((list(simulated(40, seed)), 1.0),), [noise])


def build() -> Any:
    """The untrained network: (n, 128, 2) -> logits (n, 3)."""
    import keras
    from keras import layers

    window = keras.Input((WINDOW, CHANNELS))
    x = layers.Reshape((1, WINDOW, CHANNELS))(window)
    for channels, kernel in LAYERS:
        x = layers.Conv2D(channels, (1, kernel), (1, 2), padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(32, activation="relu")(x)
    return keras.Model(window, layers.Dense(len(CLASSES), name="logits")(x), name="fmp")


def train(training: Material, validation: Material, args: argparse.Namespace) -> tuple[Any, float]:
    """(network with calibrated probabilities, threshold); logs go to `args.work`."""
    import keras

    keras.utils.set_random_seed(args.seed)
    logits = build()
    steps = args.epochs * args.steps
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps, alpha=0.01)
    logits.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-3),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING),
    )
    held_out = batch(validation, 32 * args.batch, np.random.default_rng(args.seed))
    logits.fit(
        _batches(training, args.steps, args.batch, args.seed),
        epochs=args.epochs,
        validation_data=held_out,
        verbose=0,
        callbacks=[keras.callbacks.CSVLogger(str(args.work / "loss.csv"))],
    )
    plot_losses(args.work / "loss.csv", "cross-entropy")
    _calibrate(logits, *held_out)
    probabilities = keras.layers.Softmax()(logits.output)
    model = keras.Model(logits.input, probabilities, name="fmp")
    return model, _threshold(model.predict(held_out[0], verbose=0), held_out[1])


def _batches(material: Material, steps: int, size: int, seed: int) -> Any:
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        """New windows every epoch, the same ones in every run."""

        def __init__(self) -> None:
            super().__init__(workers=1)
            self.epoch = 0

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[Floats, Floats]:
            return batch(material, size, np.random.default_rng((seed, self.epoch, index)))

        def on_epoch_end(self) -> None:
            self.epoch += 1

    return Batches()


def _calibrate(logits: Any, inputs: Floats, targets: Floats) -> None:
    """Divide the logits by the temperature of least cross-entropy (Guo et al. 2017)."""
    raw = logits.predict(inputs, verbose=0)
    temperatures = np.geomspace(0.3, 5, 60)
    losses = [
        float(-np.mean(np.sum(targets * _log_softmax(raw / t), axis=1))) for t in temperatures
    ]
    temperature = temperatures[int(np.argmin(losses))]
    layer = logits.get_layer("logits")
    layer.set_weights([weights / temperature for weights in layer.get_weights()])


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _threshold(probabilities: Floats, targets: Floats) -> float:
    """The lowest from which what is said to be up or down is so often enough; at least 0.5."""
    said = probabilities[:, :UNDECIDED]
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
        training, validation = training_material(args.data, args.work / "labels", args.seed)
    model, threshold = train(training, validation, args)
    windows, _ = batch(training, REPRESENTATIVE, np.random.default_rng(args.seed))
    write_artefact(args.out, to_int8(model, ([window[None]] for window in windows)))
    card = fmp_card(threshold, {})
    write_card(args.out, card)
    parent = write_float(args.work / "fmp_float.tflite", to_float32(model), card)
    if not args.smoke:
        # A process of its own, again for the sake of tflite_runtime.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            scores = pool.submit(measure, args.out, parent, args.data).result()
        write_card(args.out, fmp_card(threshold, scores))
    if args.out.parent == MODELS:
        write_manifest()
    return 0
