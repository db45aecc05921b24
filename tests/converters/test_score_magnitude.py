"""Scores of magnitudes say what is wrong with a model, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.datasets import DatasetError
from converters.magnitude_data import Shaking
from converters.score_magnitude import (
    CASES,
    WHOLE,
    Row,
    by_magnitude,
    corrected,
    estimates,
    figures,
    score,
)
from models.conditioning import RATE
from models.magnitude import BEFORE, MAGNITUDE, WINDOW


def rows(slope: float, offset: float, spread: float, seed: int = 0) -> list[Row]:
    """40 earthquakes of M 0 to 5 at ten stations each, whose records err together a little."""
    rng = np.random.default_rng(seed)
    found = []
    for k, truth in enumerate(rng.uniform(0, 5, 40)):
        common = rng.normal(0, 0.1)
        for station in range(10):
            error = offset + slope * (truth - 2.5) + common + rng.normal(0, spread)
            found.append(Row(truth, truth + error, spread, f"XX.S{station}", f"e{k}"))
    return found


def test_a_pull_to_the_mean_shows_as_a_trend_and_not_as_a_bias() -> None:
    found = figures(rows(-0.2, 0.0, 0.3))
    assert found["trend"] == pytest.approx(-0.2, abs=0.05)
    assert abs(found["bias"]) < 0.1
    assert found["records"] == 400


def test_the_error_of_the_trend_counts_earthquakes_and_not_records() -> None:
    slopes = [figures(rows(0.0, 0.0, 0.05, seed))["trend"] for seed in range(60)]
    claimed = figures(rows(0.0, 0.0, 0.05))["trend_error"]
    assert claimed == pytest.approx(np.std(slopes), rel=0.4)


def test_sigma_is_held_to_what_it_claims() -> None:
    assert figures(rows(0.0, 0.0, 0.3))["within_sigma"] == pytest.approx(0.66, abs=0.06)
    assert figures(rows(0.0, 0.5, 0.1))["within_sigma"] < 0.1


def test_a_bias_is_told_of_the_magnitudes_that_have_it() -> None:
    few = [
        Row(-0.2, 0.3, 0.3, "A", "1"),
        Row(0.4, 0.4, 0.3, "A", "2"),
        Row(5.9, 5.7, 0.3, "A", "3"),
    ]
    assert by_magnitude(few) == {"M-1": 0.5, "M0": 0.0, "M5": -0.2}


def test_a_stations_term_comes_off_its_estimates_only() -> None:
    two = [Row(1.0, 1.5, 0.3, "A", "1"), Row(1.0, 1.2, 0.3, "B", "1")]
    assert corrected(two, {"A": 0.5}) == [Row(1.0, 1.0, 0.3, "A", "1")]


def test_two_earthquakes_have_no_trend() -> None:
    pair = [Row(1.0, 1.1, 0.3, "A", "1"), Row(2.0, 2.3, 0.3, "A", "2")]
    assert "trend" not in figures(pair)
    assert figures([row._replace(event_id="") for row in [*pair, pair[0]]])["trend"] > 0.1


def test_nothing_to_score_is_said() -> None:
    assert figures([]) == {"records": 0}


def test_a_case_that_does_not_arise_is_left_out() -> None:
    noise = np.random.default_rng(0).standard_normal((WINDOW + 100, 3)).astype(np.float32)
    whole, short = Shaking(noise, 3.0, 1.0), Shaking(noise[: 50 + BEFORE + 6 * RATE], 8.0, 1.0)
    without = Shaking(noise, None, 1.0)
    assert [len(estimates([whole, short, without], None, case)) for case in CASES] == [
        1,
        3,
        1,
        3,
        3,
    ]
    assert np.isnan(estimates([whole], None, WHOLE)[0].sigma)


def test_a_set_without_known_amplitudes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="waveforms"):
        score(tmp_path, MAGNITUDE, 0.3)
