"""The pictures of docs/models.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.score_picker import PHASES

Curve = list[tuple[float, float, float]]  # threshold, precision, recall
Bins = list[tuple[float, int, int]]  # mean probability, right ones, all
STYLES = (("C0", "-"), ("C0", ":"), ("C3", "-"), ("C2", "-"), ("C2", ":"), ("C1", "-"))


class Pictures:
    """Writes them into a folder, all in one style. names: of the contestants, in their order."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot

        self._pyplot = pyplot
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._style = {
            name: dict(zip(("color", "linestyle"), STYLES[k % len(STYLES)], strict=True))
            for k, name in enumerate(names)
        }

    def precision_recall(
        self,
        curves: Mapping[str, Mapping[str, Mapping[str, Curve]]],
        used: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]],
    ) -> None:
        """curves: set -> contestant -> phase; used: the same, (precision, recall) as used."""
        figure, axes = self._grid(len(PHASES), len(curves), 3.0)
        for column, (name, contestants) in enumerate(curves.items()):
            for row, phase in enumerate(PHASES):
                plot = axes[row][column]
                for contestant, phases in contestants.items():
                    _, precision, recall = np.array(phases[phase], float).T
                    plot.plot(recall, precision, label=contestant, **self._style[contestant])
                    p, r = used[name][contestant][phase]
                    plot.plot(r, p, "o", color=self._style[contestant]["color"], ms=4)
                plot.set(xlim=(0.7, 1.0), ylim=(None, 1.02), xlabel="recall", ylabel="precision")
                plot.set_title(f"{name}: {phase}", fontsize=9)
        axes[0][0].legend(fontsize=7)
        self._save(figure, "precision_recall")

    def residuals(self, residuals: Mapping[str, Mapping[str, list[float]]]) -> None:
        """contestant -> phase -> residuals (s)."""
        figure, axes = self._grid(1, len(PHASES), 3.2)
        edges = np.arange(-0.5, 0.501, 0.02)
        for column, phase in enumerate(PHASES):
            plot = axes[0][column]
            for contestant, phases in residuals.items():
                style = self._style[contestant]
                plot.hist(phases[phase], edges, histtype="step", label=contestant, **style)
            plot.axvline(0, color="black", linewidth=0.5)
            plot.set(xlabel="pick − analyst (s)", ylabel="picks", title=phase)
        axes[0][0].legend(fontsize=7)
        self._save(figure, "residuals")

    def positions(self, sweeps: Mapping[str, Mapping[str, Any]]) -> None:
        """set -> contestant -> phase -> position -> figures."""
        figure, axes = self._grid(len(sweeps), len(PHASES), 2.8)
        for row, (name, contestants) in enumerate(sweeps.items()):
            for column, phase in enumerate(PHASES):
                plot = axes[row][column]
                for contestant, phases in contestants.items():
                    found = phases[phase]
                    seconds = [int(position) for position in found]
                    f1 = [figures["f1"] for figures in found.values()]
                    plot.plot(seconds, f1, label=contestant, **self._style[contestant])
                plot.set(ylim=(0.7, 1), xlabel="P in the window (s)", ylabel="F1")
                plot.set_title(f"{name}: {phase}", fontsize=9)
        axes[0][0].legend(fontsize=7)
        self._save(figure, "positions")

    def reliability(self, bins: Mapping[str, Mapping[str, Bins]]) -> None:
        """of what -> contestant -> bins."""
        figure, axes = self._grid(1, len(bins), 3.0)
        for plot, (name, contestants) in zip(axes[0], bins.items(), strict=True):
            plot.plot([0, 1], [0, 1], color="black", linewidth=0.5)
            for contestant, found in contestants.items():
                told, right, count = np.array(found, float).T
                share = right / count
                error = np.sqrt(np.maximum(share * (1 - share), 0.25 / count) / count)
                style = self._style.get(contestant, {"color": "C4", "linestyle": "-"})
                plot.errorbar(told, share, error, marker=".", capsize=2, label=contestant, **style)
            plot.set(xlim=(0, 1), ylim=(0, 1.05), xlabel="probability told", ylabel="share right")
            plot.set_title(name, fontsize=9)
            plot.legend(fontsize=7)
        self._save(figure, "reliability")

    def confusion(self, tables: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        """of what -> label -> answer -> how many; shades by share of the label."""
        figure, axes = self._grid(1, len(tables), 2.6)
        for plot, (name, table) in zip(axes[0], tables.items(), strict=True):
            counts = np.array([list(row.values()) for row in table.values()])
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            plot.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (i, k), count in np.ndenumerate(counts):
                plot.text(k, i, count, ha="center", va="center", fontsize=9,
                          color="white" if shares[i, k] > 0.6 else "black")  # fmt: skip
            answers = list(next(iter(table.values())))
            plot.set_xticks(range(len(answers)), answers, fontsize=8)
            plot.set_yticks(range(len(table)), list(table), fontsize=8)
            plot.set(xlabel="answer", ylabel="label")
            plot.set_title(name, fontsize=9)
        self._save(figure, "confusion")

    def magnitudes(
        self,
        truth: NDArray[np.float64],
        stations: Mapping[str, NDArray[np.float64]],
        events: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:
        """truth: of each station magnitude; stations: how it was made -> values."""
        figure, axes = self._grid(1, len(stations), 3.6)
        ends = [float(truth.min()) - 1, float(truth.max()) + 1]
        for plot, (name, values) in zip(axes[0], stations.items(), strict=True):
            plot.plot(ends, ends, color="black", linewidth=0.5)
            plot.plot(truth, values, ".", ms=4, alpha=0.5, label="stations")
            if name == next(iter(stations)):
                plot.plot(*events, "D", ms=4, color="C3", label="median of an event")
            plot.set(xlim=ends, ylim=ends, xlabel="catalogue", ylabel="ours")
            plot.set_title(name, fontsize=9)
            plot.legend(fontsize=7)
        self._save(figure, "magnitudes")

    def _grid(self, rows: int, columns: int, side: float) -> tuple[Any, Any]:
        return self._pyplot.subplots(
            rows, columns, squeeze=False, figsize=(side * 1.15 * columns, side * rows)
        )

    def _save(self, figure: Any, name: str) -> None:
        figure.tight_layout()
        figure.savefig(self._folder / f"models_{name}.png", dpi=80)
        self._pyplot.close(figure)
