"""What every trainer does besides training."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from msgspec.structs import replace

from models.card import Card, write_card


def add_common_arguments(
    parser: argparse.ArgumentParser, artefact: Path, *, epochs: int, batch: int, steps: int | None
) -> None:
    """The options of every trainer, with its defaults; steps: of an epoch, None for all data."""
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of recordings"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("training") / artefact.stem,
        help="folder of labels, logs, and checkpoints from which a run that broke off goes on",
    )
    parser.add_argument("--out", type=Path, default=artefact, help="artefact; its card beside it")
    parser.add_argument("--epochs", type=int, default=epochs)
    if steps is not None:
        parser.add_argument("--steps", type=int, default=steps, help="batches in an epoch")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--smoke", action="store_true", help="a few steps on simulated data: does it run at all?"
    )


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
