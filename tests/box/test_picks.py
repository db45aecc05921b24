from __future__ import annotations

import numpy as np

from box.picks import Onset, OnsetTracker
from box.vote import STRIDE, Vote

WINDOW = 30 * STRIDE


def curve(*peaks: tuple[float, float], seconds: int = 100) -> np.ndarray:
    x = np.arange(seconds * STRIDE)
    total = np.zeros(len(x), np.float32)
    for position, height in peaks:
        total += (height * np.exp(-0.5 * ((x - position) / 10) ** 2)).astype(np.float32)
    return total


def slide(tracker: OnsetTracker, vote: Vote, outputs) -> list[tuple[int, float, bool, bool, Onset]]:
    """Run strides; `outputs(newest)` is the curve as the window ending there sees it."""
    history = []
    for newest in range(30, 90):
        end = (newest + 1) * STRIDE
        vote.add(newest, outputs(newest)[end - WINDOW : end, None])
        history += [(newest, o.index, o.settled, o.retracted, o) for o in tracker.update()]
    return history


def test_an_onset_is_seen_at_once_and_settles_under_the_same_identity():
    vote = Vote(WINDOW, 1)
    tracker = OnsetTracker("P", 0, 0.3, vote)
    truth = curve((4550.4, 0.9))
    history = slide(tracker, vote, lambda newest: truth)
    assert history[0][0] == 45  # the block that holds it is the newest
    assert len({id(h[4]) for h in history}) == 1
    assert [h[2] for h in history] == [False] * (len(history) - 1) + [True]
    assert history[-1][0] == 45 + 29
    assert abs(history[-1][1] - 4550.4) < 0.3


def test_what_only_the_first_windows_saw_is_retracted():
    vote = Vote(WINDOW, 1)
    tracker = OnsetTracker("P", 0, 0.3, vote)
    seen, unseen = curve((4550, 0.9)), curve()
    history = slide(tracker, vote, lambda newest: seen if newest < 47 else unseen)
    assert history[0][2:4] == (False, False)
    assert history[-1][3]
    assert tracker.update() == []


def test_two_events_in_a_second_keep_two_onsets():
    vote = Vote(WINDOW, 1)
    tracker = OnsetTracker("P", 0, 0.3, vote)
    truth = curve((4550, 0.9), (4630, 0.6))
    history = slide(tracker, vote, lambda newest: truth)
    settled = [round(h[1]) for h in history if h[2]]
    assert settled == [4550, 4630]


def test_a_stream_that_ends_settles_what_is_open():
    vote = Vote(WINDOW, 1)
    tracker = OnsetTracker("P", 0, 0.3, vote)
    truth = curve((8950, 0.9), seconds=90)
    slide(tracker, vote, lambda newest: truth)
    [onset] = tracker.drop_all()
    assert onset.settled
    assert tracker.drop_all() == []
