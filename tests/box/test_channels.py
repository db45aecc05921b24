from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from box.channels import BREAKS, ChannelFeed
from box.trace import ConditionedTrace
from models.conditioning import Conditioner
from ringbuffer.channels import choose_channels
from ringbuffer.segment import NS, Flag, Segment

RATE = Fraction(100)
NOISE = np.random.default_rng(5).integers(-1000, 1000, 6000).astype(np.int32)


def packet(second: int, flags: Flag = Flag.NONE) -> Segment:
    samples = NOISE[100 * second : 100 * second + 100]
    return Segment("XX.A..HHZ", second * NS, RATE, samples, flags)


def run(seconds: list[int], reorder_s: float = 2.0) -> tuple[ChannelFeed, ConditionedTrace]:
    trace = ConditionedTrace(0, 6000)
    feed = ChannelFeed(packet(seconds[0]), 0, 60.0, reorder_s)
    feed.pump(trace)
    for second in seconds[1:]:
        feed.append(packet(second))
        feed.pump(trace)
    return feed, trace


def test_packets_in_any_order_within_the_horizon_give_the_same_samples():
    _, in_order = run([0, 1, 2, 3, 4, 5])
    _, shuffled = run([0, 2, 1, 3, 5, 4])
    expected = Conditioner(RATE).process(NOISE[:600])
    np.testing.assert_array_equal(in_order.window(600, 600)[0][:, 0], expected)
    np.testing.assert_array_equal(shuffled.window(600, 600)[0][:, 0], expected)


def test_a_packet_that_never_comes_leaves_a_hole_and_a_filter_that_starts_afresh():
    _, trace = run([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11])
    values, real = trace.window(1200, 1200)
    assert not values[500:600, 0].any()
    assert not real[500:900, 0].any()  # the hole, and 3 s of warming up
    assert real[300:500, 0].all()
    assert real[900:, 0].all()
    assert not values[600:900, 0].any()  # noise that begins beside others looks like an arrival
    np.testing.assert_array_equal(values[900:, 0], Conditioner(RATE).process(NOISE[600:])[300:600])


def test_a_hole_is_waited_for_no_longer_than_the_horizon():
    _, trace = run([0, 1, 2, 4])
    assert trace.ends[0] == 300
    _, trace = run([0, 1, 2, 4, 5])
    assert trace.ends[0] == 600


def test_repeats_change_nothing():
    _, once = run([0, 1, 2, 3])
    _, twice = run([0, 1, 1, 0, 2, 2, 3, 3])
    np.testing.assert_array_equal(once.window(400, 400)[0], twice.window(400, 400)[0])


def test_a_time_step_is_a_break_and_a_gap_is_not():
    feed, _ = run([0, 1, 2])
    assert not feed.append(packet(4)) & BREAKS
    step = Segment("XX.A..HHZ", 5 * NS - 400_000_000, RATE, NOISE[500:600])
    assert feed.append(step) & BREAKS


def test_flags_are_found_again_by_time():
    feed, trace = run([0, 1])
    feed.append(packet(2, Flag.CLIPPED))
    feed.pump(trace)
    assert feed.flags_between(2 * NS, 3 * NS) == Flag.CLIPPED
    assert feed.flags_between(0, 2 * NS) == Flag.NONE


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("HHZ HHN HHE HNZ HNN HNE", {"HHZ": 0, "HHN": 1, "HHE": 2}),
        ("EH1 EH2 EHZ", {"EHZ": 0, "EH1": 1, "EH2": 2}),
        ("HNZ LHZ", {"HNZ": 0}),
        ("HHN HHE EHZ", {"EHZ": 0}),  # a vertical alone is worth more than horizontals alone
        ("HHN HHE", {"HHN": 1, "HHE": 2}),
        ("LOG", {}),
    ],
)
def test_one_instrument_is_chosen_with_its_vertical(offered, chosen):
    channels = choose_channels([f"XX.A.00.{code}" for code in offered.split()])
    assert {channel[-3:]: slot for channel, slot in channels.items()} == chosen


def test_a_channel_that_was_away_for_days_costs_no_memory_for_them():
    feed, trace = run([0, 1, 2])
    back = Segment("XX.A..HHZ", 10 * 86400 * NS, RATE, NOISE[:1000])
    feed.append(back)
    tracemalloc.start()
    feed.pump(trace)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
    end = 10 * 86400 * 100 + 1000
    expected = Conditioner(RATE).process(NOISE[:1000])
    np.testing.assert_array_equal(trace.window(end, 700)[0][:, 0], expected[300:])


@pytest.mark.parametrize(
    "rate", [Fraction(50), Fraction(99_98, 100), RATE, Fraction(125), Fraction(200)]
)
def test_seconds_are_complete_at_the_same_sample_however_packets_are_torn(rate):
    """Else what is judged when would depend on the packets."""
    whole = Segment("XX.A..HHZ", 0, rate, NOISE[:5000])
    rng = np.random.default_rng(6)
    traces, ends = [], []
    for sizes in ([1000] * 5, [1] * 5000, rng.integers(1, 400, 100)):
        trace = ConditionedTrace(0, 12_000)
        at = np.minimum(np.cumsum(sizes), 5000)
        first = whole.cut(0, int(at[0]))
        feed = ChannelFeed(first, 0, 120.0, 2.0)
        feed.pump(trace)
        seen = {}
        for begin, end in zip(at[:-1].tolist(), at[1:].tolist(), strict=True):
            if begin < end:
                feed.append(whole.cut(begin, end))
                feed.pump(trace)
                seen.setdefault(trace.ends[0], end)
        traces.append(trace.window(2400, 2400))
        ends.append(sorted(seen))
    assert all(end % 100 <= 1 or end % 100 == 99 for end in ends[1])
    assert set(ends[0]) <= set(ends[1])
    assert set(ends[2]) <= set(ends[1])
    for values, real in traces[1:]:
        np.testing.assert_array_equal(values, traces[0][0])
        np.testing.assert_array_equal(real, traces[0][1])
