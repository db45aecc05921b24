"""Training the picker: what it is fed, and that the whole way to an artefact runs."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from converters.augment import EDGE, render
from converters.picker_labels import gaussians, synthetic_set
from models.picker import LARGEST, WINDOW, Picker

SMOKE = """
import argparse, sys
from converters import train_picker
parser = argparse.ArgumentParser()
train_picker.add_arguments(parser)
sys.exit(train_picker.run(parser.parse_args()))
"""


def test_the_smoke_run_leaves_an_artefact_that_the_box_can_load(tmp_path: Path) -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed (extra 'train')")
    out = tmp_path / "picker.tflite"
    # In a process of its own: tflite_runtime does not work in one that has loaded TensorFlow.
    subprocess.run(
        [sys.executable, "-c", SMOKE, "--smoke", "--work", str(tmp_path), "--out", str(out)],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()},
    )
    probabilities = Picker(out).probabilities(np.ones((WINDOW, 3), np.float32))
    assert probabilities.shape == (WINDOW, 3)
    assert (tmp_path / "loss.csv").read_text().count("\n") == 3
    assert (tmp_path / "loss.png").exists()


def test_batches_are_normalised_finite_and_the_same_for_a_seed() -> None:
    stretches = synthetic_set(np.random.default_rng(0))
    x, y = render(np.random.default_rng(1), stretches, 64)
    again, _ = render(np.random.default_rng(1), stretches, 64)
    np.testing.assert_array_equal(x, again)
    assert x.shape == y.shape == (64, WINDOW, 3)
    assert np.isfinite(x).all()
    assert y.min() >= 0
    assert y.max() <= 1
    assert np.abs(x).max() <= LARGEST
    # On the compressed scale a component's own loudness is gone; one that was dropped is zeros.
    std = x.std(axis=1)
    assert np.all((std > 0.3) & (std < 1.5) | (std == 0))


def test_onsets_stand_all_over_the_window_and_in_its_newest_seconds() -> None:
    stretches = synthetic_set(np.random.default_rng(0))
    _, y = render(np.random.default_rng(2), stretches, 400)
    places = y[:, :, 0].argmax(axis=1)[y[:, :, 0].max(axis=1) > 0.5]
    tenths = np.histogram(places, bins=10, range=(0, WINDOW))[0]
    assert tenths.min() > 5
    assert np.mean(places > WINDOW - EDGE) > 0.08


def test_a_target_stands_on_its_onset() -> None:
    curve = gaussians(1000, [(300.4, 1.0), (320.0, 0.5), (999.0, 0.8)], sigma=10)
    assert curve.argmax() == 300
    assert curve[320] == pytest.approx(0.5, abs=0.1)
    assert curve[999] == pytest.approx(0.8)
    assert curve[500] == 0
