from __future__ import annotations

import numpy as np
import pytest

from models.peaks import find_peaks


def gaussian(centre: float, height: float = 0.9, width: float = 10.0, count: int = 400):
    x = np.arange(count)
    return (height * np.exp(-0.5 * ((x - centre) / width) ** 2)).astype(np.float32)


@pytest.mark.parametrize("centre", [200.0, 200.25, 200.5, 199.1])
def test_a_flat_top_of_int8_levels_does_not_shift_the_pick(centre):
    curve = np.minimum(np.round(gaussian(centre, 1.0) * 40) / 40, 0.8).astype(np.float32)
    [(position, height)] = find_peaks(curve, 0.3, 50)
    assert position == pytest.approx(centre, abs=0.3)
    assert height == pytest.approx(0.8)


def test_of_two_peaks_too_close_the_higher_stays():
    curve = np.maximum(gaussian(100, 0.5, 5), gaussian(130, 0.8, 5))
    assert [round(p) for p, _ in find_peaks(curve, 0.3, 50)] == [130]
    assert [round(p) for p, _ in find_peaks(curve, 0.3, 20)] == [100, 130]


def test_a_half_seen_onset_on_the_edge_is_a_peak():
    curve = gaussian(405, 0.9)
    [(position, _)] = find_peaks(curve, 0.3, 50)
    assert position > 390


def test_nothing_is_found_below_the_threshold():
    assert find_peaks(gaussian(200, 0.29), 0.3, 50) == []
