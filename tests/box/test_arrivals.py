"""Times from arrivals: jitter out, drift in, and what clocks do that are set."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from box.sources.arrivals import HOLD_NS, ArrivalLine, CountedStamp, HostStamp
from ringbuffer.segment import NS

HOST_NS = 1_700_000_000 * NS
MS = 1_000_000


def arrivals(
    count: int, every_ns: int, drift: float = 0.0, jitter_ns: float = 3 * MS, seed: int = 1
):
    """Device's times, true host's times, and arrivals, each a list of ns."""
    device = [n * every_ns for n in range(count)]
    true = [HOST_NS + round(t * (1 + drift)) for t in device]
    late = np.random.default_rng(seed).exponential(jitter_ns, count)
    return device, true, [t + round(d) for t, d in zip(true, late, strict=True)]


@pytest.mark.parametrize("drift", [0.0, 30e-6, -30e-6])
def test_drift_is_followed_and_jitter_is_not(drift: float) -> None:
    """Half an hour, over which 30 ppm make 54 ms."""
    device, true, came = arrivals(9000, 200 * MS, drift)
    stamps: HostStamp[int] = HostStamp()
    told = []
    for number, (at, arrival) in enumerate(zip(device, came, strict=True)):
        told += stamps.stamp(at, arrival, number)
    assert [number for _, number in told] == list(range(9000))
    errors = [time - true[number] for time, number in told]
    assert max(map(abs, errors)) < HOLD_NS + 3 * MS
    steps = [b - a for (a, _), (b, _) in pairwise(told)]
    assert sum(step != 200 * MS for step in steps) <= (4 if drift else 0)


def test_a_stall_of_the_host_moves_nothing() -> None:
    device, true, came = arrivals(1500, 200 * MS, jitter_ns=MS)
    for number in range(700, 735):
        came[number] = came[735]  # seven seconds that come all at once
    stamps: HostStamp[int] = HostStamp()
    told = []
    for number, (at, arrival) in enumerate(zip(device, came, strict=True)):
        told += stamps.stamp(at, arrival, number)
    assert max(abs(time - true[number]) for time, number in told) < 2 * MS


@pytest.mark.parametrize("step_ns", [3600 * NS, -3600 * NS, 100 * MS, -100 * MS])
def test_a_host_clock_that_is_set_is_followed_within_seconds(step_ns: int) -> None:
    device, true, came = arrivals(1500, 200 * MS, jitter_ns=MS)
    line = ArrivalLine()
    for number, (at, arrival) in enumerate(zip(device, came, strict=True)):
        moved = step_ns if number >= 500 else 0
        line.add(at, arrival + moved)
        if number > 500 + 85 and line.settled:
            assert abs(line.host_ns(at) - true[number] - step_ns) < 2 * MS
    assert line.settled


def test_nothing_is_told_before_a_few_seconds_have_come_and_nothing_is_lost() -> None:
    device, true, came = arrivals(26, 200 * MS)
    stamps: HostStamp[int] = HostStamp()
    for number in range(25):
        assert stamps.stamp(device[number], came[number], number) == []
    told = stamps.stamp(device[25], came[25], 25)
    assert [number for _, number in told] == list(range(26))
    assert max(abs(time - true[number]) for time, number in told) < 2 * MS
    fresh: HostStamp[int] = HostStamp()
    fresh.stamp(0, came[0], 0)
    assert fresh.flush() == [(came[0], 0)]


def test_lost_blocks_are_found_from_when_the_next_ones_come() -> None:
    """One block in fifty lost, singly and in runs, some at the very beginning."""
    rate, block = Fraction(100), 5
    every_ns = 50 * MS
    rng = np.random.default_rng(3)
    _, true, came = arrivals(6000, every_ns, jitter_ns=4 * MS)
    lost = set(rng.choice(6000, 60, replace=False)) | set(range(3000, 3040)) | {3, 4, 20}
    stamp: CountedStamp[int] = CountedStamp(rate, block)
    told = []
    after_loss = False
    for number, arrival in enumerate(came):
        if number in lost:
            after_loss = True
            continue
        told += stamp.stamp(arrival, number, after_loss)
        after_loss = False
    told += stamp.flush()
    assert [number for _, number in told] == [n for n in range(6000) if n not in lost]
    # a block arrives when its last sample is taken
    errors = [time + 40 * MS - true[number] for time, number in told]
    assert max(map(abs, errors)) < 5 * MS


def test_whole_blocks_that_are_lost_leave_none_of_the_others_early() -> None:
    """Of a device that was off for a moment nothing arrives that would be damaged. The host's
    stalls, behind which nothing is lost, are no such thing."""
    _, true, came = arrivals(2000, 50 * MS, jitter_ns=MS)
    lost = {*range(500, 503), *range(510, 530)}  # the second while the first is in doubt
    stamp: CountedStamp[int] = CountedStamp(Fraction(100), 5)
    told = []
    for number, arrival in enumerate(came):
        stalled = came[1006] if 1000 <= number < 1006 else arrival
        if number not in lost:
            told += stamp.stamp(stalled, number, after_loss=False)
    told += stamp.flush()
    assert [number for _, number in told] == [n for n in range(2000) if n not in lost]
    assert all(abs(time + 40 * MS - true[number]) < 2 * MS for time, number in told)
