from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from box.clock import ReplayClock
from box.sources.replay import cut, in_time_order, replay
from ringbuffer.segment import NS, Flag, Segment

START = 1_562_258_999_997_986_000
RATE = Fraction(100)


def run(
    first: int, count: int, channel: str = "CI.CLC..HHZ", rate: Fraction = RATE, shift_ns: int = 0
) -> Segment:
    samples = np.arange(first, first + count, dtype=np.int32)
    whole = Segment(channel, START + shift_ns, rate, np.empty(0, np.int32))
    return Segment(channel, whole.time_ns(first), rate, samples)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 700), min_size=1, max_size=8),
    st.sampled_from([RATE, Fraction(20), Fraction(100, 3), Fraction(99999, 1000)]),
)
def test_no_sample_is_lost_or_moved_and_no_packet_crosses_a_second(
    lengths: list[int], rate: Fraction
) -> None:
    firsts = np.cumsum([0, *lengths[:-1]]).tolist()
    pieces = [run(f, n, rate=rate) for f, n in zip(firsts, lengths, strict=True)]
    packets = list(cut(pieces))
    assert np.array_equal(np.concatenate([p.samples for p in packets]), np.arange(sum(lengths)))
    whole = run(0, sum(lengths), rate=rate)
    seconds = []
    for packet in packets:
        last = len(packet.samples) - 1
        assert packet.start_ns // NS == packet.time_ns(last) // NS
        assert abs(packet.start_ns - whole.time_ns(int(packet.samples[0]))) <= 1
        seconds.append(packet.start_ns // NS)
    assert len(seconds) == len(set(seconds))  # one packet per second


def test_gaps_overlaps_and_repeats_are_passed_on_for_the_ring_to_judge() -> None:
    pieces = [run(0, 250), run(400, 100), run(380, 100), run(380, 100)]
    packets = list(cut(pieces))
    received = np.concatenate([p.samples for p in packets])
    assert np.array_equal(received, np.concatenate([p.samples for p in pieces]))
    for packet in packets:
        assert packet.start_ns == run(int(packet.samples[0]), 1).start_ns


def test_flags_do_not_spread_to_neighbours() -> None:
    clipped = Segment("CI.CLC..HHZ", START + NS, RATE, np.ones(50, np.int32), Flag.CLIPPED)
    packets = list(cut([run(0, 100), clipped, run(150, 100)]))
    assert sum(len(p.samples) for p in packets if p.flags == Flag.CLIPPED) == 50
    assert sum(len(p.samples) for p in packets if p.flags == Flag.NONE) == 200


def test_jitter_at_a_second_neither_loses_nor_splits_samples() -> None:
    pieces = [run(0, 101), run(101, 100, shift_ns=-4_000_000), run(201, 100, shift_ns=4_000_000)]
    received = np.concatenate([p.samples for p in cut(pieces)])
    assert np.array_equal(received, np.arange(301))


def test_packets_of_several_sources_come_in_the_order_they_are_complete() -> None:
    channels = [run(0, 1000, f"CI.S{i}..HHZ", shift_ns=7_000_000 * i) for i in range(4)]
    packets = list(in_time_order([c] for c in channels))
    ends = [p.end_ns for p in packets]
    assert ends == sorted(ends)
    assert {p.channel for p in packets[:8]} == {c.channel for c in channels}
    assert sum(len(p.samples) for p in packets) == 4000


def test_the_clock_stands_at_the_end_of_each_packet_when_it_is_handed_on() -> None:
    async def collect(speed: float | None) -> list[tuple[int, int]]:
        clock = ReplayClock(speed)
        packets = in_time_order([[run(0, 300)], [run(0, 300, "CI.CLC..HHE")]])
        return [(clock.now_ns(), p.end_ns) async for p in replay(packets, clock)]

    fast, slow = asyncio.run(collect(None)), asyncio.run(collect(100))
    assert fast == slow
    assert all(now == end for now, end in fast)
