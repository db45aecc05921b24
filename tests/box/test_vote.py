from __future__ import annotations

import numpy as np
import pytest

from box.vote import LEVELS, STRIDE, Vote

BLOCKS = 30
WINDOW = BLOCKS * STRIDE


def feed(vote: Vote, truth: np.ndarray, noise: np.random.Generator | None = None) -> list:
    """Slide over `truth` (samples, classes); returns every window's output."""
    outputs = []
    for newest in range(len(truth) // STRIDE):
        window = np.zeros((WINDOW, truth.shape[1]), np.float32)
        have = truth[max(0, (newest + 1) * STRIDE - WINDOW) : (newest + 1) * STRIDE]
        window[-len(have) :] = have
        if noise is not None:
            window = noise.integers(0, LEVELS, window.shape).astype(np.float32) / LEVELS
        vote.add(newest, window)
        outputs.append(window)
    return outputs


@pytest.mark.parametrize(
    ("merge", "reference"), [("median", np.median), ("max", np.max), ("mean", np.mean)]
)
def test_merging_equals_the_plain_statistic_over_all_windows(merge, reference):
    vote = Vote(WINDOW, 2, merge)
    outputs = feed(vote, np.zeros((45 * STRIDE, 2)), np.random.default_rng(1))
    for block in (44, 43, 30, 15):
        seen = [
            window.reshape(BLOCKS, STRIDE, 2)[block - newest - 1]
            for newest, window in enumerate(outputs)
            if newest - BLOCKS < block <= newest
        ]
        expected = reference(np.stack(seen), axis=0)
        for klass in range(2):
            np.testing.assert_allclose(vote.merged(block, klass), expected[:, klass], atol=1e-6)


def test_votes_of_blocks_before_the_first_window_are_not_counted_twice():
    vote = Vote(WINDOW, 1)
    feed(vote, np.ones((3 * STRIDE, 1)))
    assert [len(vote.votes_of(block)) for block in (0, 1, 2)] == [3, 2, 1]


def test_one_window_out_of_thirty_does_not_make_a_pick():
    truth = np.zeros((60 * STRIDE, 1))
    vote = Vote(WINDOW, 1)
    feed(vote, truth)
    spike = np.zeros((WINDOW, 1), np.float32)
    spike[-20 * STRIDE] = 1.0
    vote.add(60, spike)
    assert 41 in vote.active(0, 0.9)
    assert vote.merged(41, 0).max() == 0


def test_a_hole_in_the_sequence_of_windows_forgets_the_votes():
    vote = Vote(WINDOW, 1)
    feed(vote, np.ones((5 * STRIDE, 1)))
    vote.add(9, np.zeros((WINDOW, 1), np.float32))
    assert len(vote.active(0, 0.1)) == 0
    assert len(vote.votes_of(9)) == 1
