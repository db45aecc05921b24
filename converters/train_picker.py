"""Train the phase picker: teacher's and analysts' labels -> U-Net -> int8 artefact with its card.

The network reads 30 s as blocks of samples: its first and last layer turn time into channels and
back, so that no layer runs at the full rate (0.5 ms per window on one x86 core).
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import msgspec
import numpy as np

from converters.augment import Floats, Stretch, render
from converters.picker_card import complete_card, picker_card
from converters.picker_labels import PHASES, synthetic_set, training_set, validation_set
from converters.quantise import to_float32, to_int8, write_artefact
from converters.training import add_common_arguments, plot_losses, write_float
from models.card import MODELS, write_card, write_manifest
from models.picker import PICKER, WINDOW

BLOCK = 6  # samples that the first layer turns into channels
CHANNELS = (24, 48, 64)
STRIDES = (4, 5)
LOSS_WEIGHTS = (1.0, 1.0, 0.2)  # P, S, detection: it is everywhere, they are rare
LEARNING_RATE = 3e-3
REPRESENTATIVE = 400  # windows that show the quantiser the range of every activation


def build() -> Any:
    """The untrained network: (n, 3000, 3) -> (n, 3000, 3), sigmoids of P, S and detection."""
    import keras
    from keras import layers

    def convolve(x: Any, channels: int, kernel: int, stride: int = 1, relu: bool = True) -> Any:
        x = layers.Conv2D(channels, (1, kernel), (1, stride), padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.97)(x)
        return layers.ReLU()(x) if relu else x

    window = keras.Input((WINDOW, 3))
    x = layers.Reshape((1, WINDOW // BLOCK, 3 * BLOCK))(window)
    x = convolve(x, CHANNELS[0], 7)
    skips = []
    for level, stride in enumerate(STRIDES):
        if level:
            x = convolve(x, CHANNELS[level], 5)
        skips.append(x)
        x = convolve(x, CHANNELS[level + 1], 5, stride)
    for _ in range(2):
        y = convolve(convolve(x, CHANNELS[-1], 5), CHANNELS[-1], 5, relu=False)
        x = layers.ReLU()(layers.Add()([x, y]))
    for channels, stride, skip in zip(CHANNELS[-2::-1], STRIDES[::-1], skips[::-1], strict=True):
        x = layers.Conv2D(channels * stride, 1)(x)
        x = layers.Reshape(skip.shape[1:])(x)
        x = layers.ReLU()(layers.Add()([x, skip]))
        x = convolve(x, channels, 5)
    # Onsets are rare: to begin at their base rate spares the first epoch.
    rare = keras.initializers.Constant(-3.0)
    x = layers.Conv2D(3 * BLOCK, (1, 5), padding="same", bias_initializer=rare)(x)
    x = layers.Reshape((WINDOW, 3))(x)
    return keras.Model(window, layers.Activation("sigmoid")(x), name="picker")


def _loss(target: Any, probability: Any) -> Any:
    from keras import ops

    probability = ops.clip(probability, 1e-6, 1 - 1e-6)
    entropy = -target * ops.log(probability) - (1 - target) * ops.log(1 - probability)
    return ops.mean(entropy * ops.convert_to_tensor(LOSS_WEIGHTS), axis=(1, 2))


def _batches(stretches: list[Stretch], steps: int, batch: int, seed: int) -> Any:
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        """A new set of windows every epoch, the same ones in every run."""

        def __init__(self) -> None:
            super().__init__(workers=1, max_queue_size=6)
            self.epoch = 0

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[Floats, Floats]:
            return render(np.random.default_rng((seed, self.epoch, index)), stretches, batch)

        def on_epoch_end(self) -> None:
            self.epoch += 1

    return Batches()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, PICKER, epochs=50, batch=64, steps=100)


def run(args: argparse.Namespace) -> int:
    """Label, train, quantise, measure; leaves the artefact and its card."""
    if args.smoke:
        args.epochs, args.steps, args.batch = 2, 4, 8
        training = validation = synthetic_set(np.random.default_rng(args.seed))
    else:
        # Before TensorFlow is loaded: tflite_runtime, which runs the teacher, fails beside it.
        labels = args.work / "labels"
        training, validation = training_set(args.data, labels), validation_set(args.data, labels)
    model = train(training, validation, args)
    rng = np.random.default_rng(args.seed)
    windows, _ = render(rng, training, 8 if args.smoke else REPRESENTATIVE)
    write_artefact(args.out, to_int8(model, ([window[None]] for window in windows)))
    card = picker_card(dict.fromkeys(PHASES, 0.3), {})
    write_card(args.out, card)
    parent = args.out.with_name(f"{args.out.stem}_float.tflite")
    described = msgspec.structs.replace(
        card, description=f"{card.description}; the float parent, its weights in float16"
    )
    write_float(parent, to_float32(model, half_weights=True), described)
    if not args.smoke:
        # A process of its own, again for the sake of tflite_runtime.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(complete_card, args.out, args.data, args.work / "labels").result()
    if args.out.parent == MODELS:
        write_manifest()
    return 0


def train(training: list[Stretch], validation: list[Stretch], args: argparse.Namespace) -> Any:
    """The trained network; `args.work` keeps checkpoints, `loss.csv` and `loss.png`."""
    import keras

    args.work.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(args.seed)
    model = build()
    rate = keras.optimizers.schedules.CosineDecay(
        0.1 * LEARNING_RATE,
        args.epochs * args.steps,
        alpha=0.01,
        warmup_target=LEARNING_RATE,
        warmup_steps=3 * args.steps,
    )
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), loss=_loss)
    held_out = render(np.random.default_rng(args.seed), validation, 8 * args.batch)
    model.fit(
        _batches(training, args.steps, args.batch, args.seed),
        epochs=args.epochs,
        validation_data=held_out,
        verbose=1 if sys.stderr.isatty() else 0,
        callbacks=[
            keras.callbacks.BackupAndRestore(
                str(args.work / "checkpoint"), delete_checkpoint=False
            ),
            keras.callbacks.CSVLogger(str(args.work / "loss.csv"), append=True),
        ],
    )
    model.save(args.work / "picker.keras")
    plot_losses(args.work / "loss.csv", "cross-entropy")
    return model
