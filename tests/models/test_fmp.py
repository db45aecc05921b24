"""First motions: exact symmetry, tolerance of pick errors, and no answer where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.fmp_data import HALF, Onset, simulated
from models.fmp import BEFORE, WINDOW, FirstMotion, normalise

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> FirstMotion:
    return FirstMotion()


@pytest.fixture(scope="module")
def onsets() -> list[Onset]:
    return list(simulated(100, seed=77))


def window_of(onset: Onset, rng: np.random.Generator, off: int = 0, snr: float = 20.0) -> Floats:
    noise = rng.standard_normal(2 * HALF) * np.abs(onset.samples[HALF : HALF + 8]).max() / snr
    first = HALF - BEFORE + off
    window: Floats = (onset.samples + noise)[first : first + WINDOW].astype(np.float32)
    return window


def right(model: FirstMotion, onsets: list[Onset], off: int = 0) -> float:
    rng = np.random.default_rng(1)
    answers = [model.probabilities(window_of(onset, rng, off)) for onset in onsets]
    said = [1 if up > down else -1 for up, down, _ in answers]
    return float(np.mean([s == o.sign for s, o in zip(said, onsets, strict=True)]))


def test_turning_the_vertical_over_exchanges_up_and_down(
    model: FirstMotion, onsets: list[Onset]
) -> None:
    rng = np.random.default_rng(0)
    for onset in onsets[:30]:
        window = window_of(onset, rng)
        up, down, undecided = model.probabilities(window)
        assert model.probabilities(-window) == (down, up, undecided)
        exchanged = {"up": "down", "down": "up", "": ""}
        assert model.classify(-window).polarity == exchanged[model.classify(window).polarity]


def test_clear_onsets_are_read_right(model: FirstMotion, onsets: list[Onset]) -> None:
    assert right(model, onsets) > 0.95


@pytest.mark.parametrize("off", [-10, -5, 5, 10])
def test_a_pick_off_by_a_tenth_of_a_second_costs_little(
    model: FirstMotion, onsets: list[Onset], off: int
) -> None:
    assert right(model, onsets, off) > 0.9


def test_noise_has_no_first_motion(model: FirstMotion) -> None:
    rng = np.random.default_rng(3)
    windows = rng.standard_normal((200, WINDOW)).astype(np.float32)
    decided = [bool(model.classify(window).polarity) for window in windows]
    assert np.mean(decided) < 0.1


def test_a_sharp_onset_is_impulsive_and_one_in_noise_is_not(
    model: FirstMotion, onsets: list[Onset]
) -> None:
    rng = np.random.default_rng(4)
    for snr, expected in ((30.0, "impulsive"), (1.5, "emergent")):
        found = [model.classify(window_of(onset, rng, snr=snr)).clarity for onset in onsets]
        assert np.mean([clarity == expected for clarity in found]) > 0.75


def test_the_mirror_image_is_as_clear(model: FirstMotion, onsets: list[Onset]) -> None:
    window = window_of(onsets[0], np.random.default_rng(0))
    assert model.judge(-window)[1] == model.judge(window)[1]


def test_size_and_offset_of_the_unit_do_not_matter(model: FirstMotion, onsets: list[Onset]) -> None:
    window = window_of(onsets[0], np.random.default_rng(0))
    for unit in (1e-12, 1e9):
        expected = pytest.approx(model.probabilities(window), abs=0.01)
        assert model.probabilities(window * np.float32(unit)) == expected


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_flat_or_broken_window_is_undecided(model: FirstMotion, value: float) -> None:
    window = np.full(WINDOW, value, np.float32)
    assert model.classify(window) == ("", 1.0, "")
    window = np.random.default_rng(0).standard_normal(WINDOW).astype(np.float32)
    window[3] = np.nan
    assert model.classify(window) == ("", 1.0, "")


def test_silence_before_the_onset_is_no_division_by_zero(
    model: FirstMotion, onsets: list[Onset]
) -> None:
    right = []
    for onset in onsets[:40]:
        window = onset.samples[HALF - BEFORE : HALF - BEFORE + WINDOW].copy()
        window[: BEFORE - 4] = 0
        seen = normalise(window)
        assert seen is not None
        assert np.isfinite(seen).all()
        right.append(model.classify(window).polarity == ("up" if onset.sign > 0 else "down"))
    assert np.mean(right) > 0.8


def test_a_window_of_another_length_is_refused(model: FirstMotion) -> None:
    with pytest.raises(ValueError, match="window: shape"):
        model.classify(np.zeros(WINDOW + 1, np.float32))


def test_probabilities_add_up_to_one(model: FirstMotion, onsets: list[Onset]) -> None:
    rng = np.random.default_rng(5)
    for onset in onsets[:20]:
        assert sum(model.probabilities(window_of(onset, rng))) == pytest.approx(1.0)
