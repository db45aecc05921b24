"""The picker: wherever the onset stands, whatever component is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.fmp import FMP
from models.interpreter import ModelError
from models.picker import PICKER, WINDOW, Picker, normalise

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def picker() -> Picker:
    return Picker()


def local_earthquake(p: int, s: int, n: int = 2 * WINDOW) -> Floats:
    """Conditioned-looking counts (n, 3): P mostly vertical, S on the horizontals, both decaying."""
    rng = np.random.default_rng(7)
    samples = rng.standard_normal((n, 3))
    for onset, gains, decay in ((p, (40, 15, 15), 150), (s, (40, 120, 120), 250)):
        t = np.arange(n - onset) / 100
        burst = np.exp(-t * 100 / decay) * np.cos(2 * np.pi * 8 * t)
        burst = burst * (1 + 0.5 * rng.standard_normal(n - onset))
        samples[onset:] += burst[:, None] * np.array(gains)
    return (1000 * samples).astype(np.float32)


def test_normalisation_makes_flat_components_zeros() -> None:
    window = np.random.default_rng(0).normal(5e6, 3e3, (WINDOW, 3)).astype(np.float32)
    window[:, 1] = 0
    normalised = normalise(window)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised.std(axis=0), [1, 0, 1], atol=1e-2)
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-3)


def test_a_flat_window_holds_no_picks(picker: Picker) -> None:
    for level in (0.0, 1.0, -3e6):
        probabilities = picker.probabilities(np.full((WINDOW, 3), level, np.float32))
        assert np.isfinite(probabilities).all()
        assert probabilities[:, :2].max() < 0.2


def test_noise_holds_no_picks(picker: Picker) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        window = rng.standard_normal((WINDOW, 3)).astype(np.float32)
        assert picker.probabilities(window)[:, :2].max() < 0.3


@pytest.mark.parametrize("position", [500, 1000, 1500, 2000, 2500, 2800])
def test_p_is_found_wherever_it_stands(picker: Picker, position: int) -> None:
    samples = local_earthquake(3000, 3400)
    window = samples[3000 - position : 3000 - position + WINDOW]
    curve = picker.probabilities(window)[:, 0]
    assert curve.max() > picker.thresholds["P"]
    assert abs(int(curve.argmax()) - position) <= 15


def test_the_vertical_alone_gives_p(picker: Picker) -> None:
    window = local_earthquake(3000, 3400)[1500:4500].copy()
    window[:, 1:] = 0
    curve = picker.probabilities(window)[:, 0]
    assert curve.max() > picker.thresholds["P"]
    assert abs(int(curve.argmax()) - 1500) <= 15


def test_amplitude_and_offset_do_not_matter(picker: Picker) -> None:
    window = local_earthquake(3000, 3400)[1500:4500]
    expected = picker.probabilities(window)
    np.testing.assert_allclose(picker.probabilities(window * np.float32(1e-9)), expected, atol=0.05)
    np.testing.assert_allclose(picker.probabilities(window + np.float32(1e4)), expected, atol=0.05)


def test_the_card_says_what_the_box_has_to_know(picker: Picker) -> None:
    window = picker.card.inputs[0]
    assert (window.rate_hz, window.shape, window.labels) == (100, (1, WINDOW, 3), ("Z", "N", "E"))
    assert picker.card.outputs[0].labels == ("P", "S", "detection")
    assert set(picker.thresholds) == {"P", "S"}
    assert all(0.1 <= threshold <= 0.9 for threshold in picker.thresholds.values())


def test_the_float_parent_agrees(picker: Picker) -> None:
    parent = PICKER.with_name("picker_float.tflite")
    if not parent.exists():
        pytest.skip("no picker_float.tflite beside the artefact")
    samples = local_earthquake(3000, 3400)
    window = samples[1500:4500]
    difference = Picker(parent).probabilities(window) - picker.probabilities(window)
    assert np.abs(difference).mean() < 0.01
    assert np.abs(difference).max() < 0.25


def test_real_onsets_are_found(picker: Picker, data_dir: Path) -> None:
    obspy = pytest.importorskip("obspy")
    from fractions import Fraction

    from models.conditioning import Conditioner

    folder = data_dir / "ridgecrest_foreshocks"
    stream = obspy.read(folder / "waveforms" / "CI.CLC.mseed")
    columns = [
        Conditioner(Fraction(100)).process(stream.select(component=c)[0].data) for c in "ZNE"
    ]
    samples = np.stack(columns, axis=1)
    lines = (folder / "picks.csv").read_text().splitlines()
    begin = stream[0].stats.starttime
    onsets = [
        round((obspy.UTCDateTime(line.split(",")[3]) - begin) * 100)
        for line in lines
        if ",CI.CLC,P," in line
    ]
    found = 0
    for onset in onsets:
        curve = picker.probabilities(samples[onset - 1500 : onset + 1500])[:, 0]
        found += curve[1450:1550].max() > picker.thresholds["P"]
    assert len(onsets) >= 5
    assert found >= 0.8 * len(onsets)


def test_a_model_that_is_not_a_picker_is_refused_before_it_meets_samples() -> None:
    with pytest.raises(ModelError, match=r"fmp\.tflite: not a picker"):
        Picker(FMP)


@pytest.mark.parametrize("name", ["none.tflite", "."])
def test_a_file_that_is_not_there_is_named_itself_and_not_its_card(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ModelError, match=rf"^{tmp_path / name}: (No such file|Is a directory)"):
        Picker(tmp_path / name)
