from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from box.clock import ReplayClock
from box.sources.replay import SegmentSource, within
from ringbuffer.segment import NS, Segment

TRACE = Segment("XX.A..HHZ", 10 * NS + 3, Fraction(100), np.arange(1000, dtype=np.int32))


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "expected"),
    [
        (0, 10 * NS, []),
        (0, 10 * NS + 4, [0]),
        (10 * NS + 3, 10 * NS + 10_000_003, [0]),
        (10 * NS + 4, 10 * NS + 20_000_004, [1, 2]),
        (19_990_000_000, 99 * NS, [999]),
        (20 * NS, 99 * NS, []),
    ],
)
def test_a_cut_holds_the_samples_inside_its_times_and_no_other(start_ns, end_ns, expected):
    parts = within([TRACE], start_ns, end_ns)
    assert [int(v) for part in parts for v in part.samples] == expected
    assert all(part.start_ns == TRACE.time_ns(int(part.samples[0])) for part in parts)


def test_reading_a_channel_that_is_not_there_gives_nothing():
    source = SegmentSource([TRACE], ReplayClock())
    assert source.channels == ["XX.A..HHZ"]
    assert source.read("XX.B..HHZ", 0, 99 * NS) == []
