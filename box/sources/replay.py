"""Segments of any length, as a digitizer would have sent them: one-second packets, in time."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace

import numpy as np

from box.clock import ReplayClock
from ringbuffer.segment import NS, Segment


def cut(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Segments of one channel -> packets that end with the last sample before a full second.

    What continues a segment (to half a sample, with the same rate, flags and clock) fills up its
    last packet. Gaps, overlaps and repeats are passed on as they are.
    """
    pending: list[Segment] = []
    for segment in segments:
        if pending and not _continues(pending[-1], segment):
            yield _joined(pending)
            pending = []
        rest = segment
        while len(rest.samples):
            begin_ns = pending[0].start_ns if pending else rest.start_ns
            second_ns = (begin_ns // NS + 1) * NS
            # Rounded up: a sample at the full second belongs to the next packet.
            count = -int((rest.start_ns - second_ns) * rest.rate // NS)
            if count > 0:
                pending.append(rest.cut(0, count))
                rest = rest.cut(min(count, len(rest.samples)), len(rest.samples))
            if len(rest.samples):
                yield _joined(pending)
                pending = []
    if pending:
        yield _joined(pending)


def _continues(before: Segment, segment: Segment) -> bool:
    return (
        segment.rate == before.rate
        and segment.flags == before.flags
        and segment.clock == before.clock
        and abs(segment.start_ns - before.end_ns) * segment.rate * 2 <= NS
    )


def _joined(parts: list[Segment]) -> Segment:
    if len(parts) == 1:
        return parts[0]
    return replace(parts[0], samples=np.concatenate([part.samples for part in parts]))


def _arrival(packet: Segment) -> tuple[int, str]:
    return packet.end_ns, packet.channel


def in_time_order(channels: Iterable[Iterable[Segment]]) -> Iterator[Segment]:
    """The packets of several channels, each in its own order, by the time they are complete."""
    return heapq.merge(*(cut(channel) for channel in channels), key=_arrival)


class SegmentSource:
    """Replays segments that are in memory, such as simulated ones."""

    def __init__(self, segments: Iterable[Segment], clock: ReplayClock) -> None:
        self._clock = clock
        self._by_channel: dict[str, list[Segment]] = {}
        for segment in segments:
            self._by_channel.setdefault(segment.channel, []).append(segment)

    @property
    def channels(self) -> list[str]:
        return sorted(self._by_channel)

    def segments(self) -> AsyncIterator[Segment]:
        """One-second packets, at the pace of the clock."""
        return replay(in_time_order(self._by_channel[c] for c in self.channels), self._clock)

    def read(self, channel: str, start_ns: int, end_ns: int) -> list[Segment]:
        """What there is of a channel between two times, whole samples inside them."""
        return within(self._by_channel.get(channel, []), start_ns, end_ns)


def within(segments: Iterable[Segment], start_ns: int, end_ns: int) -> list[Segment]:
    """The parts of segments from `start_ns` (included) to `end_ns` (excluded)."""
    parts = []
    for segment in segments:
        first, last = (
            min(
                max(0, -int((segment.start_ns - time_ns) * segment.rate // NS)),
                len(segment.samples),
            )
            for time_ns in (start_ns, end_ns)
        )
        if first < last:
            parts.append(segment.cut(first, last))
    return parts


async def replay(packets: Iterable[Segment], clock: ReplayClock) -> AsyncIterator[Segment]:
    """Packets as they would have come: data time is advanced to the end of each before it."""
    for packet in packets:
        await clock.advance_to(packet.end_ns)
        yield packet
