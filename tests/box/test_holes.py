"""What a source says of samples that have not come."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from box.sources.holes import Holes
from ringbuffer.segment import NS, Segment

COUNT = 25
PACKETS = [
    Segment("AM.R1234.00.EHZ", 10**18 + n * NS // 4, Fraction(100), np.zeros(COUNT, np.int32))
    for n in range(60)
]


def missing(packets: list[Segment]) -> int:
    holes = Holes()
    return sum(holes.take(packet) for packet in packets)


@given(
    st.sets(st.integers(1, 58), max_size=20),
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=10),
    st.randoms(use_true_random=False),
)
def test_what_is_lost_is_counted_and_what_is_late_or_doubled_is_not(lost, repeats, random) -> None:
    order = [n for n in range(60) if n not in lost]
    order[1:] = sorted(order[1:], key=lambda n: n + random.uniform(-3, 3))
    for n, at in repeats:
        if n not in lost:
            order.insert(max(order.index(n) + 1, at), n)
    arrived = [PACKETS[n] for n in order]
    inner = range(max(order) + 1)
    assert missing(arrived) == COUNT * len([n for n in inner if n not in order])


def test_jitter_below_half_a_sample_is_no_hole() -> None:
    jittered = [
        replace(p, start_ns=p.start_ns + (-1) ** n * 2_400_000) for n, p in enumerate(PACKETS)
    ]
    assert missing(jittered) == 0


@pytest.mark.parametrize("step_ns", [-3600 * NS, 20 * 366 * 86_400 * NS])
def test_a_clock_that_is_set_makes_no_years_of_losses(step_ns: int) -> None:
    set_clock = [replace(p, start_ns=p.start_ns + step_ns) for p in PACKETS[30:]]
    holes = Holes()
    assert sum(holes.take(p) for p in PACKETS[:30]) == 0
    assert not holes.joins(set_clock[0])
    assert sum(holes.take(p) for p in set_clock) == 0
