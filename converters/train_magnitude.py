"""Train the magnitude model: simulated and catalogued records -> int8 artefact with its card."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from cloud.velocity import VelocityModel
from converters.datasets import is_test_fold, read_continuous, read_seisbench
from converters.magnitude_card import magnitude_card, measure
from converters.magnitude_data import (
    Examples,
    Floats,
    Shaking,
    catalogued,
    join,
    make_examples,
    physical,
    shapes,
    simulated,
)
from converters.picked import picked
from converters.quantise import to_float32, to_int8, write_artefact
from converters.training import add_common_arguments, plot_losses, write_float
from models.card import MODELS, write_card, write_manifest
from models.conditioning import RATE
from models.magnitude import BINS, MAGNITUDE, SCALARS

SIMULATED, SIMULATED_COPIES, REAL_COPIES = 16_000, 4, 20
SHARES = (0.7, 0.2, 0.1)  # of the loss: simulated, catalogued, shapes alone
CHANNELS = ((16, 7), (24, 5), (32, 5))  # and kernel of each convolution
LEARNING_RATE = 2e-3
SIGMA_LIMITS = (-2.5, 2.0)  # of its logarithm
OUTLIER = 2.0  # standard deviations from which the loss grows linearly
REPRESENTATIVE = 400  # examples that show the quantiser the range of every activation
EDGE = 10 * RATE  # of a recording, in which the filter comes to rest


def training_set(data: Path, cache: Path, seed: int) -> tuple[Examples, Examples]:
    """Examples to learn from, and those of the stations kept out to check against."""
    folder = data / "ridgecrest_aftershocks"
    teacher = data / "weights" / "REDPAN_30s_v2.tflite"
    velocity = VelocityModel.read(data / "ridgecrest_foreshocks" / "velocity_p.txt")
    records = picked(read_continuous(folder), teacher, cache / "aftershocks")
    real = list(catalogued(folder, records, velocity))
    training = [shaking for shaking in real if not is_test_fold(shaking.station_id)]
    validation = [shaking for shaking in real if is_test_fold(shaking.station_id)]
    labelled = read_seisbench(data / "labelled" / "ncedc_stead")
    others = list(shapes(r for r in labelled if not is_test_fold(r.station_id)))
    made = list(simulated(SIMULATED, list(_noises(data / "ridgecrest_quiet")), seed))
    sets = (made, SIMULATED_COPIES), (training, REAL_COPIES), (others, REAL_COPIES)
    return join(
        [
            make_examples(shakings, copies, share, seed + k)
            for k, ((shakings, copies), share) in enumerate(zip(sets, SHARES, strict=True))
        ]
    ), make_examples(validation, 5, 1.0, seed)


def _noises(folder: Path) -> Iterator[Floats]:
    """Quiet ground, m/s; the two small events in it are too rare to matter."""
    for record in read_continuous(folder):
        if not is_test_fold(record.station_id):
            ground = physical(folder, record)
            if ground is not None:
                yield ground[EDGE:]


def smoke_set(seed: int) -> tuple[Examples, Examples]:
    """A few simulated records: enough to see that training runs."""
    shakings: list[Shaking] = list(simulated(80, [], seed))
    return make_examples(shakings[:60], 4, 1.0, seed), make_examples(shakings[60:], 4, 1.0, seed)


def build() -> Any:
    """The untrained network: shape (n, 100, 3), scalars (n, 5) -> residual, log sigma (n, 1)."""
    import keras
    from keras import layers

    shape, scalars = keras.Input((BINS, 3), name="shape"), keras.Input((len(SCALARS),))
    x = layers.Reshape((1, BINS, 3))(shape)
    for channels, kernel in CHANNELS:
        x = layers.Conv2D(channels, (1, kernel), (1, 2), padding="same", activation="relu")(x)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    x = layers.Concatenate()([layers.Dense(32, activation="relu")(x), scalars])
    for _ in range(2):
        x = layers.Dense(32, activation="relu")(x)
    outputs = [layers.Dense(1, name=name)(x) for name in ("residual", "log_sigma")]
    return keras.Model([shape, scalars], outputs, name="magnitude")


def _loss(target: Any, predicted: Any) -> Any:
    """Negative log-likelihood of a normal distribution whose outliers count less."""
    from keras import ops

    log_sigma = ops.clip(predicted[:, 1], *SIGMA_LIMITS)
    z = (target[:, 0] - predicted[:, 0]) * ops.exp(-log_sigma)
    return log_sigma + OUTLIER**2 * (ops.sqrt(1 + (z / OUTLIER) ** 2) - 1)


def train(training: Examples, validation: Examples, args: argparse.Namespace) -> Any:
    """The trained network; `args.work` keeps `loss.csv` and `loss.png`."""
    import keras

    keras.utils.set_random_seed(args.seed)
    model = build()
    both = keras.Model(model.inputs, keras.layers.Concatenate()(model.outputs))
    steps = args.epochs * (len(training.residual) // args.batch + 1)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps, alpha=0.01)
    both.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), loss=_loss)
    both.fit(
        [training.shape, training.scalars],
        training.residual[:, None],
        sample_weight=training.weight / training.weight.mean(),
        validation_data=([validation.shape, validation.scalars], validation.residual[:, None]),
        epochs=args.epochs,
        batch_size=args.batch,
        verbose=0,
        callbacks=[keras.callbacks.CSVLogger(str(args.work / "loss.csv"))],
    )
    plot_losses(args.work / "loss.csv", "negative log-likelihood")
    _calibrate(model, both, validation)
    return model


def _calibrate(model: Any, both: Any, validation: Examples) -> None:
    """Scale sigma so that as many errors at stations never seen lie within it as should."""
    predicted = both.predict([validation.shape, validation.scalars], verbose=0)
    z = np.abs(validation.residual - predicted[:, 0]) / np.exp(predicted[:, 1])
    layer = model.get_layer("log_sigma")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + np.log(np.quantile(z, 0.683))])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, MAGNITUDE, epochs=8, batch=256, steps=None)


def run(args: argparse.Namespace) -> int:
    """Simulate, train, quantise, measure; leaves the artefact and its card."""
    args.work.mkdir(parents=True, exist_ok=True)
    if args.smoke:
        args.epochs = 1
        training, validation = smoke_set(args.seed)
    else:
        # Before TensorFlow is loaded: tflite_runtime, which runs the teacher, fails beside it.
        training, validation = training_set(args.data, args.work / "labels", args.seed)
    model = train(training, validation, args)
    chosen = np.random.default_rng(args.seed).permutation(len(training.shape))[:REPRESENTATIVE]
    examples = ([training.shape[k, None], training.scalars[k, None]] for k in chosen)
    write_artefact(args.out, to_int8(model, examples))
    write_card(args.out, magnitude_card({}))
    parent = write_float(
        args.work / "magnitude_float.tflite", to_float32(model), magnitude_card({})
    )
    if not args.smoke:
        # A process of its own, again for the sake of tflite_runtime.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            scores = pool.submit(measure, args.out, parent, args.data, args.work / "labels")
            write_card(args.out, magnitude_card(scores.result()))
    if args.out.parent == MODELS:
        write_manifest()
    return 0
