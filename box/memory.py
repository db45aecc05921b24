"""What a pipeline needs to go on, to the bit, where its process was killed.

Not the samples: those are in the ring on disk. A pipeline is brought back by feeding the packets
since an earlier such memory into filters that go on from there, and by judging the last windows
once more (`StationPipeline.resume`).
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from box.quarantine import QuarantineMemory
from box.trigger import TriggerState
from uplink.packets import Phase, Pick

Ratio = tuple[int, int]


class FeedMemory(msgspec.Struct, frozen=True, array_like=True):
    """Of a channel: where its ring and its filters stand."""

    channel: str
    rate: Ratio
    anchor_ns: int  # of the ring's grid
    end: int
    offset_ns: int
    late_until_ns: int | None
    late_samples: int
    cursor_ns: int  # time of the next sample to condition
    next: int  # its index on the trace's grid
    warm_up: int
    filters: list[float]
    detector: list[float]
    pending: list[int]  # samples from there on, less than a second
    pending_flags: int


class OnsetMemory(msgspec.Struct, frozen=True, array_like=True):
    """Of an onset that is not settled, and what was told of it."""

    phase: Phase
    index: float
    probability: float
    spread: float
    first_index: float
    id: int
    sent: Pick | None


class StretchMemory(msgspec.Struct, frozen=True, array_like=True):
    """Of a stretch: everything that neither its samples nor its configuration tell."""

    begins_ns: int
    rate: Ratio  # of the channel that began it
    longest_s: float  # of its packets
    judged: int  # index up to which the samples have been judged
    ends: list[int]  # of the trace's components
    feeds: list[FeedMemory]
    onsets: list[OnsetMemory]
    trigger: TriggerState | None
    recent_ids: list[tuple[Phase, int]]
    stepped: bool = False  # it began with a step of the clock
    quarantine: QuarantineMemory = QuarantineMemory()


def ratio(rate: Fraction) -> Ratio:
    return rate.numerator, rate.denominator
