"""What every trainer does: seeded, shown as it goes on, resumed where it broke off.

A run lives in a folder: `checkpoint.npz` is all there is to know of it after its last epoch, and
`loss.csv` and `loss.png` are drawn from that.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from models.card import Card, write_card

Draw = Callable[[np.random.Generator], tuple[Any, ...]]  # inputs, targets[, weights] of a batch
T = TypeVar("T")


class TrainingError(Exception):
    """A training that cannot begin or go on; the message says what stands in its way."""


def add_common_arguments(
    parser: argparse.ArgumentParser, artefact: Path, *, epochs: int, batch: int, steps: int | None
) -> None:
    """The options of every trainer, with its defaults; steps: of an epoch, None for all data."""
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of recordings"
    )
    parser.add_argument("--out", type=Path, default=artefact, help="artefact; its card beside it")
    add_run_arguments(parser, epochs=epochs, batch=batch, steps=steps)


def add_run_arguments(
    parser: argparse.ArgumentParser, *, epochs: int, batch: int, steps: int | None
) -> None:
    """The options of a run, whatever it learns from."""
    parser.add_argument(
        "--work",
        type=Path,
        help="folder of labels, logs, and checkpoints from which a run that broke off goes on "
        "(default: training/NAME of --out)",
    )
    parser.add_argument("--epochs", type=at_least_one, default=epochs)
    if steps is not None:
        parser.add_argument("--steps", type=at_least_one, default=steps, help="batches in an epoch")
    parser.add_argument("--batch", type=at_least_one, default=batch)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--smoke", action="store_true", help="a few steps on simulated data: does it run at all?"
    )


def at_least_one(text: str) -> int:
    """A number of things on the command line, of which there must be one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """What the function returns in a process of its own: tflite_runtime fails in one that has
    loaded TensorFlow."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def fit(
    model: Any,
    draw: Draw,
    work: Path,
    *,
    steps: int,
    epochs: int,
    seed: int,
    validation: tuple[Any, Any],
    patience: int | None = None,
    run: str = "",
    quantity: str = "loss",
) -> NDArray[np.float64]:
    """Train a compiled model; a run that broke off in `work` goes on where its last epoch ended.

    draw: makes a batch from a generator, which is seeded by `seed`, epoch and batch: every run
        sees the same ones, also one that was interrupted.
    validation: inputs and targets that are held out.
    patience: end after so many epochs without a lower loss on these, with the weights of the
        lowest; None: all epochs, and the weights of the last.
    run: what else makes this run another than one that has left its checkpoint here.

    Returns loss and validation loss of each epoch, shape (epochs, 2). Raises TrainingError where
    the checkpoint is of another run, or the loss is no number.
    """
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        """New batches every epoch, the same ones in every run."""

        epoch = 0  # set by whoever begins one

        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[Any, ...]:
            return draw(np.random.default_rng((seed, self.epoch, index)))

    class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
        """Keeps, shows and ends the run."""

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            batches.epoch = epoch

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            checkpoint.add(logs["loss"], logs["val_loss"])
            checkpoint.save()
            _log(work / "loss.csv", checkpoint.losses)
            progress(checkpoint.losses)
            if not np.isfinite(checkpoint.losses[-1]).all():
                raise TrainingError(f"{work}: epoch {epoch + 1}: the loss is no number")
            if patience is not None and checkpoint.since_best() >= patience:
                model.stop_training = True

    work.mkdir(parents=True, exist_ok=True)
    settings = {"epochs": epochs, "steps": steps, "seed": seed, "patience": patience, "run": run}
    checkpoint = _Checkpoint(model, work / "checkpoint.npz", settings)
    checkpoint.resume()
    done = len(checkpoint.losses)
    progress = _Progress(done, epochs)
    ended = patience is not None and checkpoint.since_best() >= patience
    batches = Batches()
    if done < epochs and not ended:
        model.fit(
            batches,
            shuffle=False,  # by a generator that no checkpoint knows
            initial_epoch=done,
            epochs=epochs,
            validation_data=validation,
            verbose=0,
            callbacks=[Epochs()],
        )
    if patience is not None:
        checkpoint.take_best()
    plot_losses(work / "loss.csv", quantity)
    return np.array(checkpoint.losses)


class _Checkpoint:
    """All there is to know of a run, in one file that is replaced as a whole: the weights and the
    optimiser's state now, the weights at the lowest validation loss, and the losses so far."""

    def __init__(self, model: Any, path: Path, settings: dict[str, Any]) -> None:
        self._model, self._path, self._settings = model, path, settings
        model.optimizer.build(model.trainable_variables)
        # Before the best, so that a network of another shape is told by the settings.
        self._settings["weights"] = [list(v.shape) for v in model.variables]
        self.losses: list[tuple[float, float]] = []
        self._best: list[NDArray[Any]] = []

    def resume(self) -> None:
        """Take up the run that left the file, if there is one. Raises TrainingError."""
        if not self._path.exists():
            return
        try:
            with np.load(self._path) as file:
                saved = dict(file)
            was = json.loads(str(saved.pop("settings")))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise TrainingError(f"{self._path}: no checkpoint of a training: {error}") from None
        if was != self._settings:
            what = ", ".join(
                f"{key} {was.get(key)}"
                for key in self._settings
                if key != "weights" and was.get(key) != self._settings[key]
            )
            raise TrainingError(
                f"{self._path}: of another training ({what or 'another network'}): "
                "remove it, or give another --work"
            )
        self.losses = [(float(a), float(b)) for a, b in saved["losses"]]
        for name, variables in self._state().items():
            for k, variable in enumerate(variables):
                variable.assign(saved[f"{name}_{k}"])
        self._best = [saved[f"best_{k}"] for k in range(len(self._model.variables))]

    def add(self, loss: float, val_loss: float) -> None:
        self.losses.append((float(loss), float(val_loss)))
        if self.since_best() == 0:
            self._best = [v.numpy() for v in self._model.variables]

    def since_best(self) -> int:
        """Epochs since the one of the lowest validation loss."""
        if not self.losses:
            return 0
        return len(self.losses) - 1 - int(np.argmin([val for _, val in self.losses]))

    def save(self) -> None:
        arrays = {f"best_{k}": best for k, best in enumerate(self._best)}
        for name, variables in self._state().items():
            arrays |= {f"{name}_{k}": variable.numpy() for k, variable in enumerate(variables)}
        fresh = self._path.with_suffix(".tmp")
        with fresh.open("wb") as file:
            np.savez(
                file, settings=json.dumps(self._settings), losses=np.array(self.losses), **arrays
            )
        os.replace(fresh, self._path)

    def take_best(self) -> None:
        for variable, best in zip(self._model.variables, self._best, strict=True):
            variable.assign(best)

    def _state(self) -> dict[str, list[Any]]:
        return {"now": self._model.variables, "optimiser": self._model.optimizer.variables}


class _Progress:
    """A line for each epoch on a terminal, and none in a pipe."""

    def __init__(self, done: int, epochs: int) -> None:
        self._done, self._epochs = done, epochs
        self._began = time.monotonic()

    def __call__(self, losses: list[tuple[float, float]]) -> None:
        if not sys.stderr.isatty():
            return
        epoch = len(losses)
        each = (time.monotonic() - self._began) / (epoch - self._done)
        loss, val_loss = losses[-1]
        print(
            f"epoch {epoch}/{self._epochs}  loss {loss:.5f}  val_loss {val_loss:.5f}  "
            f"{each * (self._epochs - epoch):.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def _log(path: Path, losses: list[tuple[float, float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", "loss", "val_loss"))
        writer.writerows((k, *pair) for k, pair in enumerate(losses))


def plot_losses(log: Path, quantity: str) -> None:
    """Draw the columns `loss` and `val_loss` of a CSV file into a PNG beside it."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with log.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    figure, axes = pyplot.subplots()
    for column in ("loss", "val_loss"):
        axes.plot([float(row[column]) for row in rows], label=column)
    axes.set(xlabel="epoch", ylabel=quantity)
    axes.legend()
    figure.savefig(log.with_suffix(".png"))
    pyplot.close(figure)


def write_float(path: Path, content: bytes, card: Card) -> Path:
    """Write the float32 model that an artefact came from, with its card; returns its path."""
    path.write_bytes(content)
    tensors = {
        name: tuple(replace(tensor, dtype="float32") for tensor in getattr(card, name))
        for name in ("inputs", "outputs")
    }
    write_card(path, replace(card, **tensors))
    return path
