"""Classical pickers: that they find onsets where they are, and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.classical import aic_onset, pick
from converters.datasets import read_continuous
from converters.score_picker import match
from models.conditioning import RATE

P_AT, S_AT = 2000, 2600


def shaken(seed: int = 0, count: int = 6000) -> np.ndarray:
    """Noise, with P mostly on the vertical and S mostly on the horizontals."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal((count, 3))
    for at, sizes, duration in ((P_AT, (12, 3, 3), 150), (S_AT, (6, 40, 40), 300)):
        decay = np.exp(-np.arange(count - at) / duration)[:, None]
        samples[at:] += decay * rng.standard_normal((count - at, 3)) * sizes
    return samples.astype(np.float32)


def test_p_and_s_are_found_and_told_apart() -> None:
    onsets = pick(shaken())
    assert [onset.phase for onset in onsets] == ["P", "S"]
    for onset, true in zip(onsets, (P_AT, S_AT), strict=True):
        assert onset.sample == pytest.approx(true, abs=5)
        assert 0.3 < onset.quality <= 1


def test_nothing_is_found_in_noise_or_in_nothing() -> None:
    noise = np.random.default_rng(1).standard_normal((60 * RATE, 3)).astype(np.float32)
    assert len(pick(noise)) <= 2
    for nothing in (np.zeros((6000, 3), np.float32), np.zeros((10, 3), np.float32)):
        assert pick(nothing) == []


def test_ground_velocity_is_picked_as_counts_are() -> None:
    for counts, ground in zip(pick(shaken()), pick(shaken() * np.float32(1e-9)), strict=True):
        assert (counts.phase, counts.sample) == (ground.phase, ground.sample)
        assert counts.quality == pytest.approx(ground.quality, abs=1e-3)


@pytest.mark.parametrize(("missing", "left"), [([1, 2], {"P"}), ([0], set())])
def test_a_missing_component_takes_only_its_phase_along(missing: list[int], left: set[str]) -> None:
    samples = shaken()
    samples[:, missing] = 0
    assert {onset.phase for onset in pick(samples)} == left


def test_the_onset_is_where_the_variance_changes() -> None:
    rng = np.random.default_rng(2)
    parts = rng.standard_normal((200, 2)) * np.where(np.arange(200) < 120, 1, 5)[:, None]
    assert aic_onset(parts) == pytest.approx(120, abs=3)


def test_most_of_what_analysts_picked_is_found(data_dir: Path) -> None:
    pytest.importorskip("obspy")
    found: dict[str, list[float | None]] = {"P": [], "S": []}
    count = {"P": 0, "S": 0}
    for record in list(read_continuous(data_dir / "ridgecrest_foreshocks"))[:7]:
        onsets = pick(record.conditioned())
        for phase, residuals in found.items():
            times = [o.sample / RATE - record.delay_s for o in onsets if o.phase == phase]
            residuals += match([a.seconds for a in record.arrivals if a.phase == phase], times)
            count[phase] += len(times)
    for phase, recall, std in (("P", 0.7, 0.05), ("S", 0.6, 0.15)):
        hits = np.array([r for r in found[phase] if r is not None])
        assert len(hits) >= recall * len(found[phase])
        assert hits.std() < std
        assert count[phase] < 6 * len(found[phase])
