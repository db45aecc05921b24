"""Glitches are found as what they are, and no earthquake is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from box.clock import ReplayClock
from box.config import QualityConfig
from box.glitches import CONSTANT, Values, find_glitches, flat_tops
from box.quality import Detector
from box.sources.miniseed import MiniSeedSource
from ringbuffer.segment import Flag


def noise(n: int = 300, scale: float = 20.0, seed: int = 1) -> Values:
    """With a swell below it, as seismic noise has."""
    swell = 10 * scale * np.sin(2 * np.pi * np.arange(n) / 600)
    return np.round(swell + np.random.default_rng(seed).normal(0, scale, n))


def test_a_spike_is_found_and_bridged() -> None:
    for width in (1, 2):
        for height in (2000.0, -(2.0**31)):
            values = noise()
            clean = values.copy()
            values[200 : 200 + width] += height
            found = find_glitches(values, 100)
            assert found.spikes == list(range(100, 100 + width))
            assert not found.steps
            assert found.dropout is None
            assert np.abs(values - clean).max() < 200


def test_a_step_is_found_with_its_height() -> None:
    values = noise()
    values[200:] += 5000
    found = find_glitches(values, 100)
    [(at, height)] = found.steps
    assert at == 100
    assert height == pytest.approx(5000, abs=100)
    assert not found.spikes


def test_a_channel_that_drops_out_is_found_whatever_it_drops_to() -> None:
    for level in (0.0, 8388607.0):
        values = noise() + 700
        values[200:] = level
        assert find_glitches(values, 100).dropout == 100


def test_what_comes_last_is_told_when_its_sequel_is_known() -> None:
    """It is then before the new samples, and never told twice."""
    for kind in ("spike", "step", "dropout"):
        for at in range(270, 300):
            values = noise(400)
            if kind == "spike":
                values[at] += 9000
            elif kind == "step":
                values[at:] += 9000
            else:
                values[at:] = -9000
            told = []
            tail = 100
            for end in (300, 400):
                part = values[tail:end]
                found = find_glitches(part, 100)
                told += [tail + 100 + i for i in found.spikes]
                told += [tail + 100 + i for i, _ in found.steps]
                told += [] if found.dropout is None else [tail + 100 + found.dropout]
                if found.steps or found.dropout is not None:
                    break  # whoever searches on does so from there
                tail = 200
            assert told == [at], (kind, at)


def onset(values: Values, at: int, frequency_hz: float, amplitude: float) -> None:
    """A P that begins with its largest swing, through the anti-alias filter of a digitizer."""
    fine = np.zeros(20 * len(values))
    t = np.arange(len(fine) - 20 * at) / 2000
    fine[20 * at :] = amplitude * np.exp(-t / 0.3) * np.sin(2 * np.pi * frequency_hz * t)
    taps = np.sinc((np.arange(801) - 400) / 25) * np.hanning(801) / 25
    values += np.round(np.convolve(fine, taps, "same")[::20])


def test_no_onset_is_a_glitch() -> None:
    for frequency_hz in (1, 3, 8, 15, 25, 35, 40):
        for amplitude in (1e3, 1e5, 1e7):
            for end in range(201, 221):
                values = noise()
                onset(values, 200, frequency_hz, amplitude)
                found = find_glitches(values[:end], 100)
                assert not found.spikes, (frequency_hz, amplitude, end)
                assert not found.steps, (frequency_hz, amplitude, end)
                assert found.dropout is None


def test_a_quiet_channel_of_a_coarse_converter_has_no_glitches() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        values = rng.integers(0, 2, 300).astype(float)
        values[200:] += np.round(30 * np.sin(np.arange(100)) * np.exp(-np.arange(100) / 30))
        assert find_glitches(values, 100).dropout is None


def test_flat_tops_are_clipping_and_calm_ones_are_not() -> None:
    t = np.arange(100) / 100
    swing = np.round(1e5 * np.sin(2 * np.pi * 5 * t))
    assert flat_tops(swing) == 0
    clipped = np.clip(swing, -6e4, 6e4)
    assert flat_tops(clipped) == np.count_nonzero(np.abs(clipped) == 6e4)
    assert flat_tops(np.clip(swing, -2e5, 6e4)) > 10
    assert flat_tops(np.round(300 * np.sin(2 * np.pi * 0.2 * t))) == 0  # equal at its crest
    assert flat_tops(np.random.default_rng(1).integers(0, 2, 100).astype(float)) == 0


def test_a_dropout_needs_more_than_a_few_equal_samples() -> None:
    values = noise()
    values[200 : 200 + CONSTANT - 1] = 9000
    assert find_glitches(values, 100).dropout is None


@pytest.mark.parametrize(
    "name",
    [
        "ridgecrest_foreshocks/waveforms/CI.CLC.mseed",
        "ridgecrest_foreshocks/waveforms/CI.SRT.mseed",
        "ridgecrest_aftershocks/waveforms/PB.B918.mseed",
        "ridgecrest_aftershocks/waveforms/CI.WRV2.mseed",
        "turkiye_ceyt/CEYT1.mseed",
    ],
)
def test_in_real_recordings_nothing_is_found(data_dir: Path, name: str) -> None:
    """Dense aftershocks, and the coda of a great earthquake."""
    source = MiniSeedSource(data_dir / name, ReplayClock(None))
    detectors: dict[str, Detector] = {}
    for packet in source.packets():
        detector = detectors.setdefault(packet.channel, Detector(QualityConfig(), packet.rate))
        found = detector.inspect(packet.samples, Flag.NONE)
        assert found.plain, packet
        assert found.end == len(packet.samples)
