"""Scores of a magnitude model: single stations against a catalogue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cloud.velocity import VelocityModel
from converters.datasets import DatasetError, read_continuous
from converters.magnitude_data import S_LAG_S, Shaking, catalogued
from models.conditioning import RATE
from models.magnitude import BEFORE, SHORTEST, WINDOW, StationMagnitude, make_features

# What a box knows: seconds of record from P on, and S or not.
CASES = {
    "whole record, S known": (WINDOW / RATE, True),
    "whole record, S unknown": (WINDOW / RATE, False),
    "as soon as S is picked": (None, True),
    "9 s after P, S unknown": (10.0, False),
    "3 s after P, S unknown": (SHORTEST / RATE, False),
}
S_WAIT_S = 2.0  # after S is picked, so that its peak has come


def score(dataset: Path, artefact: Path, threshold: float) -> dict[str, Any]:
    """Figures of a folder like ridgecrest_foreshocks, whose picks are matched to its catalogue.

    `threshold` has no meaning here. Raises DatasetError, ModelError.
    """
    model = StationMagnitude(artefact)
    if not (dataset / "waveforms").is_dir():
        raise DatasetError(f"{dataset}: no folder waveforms: magnitudes need known amplitudes")
    file = dataset / "velocity_p.txt"
    velocity = VelocityModel.read(file) if file.is_file() else VelocityModel.default()
    shakings = list(catalogued(dataset, read_continuous(dataset), velocity))
    if not shakings:
        raise DatasetError(f"{dataset}: no pick of a catalogued earthquake at a known response")
    return {
        "dataset": dataset.name,
        "model": f"{model.card.name} {model.card.version} {model.card.sha256[:12]}",
        "engine": model.engine,
        **compare(shakings, model),
    }


def compare(shakings: list[Shaking], model: StationMagnitude) -> dict[str, Any]:
    """Case -> figures of the model, and of the physics alone where S is known."""
    figures: dict[str, Any] = {}
    for case, (seconds, known) in CASES.items():
        views = [view for shaking in shakings if (view := _view(shaking, seconds, known))]
        figures[case] = _errors(views, lambda window, s: model.estimate(window, s))
        if known:
            figures[f"{case}, physics alone"] = _errors(
                views, lambda window, s: (make_features(window, s).baseline, np.nan)
            )
    return figures


def _view(shaking: Shaking, seconds: float | None, known: bool) -> tuple[Any, Any, float] | None:
    """(window, S-P, truth), None where the case does not arise."""
    s_s = shaking.s_minus_p_s if known else None
    if known and s_s is None:
        return None
    seconds = seconds or BEFORE / RATE + max(3.0, (s_s or 0.0) + S_LAG_S + S_WAIT_S)
    window = shaking.window(seconds=seconds)
    if s_s is not None and len(window) < BEFORE + (s_s + S_LAG_S) * RATE:
        return None
    return window, s_s, shaking.magnitude


def _errors(
    views: list[tuple[Any, Any, float]], estimate: Callable[[Any, Any], tuple[float, float]]
) -> dict[str, Any]:
    if not views:
        return {"records": 0}
    estimates = np.array([estimate(window, s) for window, s, _ in views])
    errors = estimates[:, 0] - np.array([truth for *_, truth in views])
    figures = {
        "records": len(errors),
        "bias": round(float(errors.mean()), 3),
        "std": round(float(errors.std()), 3),
        "mae": round(float(np.abs(errors).mean()), 3),
        "median": round(float(np.median(errors)), 3),
    }
    if np.isfinite(estimates).all():
        figures["sigma"] = round(float(np.median(estimates[:, 1])), 3)
        figures["within_sigma"] = round(float(np.mean(np.abs(errors) < estimates[:, 1])), 3)
    return figures


def describe(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    columns = ("records", "bias", "std", "mae", "median", "sigma", "within_sigma")
    lines = [f"{figures['dataset']}: {figures['model']} on {figures['engine']}"]
    lines.append(f"{'':40}" + " ".join(f"{name:>12}" for name in columns))
    for case, row in figures.items():
        if isinstance(row, dict):
            lines.append(f"{case:40}" + " ".join(f"{row.get(name, '–'):>12}" for name in columns))
    return "\n".join(lines)
