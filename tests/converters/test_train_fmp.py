"""The trainer of first motions runs, and what it makes is scored."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from converters import fmp_data, score_fmp, train, train_fmp
from converters.datasets import Arrival, DatasetError, Record, read_continuous
from models.fmp import CLASSES, FMP, FirstMotion

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
    _, targets = fmp_data.batch(material, 600, np.random.default_rng(0))
    up, down, undecided = targets.sum(axis=0)
    assert abs(up - down) < 0.2 * (up + down)
    assert undecided > 60


def test_batches_are_the_same_for_the_same_seed() -> None:
    material = train_fmp.smoke_material(seed=1)
    one, again = (fmp_data.batch(material, 20, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])


def read_by_rule(samples: np.ndarray, at: float) -> list[fmp_data.Onset]:  # type: ignore[type-arg]
    from fractions import Fraction

    three = np.stack([samples] * 3, axis=1)
    record = Record("x", "XX.X", 0, Fraction(100), three, (Arrival("P", at),))
    return list(fmp_data.by_rule(record))


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_rule_reads_a_clear_onset(sign: int) -> None:
    samples = np.random.default_rng(0).standard_normal(3000)
    samples[1500:1600] += 1000 * sign * np.sin(np.arange(100) * 0.3)
    (onset,) = read_by_rule(samples, 15.0)
    assert onset.sign == sign


def test_the_rule_leaves_a_weak_first_swing_alone() -> None:
    """A swing that is seen but not clear: the clear second one has the other sign."""
    samples = np.random.default_rng(0).standard_normal(3000)
    samples[1500:1510] += 6 * np.sin(np.arange(10) * np.pi / 10)
    samples[1510:1600] -= 1000 * np.sin(np.arange(90) * 0.3)
    assert read_by_rule(samples, 15.0) == []


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
    assert figures["readings"] == claimed["readings"]
    assert figures["forced"] == pytest.approx(claimed["forced"], abs=0.03)
    assert figures["forced"] > 0.94
    assert set(figures["at_threshold"]["confusion"]["up"]) == set(CLASSES)
    assert "forced" in score_fmp.describe(figures)


def test_every_reading_of_a_recording_is_scored(data_dir: Path) -> None:
    pytest.importorskip("obspy", reason="reading recordings needs obspy (extra 'cloud')")
    records = list(read_continuous(data_dir / "ridgecrest_quiet"))
    readings = sum(bool(a.polarity) for r in records for a in r.arrivals if a.phase == "P")
    assert len(list(score_fmp.windows(records))) == readings
