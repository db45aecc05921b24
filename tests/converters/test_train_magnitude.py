"""The trainer of magnitudes runs, and what it makes is scored."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from converters import magnitude_data, score_magnitude, train_magnitude
from converters.datasets import DatasetError
from models.magnitude import MAGNITUDE, StationMagnitude


def test_simulated_records_are_the_same_for_the_same_seed() -> None:
    one, again = (list(magnitude_data.simulated(3, [], seed=5)) for _ in range(2))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a.velocity, b.velocity)


def test_smoke_training_leaves_an_artefact_with_its_card(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="training needs tensorflow (extra 'train')")
    parser = argparse.ArgumentParser()
    train_magnitude.add_arguments(parser)
    out = tmp_path / "magnitude.tflite"
    arguments = ["--smoke", "--work", str(tmp_path / "work"), "--out", str(out)]
    assert train_magnitude.run(parser.parse_args(arguments)) == 0
    assert (tmp_path / "work" / "loss.csv").is_file()
    assert json.loads(out.with_suffix(".json").read_text())["size_bytes"] == out.stat().st_size


def test_a_set_without_known_amplitudes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="waveforms"):
        score_magnitude.score(tmp_path, MAGNITUDE, 0.3)


def test_foreshocks_are_measured_as_the_card_says(data_dir: Path) -> None:
    pytest.importorskip("obspy", reason="reading StationXML needs obspy (extra 'cloud')")
    figures = score_magnitude.score(data_dir / "ridgecrest_foreshocks", MAGNITUDE, 0.3)
    whole = figures["whole record, S known"]
    claimed = StationMagnitude().card.scores["ridgecrest_foreshocks"]["int8"]
    assert whole["records"] == claimed["whole record, S known"]["records"]
    assert abs(whole["bias"]) < 0.2
    assert whole["std"] < 0.4
    assert "whole record, S known" in score_magnitude.describe(figures)
