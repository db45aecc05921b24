"""The trainer of first motions runs, and what it makes is scored."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from converters import fmp_data, score_fmp, train, train_fmp
from converters.datasets import Arrival, DatasetError, Record, read_continuous
from converters.evaluate import table
from converters.fields import Polarity
from models.fmp import CLASSES, FMP, FirstMotion

Floats = NDArray[np.floating]
POLARITIES: tuple[Polarity, ...] = ("", "up", "down")
SMOKE = """
import argparse, sys
from converters import train_fmp
parser = argparse.ArgumentParser()
train_fmp.add_arguments(parser)
sys.exit(train_fmp.run(parser.parse_args()))
"""


def test_batches_hold_as_many_ups_as_downs() -> None:
    """Else the network would learn which way this region's faults moved."""
    material = train_fmp.smoke_material(seed=1)
    up, down, undecided = fmp_data.batch(material, 600, np.random.default_rng(0)).polarity.sum(
        axis=0
    )
    assert abs(up - down) < 0.2 * (up + down)
    assert undecided > 60


def test_batches_are_the_same_for_the_same_seed() -> None:
    material = train_fmp.smoke_material(seed=1)
    one, again = (fmp_data.batch(material, 20, np.random.default_rng(7)) for _ in range(2))
    for array, same in zip(one, again, strict=True):
        np.testing.assert_array_equal(array, same)


def test_clarity_is_known_by_rule_and_left_open_between_the_limits() -> None:
    """What nobody could call either is no label: all zeros, and no loss."""
    clarity = fmp_data.batch(
        train_fmp.smoke_material(seed=1), 600, np.random.default_rng(0)
    ).clarity
    impulsive, emergent = clarity.sum(axis=0)
    assert impulsive > 60
    assert emergent > 60
    assert (clarity.sum(axis=1) == 0).sum() > 20


def onsets_of(samples: Floats, at: float, polarity: Polarity = "") -> list[fmp_data.Onset]:
    three = np.stack([samples] * 3, axis=1)
    record = Record("x", "XX.X", 0, Fraction(100), three, (Arrival("P", at, polarity),))
    return [onset for onset, _ in fmp_data.onsets_of(record)]


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_rule_reads_a_clear_onset(sign: int) -> None:
    samples = np.random.default_rng(0).standard_normal(3000)
    samples[1500:1600] += 1000 * sign * np.sin(np.arange(100) * 0.3)
    for analyst in POLARITIES:  # who may have written down the wrong one
        (onset,) = onsets_of(samples, 15.0, analyst)
        assert onset.sign == sign


def test_the_rule_leaves_a_weak_first_swing_alone() -> None:
    """A swing that is seen but not clear: the clear second one has the other sign."""
    samples = np.random.default_rng(0).standard_normal(3000)
    samples[1500:1510] += 6 * np.sin(np.arange(10) * np.pi / 10)
    samples[1510:1600] -= 1000 * np.sin(np.arange(90) * 0.3)
    assert onsets_of(samples, 15.0) == []
    (onset,) = onsets_of(samples, 15.0, "up")
    assert (onset.sign, onset.clean) == (1, False)


def test_a_dead_vertical_is_nothing_to_learn_from() -> None:
    assert onsets_of(np.zeros(3000), 15.0, "up") == []


def said(probability: float, right: bool) -> score_fmp.Answer:
    return score_fmp.Answer(probability, 1 - probability, 0, None, "up" if right else "down", "")


def test_confidence_that_is_too_high_shows() -> None:
    honest = [said(0.75, k % 4 > 0) for k in range(40)]
    bins = score_fmp.reliability(honest)
    assert bins == {"0.7 to 0.8": {"answers": 40, "probability": 0.75, "right": 0.75}}
    assert score_fmp.calibration_error(bins) == 0
    boasting = [said(0.99, k % 4 > 0) for k in range(40)]
    assert score_fmp.calibration_error(score_fmp.reliability(boasting)) == pytest.approx(0.24)
    assert score_fmp.calibration_error(score_fmp.reliability([])) is None


def test_smoke_training_leaves_an_artefact_that_the_box_can_load(tmp_path: Path) -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed (extra 'train')")
    out = tmp_path / "fmp.tflite"
    # In a process of its own: tflite_runtime does not work in one that has loaded TensorFlow.
    subprocess.run(
        [sys.executable, "-c", SMOKE, "--smoke", "--work", str(tmp_path), "--out", str(out)],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()},
    )
    assert FirstMotion(out).card.size_bytes == out.stat().st_size
    assert FirstMotion(tmp_path / "fmp_float.tflite").card.inputs[0].dtype == "float32"
    assert (tmp_path / "loss.csv").read_text().count("\n") == 2
    assert (tmp_path / "loss.png").exists()


def test_training_without_recordings_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    arguments = ["fmp", "--data", str(tmp_path / "nowhere"), "--work", str(tmp_path)]
    assert train.run(parser.parse_args(arguments)) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_set_without_first_motions_is_refused(data_dir: Path) -> None:
    pytest.importorskip("obspy", reason="reading recordings needs obspy (extra 'cloud')")
    with pytest.raises(DatasetError, match="first motion"):
        score_fmp.score(data_dir / "ridgecrest_aftershocks", FMP, 0.3)


def test_foreshocks_are_read_as_the_card_says(data_dir: Path) -> None:
    pytest.importorskip("obspy", reason="reading recordings needs obspy (extra 'cloud')")
    figures = score_fmp.score(data_dir / "ridgecrest_foreshocks", FMP, 0.5)
    claimed = FirstMotion().card.scores["ridgecrest_foreshocks"]["int8"]
    worst = min(v for v in figures["forced_by_pick_error_s"].values())
    assert figures["readings"] == claimed["readings"]
    assert figures["forced"] == pytest.approx(claimed["forced"], abs=0.03)
    assert figures["forced"] > 0.94
    assert worst > figures["forced"] - 0.06
    assert figures["clarity"]["balanced_accuracy"] > 0.6
    assert figures["calibration_error"] < 0.06
    assert set(figures["at_threshold"]["confusion"]["up"]) == set(CLASSES)
    assert "calibration_error" in table({"int8": figures})


def test_every_reading_of_a_recording_is_scored(data_dir: Path) -> None:
    pytest.importorskip("obspy", reason="reading recordings needs obspy (extra 'cloud')")
    records = list(read_continuous(data_dir / "ridgecrest_quiet"))
    readings = sum(bool(a.polarity) for r in records for a in r.arrivals if a.phase == "P")
    assert len(list(score_fmp.windows(records))) == readings
    picks = sum(a.phase == "P" for r in records for a in r.arrivals)
    assert len(score_fmp.readings(records)) == picks  # of each of which the onset was noted
