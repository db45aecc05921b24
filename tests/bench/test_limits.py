"""What independent pickers share is the labels'; what a picker sees when data are missing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bench.evidence.degraded import CASES
from bench.evidence.found import Found
from bench.evidence.limits import ceiling, errors
from converters.datasets import Record


def found(labels: list[float], picks: list[float]) -> Found:
    return Found({"P": labels, "S": []}, {"P": [(at, 0.9) for at in picks], "S": []})


def test_what_two_pickers_get_wrong_alike_is_told_from_what_each_gets_wrong() -> None:
    rng = np.random.default_rng(1)
    labels = [10.0 * k for k in range(1, 4001)]
    shared = 0.1 * rng.standard_normal(len(labels))
    one, other = (
        [found(labels, list(labels + shared + 0.03 * rng.standard_normal(len(labels))))]
        for _ in range(2)
    )
    e = errors(one, other, "P", (0.5, 0.5))
    assert e.count == len(labels)
    assert e.labels_s == pytest.approx(0.1, rel=0.05)
    assert e.own_s == pytest.approx(0.03, rel=0.05)
    assert e.correlation == pytest.approx(0.01 / 0.0109, abs=0.01)


def test_only_what_all_miss_and_all_invent_bounds_the_score() -> None:
    labels = [10.0, 20.0, 30.0]
    c = ceiling(
        [
            [found(labels, [10.1, 20.0, 40.0, 50.0])],
            [found(labels, [10.0, 40.2, 60.0])],
            [found(labels, [10.2, 20.7, 39.9])],
        ],
        "P",
        [0.5, 0.5, 0.5],
    )
    assert (c.labels, c.missed_by_all, c.false_of_all) == (3, 1, 1)
    assert c.f1 == pytest.approx(2 * 2 / (3 + 3))


def test_degraded_records_lack_what_their_case_says_and_nothing_else() -> None:
    samples = np.random.default_rng(2).integers(-1000, 1000, (6000, 3)).astype(np.int32)
    record = Record("a", "XX.A", 0, Fraction(100), samples)
    whole = CASES["as recorded"](record).conditioned()
    vertical = CASES["the vertical alone"](record).conditioned()
    assert np.array_equal(vertical[:, 0], whole[:, 0])
    assert not vertical[:, 1:].any()
    gappy = CASES["1.5 s missing every 15 s"](record).conditioned()
    missing = ~gappy.any(axis=1)
    assert missing.mean() == pytest.approx(0.1, abs=0.005)
    assert np.array_equal(gappy[~missing], whole[~missing])
