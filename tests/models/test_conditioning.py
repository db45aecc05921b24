from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal

from models.conditioning import Conditioner, band_pass

Floats = NDArray[np.float64]
HUNDRED = Fraction(100)
RATES = [
    Fraction(20),
    Fraction(100, 3),
    Fraction(40),
    Fraction(50),
    Fraction(99999, 1000),
    HUNDRED,
    Fraction(125),
    Fraction(200),
    Fraction(250),
    Fraction(500),
]
noise = np.random.default_rng(7).integers(-100_000, 100_000, 5000).astype(np.int32)


def sampled(wave: Callable[[Floats], Floats], rate: Fraction) -> NDArray[np.int32]:
    """Counts of wave(t) sampled at a rate."""
    times = np.arange(int(20 * rate)) / float(rate)
    return np.round(wave(times)).astype(np.int32)


def onset(times: Floats) -> Floats:
    """A band-limited onset at 10 s: 6 Hz, and nothing before."""
    since = np.maximum(times - 10, 0)
    return 1e9 * since**2 * np.exp(-8 * since) * np.sin(2 * np.pi * 6 * since)


def test_at_100_hz_the_models_see_what_they_were_trained_on() -> None:
    sections = band_pass(100.0)
    values = noise.astype(np.float64)
    expected, _ = signal.sosfilt(sections, values, zi=signal.sosfilt_zi(sections) * values[0])
    assert np.array_equal(Conditioner(HUNDRED).process(noise), expected.astype(np.float32))


@pytest.mark.parametrize("rate", RATES, ids=float)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, len(noise)), max_size=60))
def test_chunking_does_not_change_a_bit(rate: Fraction, cuts: list[int]) -> None:
    whole = Conditioner(rate).process(noise)
    conditioner = Conditioner(rate)
    chunks = np.split(noise, sorted(cuts))
    assert np.array_equal(np.concatenate([conditioner.process(c) for c in chunks]), whole)


@pytest.mark.parametrize("rate", RATES, ids=float)
def test_single_samples_give_the_same_bits(rate: Fraction) -> None:
    conditioner = Conditioner(rate)
    one_by_one = [conditioner.process(noise[i : i + 1]) for i in range(700)]
    assert np.array_equal(np.concatenate(one_by_one), Conditioner(rate).process(noise[:700]))


@pytest.mark.parametrize("rate", RATES, ids=float)
def test_outputs_lie_on_the_grid_of_the_first_sample_and_never_run_ahead(rate: Fraction) -> None:
    for count in (1, 2, 3, 7, 100, 4999):
        outputs = len(Conditioner(rate).process(noise[:count]))
        # All that lie before the next input is due: it could not change them.
        assert Fraction(outputs - 1, 100) < count / rate
        assert Fraction(outputs, 100) >= count / rate


@pytest.mark.parametrize("rate", RATES, ids=float)
def test_what_comes_later_leaves_no_precursor(rate: Fraction) -> None:
    quiet, loud = noise[:2000].copy(), noise[:2000].copy()
    loud[1000:] += 1_000_000
    before, after = Conditioner(rate).process(quiet), Conditioner(rate).process(loud)
    first = int(np.flatnonzero(before != after)[0])
    assert Fraction(first, 100) >= 1000 / rate
    assert Fraction(first, 100) < 1000 / rate + Fraction(3, 100)


@pytest.mark.parametrize("rate", RATES, ids=float)
def test_an_offset_of_any_size_causes_no_transient(rate: Fraction) -> None:
    flat = np.full(2000, 2**31 - 1, np.int32)
    assert np.max(np.abs(Conditioner(rate).process(flat))) < 2.0  # 1e-9 of the offset


@pytest.mark.parametrize("rate", [r for r in RATES if r >= 33], ids=float)
def test_an_onset_comes_delay_s_later_than_at_100_hz(rate: Fraction) -> None:
    conditioner = Conditioner(rate)
    resampled = conditioner.process(sampled(onset, rate))[950:1150]
    direct = Conditioner(HUNDRED).process(sampled(onset, HUNDRED))[900:1200]
    lags = np.arange(0, 0.1, 0.0005)
    grid = np.arange(900, 1200) / 100
    errors = [
        np.std(resampled - np.interp(np.arange(950, 1150) / 100 - lag, grid, direct))
        for lag in lags
    ]
    assert lags[int(np.argmin(errors))] == pytest.approx(conditioner.delay_s, abs=0.0025)
    assert np.ptp(resampled) == pytest.approx(np.ptp(direct), rel=0.1)


@pytest.mark.parametrize("rate", [Fraction(125), Fraction(200), Fraction(250), Fraction(500)])
@pytest.mark.parametrize("frequency", [56, 60])
def test_what_is_above_50_hz_is_not_folded_into_the_band(rate: Fraction, frequency: int) -> None:
    def wave(times: Floats) -> Floats:
        return 1e6 * np.sin(2 * np.pi * frequency * times)

    outputs = Conditioner(rate).process(sampled(wave, rate))[500:]
    assert np.std(outputs) < 10 ** (-44 / 20) * 1e6 / np.sqrt(2)


@pytest.mark.parametrize("rate", [Fraction(40), Fraction(50), Fraction(125), Fraction(250)])
def test_images_of_the_signal_stay_45_db_down(rate: Fraction) -> None:
    def wave(times: Floats) -> Floats:
        return 1e8 * np.sin(2 * np.pi * 5 * times)

    outputs = Conditioner(rate).process(sampled(wave, rate))[500:1900].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(outputs * signal.windows.blackmanharris(len(outputs))))
    spectrum[60:80] = 0  # 5 Hz itself is bin 70
    line = 1e8 / 2 * np.sum(signal.windows.blackmanharris(len(outputs)))
    assert np.max(spectrum) < 10 ** (-45 / 20) * line


def test_after_a_reset_nothing_is_remembered() -> None:
    for rate in (HUNDRED, Fraction(40)):
        conditioner = Conditioner(rate)
        first = conditioner.process(noise[:333])
        conditioner.reset()
        assert np.array_equal(conditioner.process(noise[:333]), first)


def test_a_rate_below_the_band_is_refused() -> None:
    with pytest.raises(ValueError, match="1 Hz is below 10 Hz"):
        Conditioner(Fraction(1))
