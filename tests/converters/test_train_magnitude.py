"""The trainer of magnitudes runs, and what it makes is scored."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from converters import score_magnitude, train
from models.magnitude import MAGNITUDE, StationMagnitude

SMOKE = """
import argparse, sys
from converters import train_magnitude
parser = argparse.ArgumentParser()
train_magnitude.add_arguments(parser)
sys.exit(train_magnitude.run(parser.parse_args()))
"""


def test_smoke_training_leaves_an_artefact_that_the_box_can_load(tmp_path: Path) -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed (extra 'train')")
    out = tmp_path / "magnitude.tflite"
    # In a process of its own: tflite_runtime does not work in one that has loaded TensorFlow.
    subprocess.run(
        [sys.executable, "-c", SMOKE, "--smoke", "--work", str(tmp_path), "--out", str(out)],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()},
    )
    assert StationMagnitude(out).card.size_bytes == out.stat().st_size
    assert StationMagnitude(tmp_path / "magnitude_float.tflite").card.inputs[0].dtype == "float32"
    assert (tmp_path / "loss.csv").read_text().count("\n") == 2
    assert (tmp_path / "loss.png").exists()


def test_training_without_recordings_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    arguments = ["magnitude", "--data", str(tmp_path / "nowhere"), "--work", str(tmp_path)]
    assert train.run(parser.parse_args(arguments)) == 2
    assert "nowhere" in capsys.readouterr().err


def test_foreshocks_are_measured_as_the_card_says(data_dir: Path) -> None:
    pytest.importorskip("obspy", reason="reading StationXML needs obspy (extra 'cloud')")
    figures = score_magnitude.score(data_dir / "ridgecrest_foreshocks", MAGNITUDE, 0.3)
    whole = figures["whole record, S known"]
    claimed = StationMagnitude().card.scores["ridgecrest_foreshocks"]["int8"]
    assert whole["records"] == claimed["whole record, S known"]["records"]
    assert abs(whole["bias"]) < 0.2
    assert whole["std"] < 0.35
    assert abs(whole["trend"]) < 0.15 + 2 * whole["trend_error"]
