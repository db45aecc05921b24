"""What every trainer does besides training."""

from __future__ import annotations

import csv
from pathlib import Path

from msgspec.structs import replace

from models.card import Card, write_card


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
