"""Samples into finished miniSEED records, once for all who keep them, in a thread.

The SDS archive (`box/archive.py`) and the rings from which the SeedLink server gives
(`box/record_store.py`) get the very same bytes: Steim-2, records of 512 bytes.

- A channel's samples wait in memory until they fill a record, at 100 Hz two to seven seconds of
  them; a gap, a change of rate or flags, midnight, and `longest_s` of waiting end one early.
- What a kill takes out of memory is taken again from the ring on disk at the next start
  (`catch_up`): each record tells which packet of the ring has its last sample, so that none is
  packed twice and none is left out.
- `QUEUE` packets may wait for the thread: further ones are dropped from archive and server
  (`dropped`), never from the picking.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from queue import Empty, Full, Queue
from typing import NamedTuple, Protocol

import numpy as np
from pymseed import DataEncoding, MiniSEEDError, MS3Record, nslc2sourceid

from box.sources.record import exact_rate
from ringbuffer.records import RECORD, Finished
from ringbuffer.segment import NS, Flag, Segment, ns_to_samples, samples_to_ns

QUEUE = 20_000  # packets: with three channels and packets of one second, almost two hours
FEWEST = 100  # samples: no record of 512 bytes is filled by fewer
SPANS = 100  # stretches of a channel of which it is known that they are packed
LOOK_EVERY_NS = NS  # for samples that have waited too long
DAY_NS = 86_400 * NS
_CALIBRATION, _TIME_QUESTIONABLE, _CLOCK_LOCKED = 1, 2, 4  # record flags, as libmseed has them
_CLIPPED = '{"FDSN":{"Flags":{"DigitizerClipping":true}}}'

Spans = list[tuple[int, int]]  # start, end (ns); ascending
_rate = lru_cache(maxsize=64)(exact_rate)


class Sink(Protocol):
    """Who keeps records. Called from the packer's thread alone; never raises."""

    counters: Counter[str]

    @property
    def problems(self) -> list[str]:
        """What is wrong with it now, a line each."""
        ...

    def append(self, channel: str, records: Sequence[Finished]) -> None:
        """Keep records of a channel, all of one day."""
        ...


class _Part(NamedTuple):
    """A packet, or what midnight and finished records have left of it."""

    segment: Segment
    position: int  # of the packet in the journal
    first: int  # index in the packet of the first sample
    came_ns: int  # monotonic

    def cut(self, first: int) -> _Part:
        rest = self.segment.cut(first, len(self.segment.samples))
        return self._replace(segment=rest, first=self.first + first)


@dataclass(slots=True)
class _Channel:
    """What waits of a channel, and what is packed of it."""

    waiting: list[_Part] = field(default_factory=list)  # each continues the one before
    count: int = 0  # samples in them
    pack_at: int = FEWEST  # samples
    spans: Spans = field(default_factory=list)
    last: Finished | None = None  # of the process before this one
    end_ns: int = 0  # of all that it has packed


class Packer:
    """Takes packets of any stations, in any order.

    counters: `repeats` (packets that were there), `dropped` (packets), `errors` (batches of samples
    that miniSEED cannot hold)
    """

    def __init__(
        self, sinks: Sequence[Sink], longest_s: float, monotonic_ns: Callable[[], int]
    ) -> None:
        """sinks: in this order. longest_s: that a sample may wait."""
        self.counters: Counter[str] = Counter()
        self._sinks = sinks
        self._longest_ns = round(longest_s * NS)
        self._monotonic_ns = monotonic_ns
        self._trouble = ""
        self._channels: dict[str, _Channel] = {}
        self._queue: Queue[_Part | None] = Queue(QUEUE)
        self._thread = threading.Thread(target=self._work, name="packer", daemon=True)

    @property
    def problems(self) -> list[str]:
        """What is wrong with it now, a line each."""
        return [f"records: {self._trouble}"] if self._trouble else []

    def resume(self, packed: Mapping[str, Sequence[Finished]]) -> None:
        """packed: channel -> the last records of it, as they were finished. Before `catch_up`."""
        for name, records in packed.items():
            channel = self._channels.setdefault(name, _Channel())
            for record in records:
                rate = _rate(MS3Record.parse(record.raw).samprate_raw)
                _cover(channel.spans, record.start_ns, record.end_ns, rate)
                channel.last = record
                channel.end_ns = max(channel.end_ns, record.end_ns)

    def catch_up(self, packets: Iterable[tuple[int, Segment]]) -> None:
        """Pack what came before the start and is in no record. Before `start`.

        packets: position in the station's journal, and what is there, in order
        """
        for position, segment in packets:
            packed = self._packed_of(position, segment)
            if packed < len(segment.samples):
                rest = segment.cut(packed, len(segment.samples))
                self.take(rest, position, packed)

    def _packed_of(self, position: int, segment: Segment) -> int:
        """How many samples of a packet are in records of the process before this one."""
        channel = self._channels.get(segment.channel)
        if channel is None or channel.last is None:
            return 0
        last = channel.last
        if last.position:
            if position == last.position:
                return last.used
            return 0 if position > last.position else len(segment.samples)
        if segment.end_ns <= channel.end_ns:
            return len(segment.samples)
        return max(0, ns_to_samples(channel.end_ns - segment.start_ns, segment.rate))

    def start(self) -> None:
        self._thread.start()

    def put(self, segment: Segment, position: int = 0) -> None:
        """Pack a packet, some time. Never blocks."""
        try:
            self._queue.put_nowait(_Part(segment, position, 0, self._monotonic_ns()))
        except Full:
            self.counters["dropped"] += 1

    def close(self, timeout_s: float = 10.0) -> None:
        """Pack what waits, into short records."""
        if self._thread.ident is None:
            return
        try:
            self._queue.put(None, timeout=timeout_s)
        except Full:
            return
        self._thread.join(timeout_s)

    def _work(self) -> None:
        look_ns = self._monotonic_ns() + LOOK_EVERY_NS
        while True:
            try:
                part = self._queue.get(timeout=LOOK_EVERY_NS / NS)
            except Empty:
                pass
            else:
                if part is None:
                    break
                self.take(part.segment, part.position, part.first, part.came_ns)
            if (now_ns := self._monotonic_ns()) >= look_ns:
                look_ns = now_ns + LOOK_EVERY_NS
                self.finish_old(now_ns)
        for name, channel in self._channels.items():
            self._pack(name, channel, everything=True)

    def finish_old(self, now_ns: int) -> None:
        """Finish the records of samples that have waited too long."""
        for name, channel in self._channels.items():
            if channel.waiting and now_ns - channel.waiting[0].came_ns >= self._longest_ns:
                self._pack(name, channel, everything=True)

    def take(
        self, segment: Segment, position: int = 0, first: int = 0, came_ns: int | None = None
    ) -> None:
        """A packet, cut at midnight, each part of it where it continues what waits.

        first: its first sample's place in the packet at that position
        """
        if not len(segment.samples):
            return
        channel = self._channels.setdefault(segment.channel, _Channel())
        if _covered(channel.spans, segment):
            self.counters["repeats"] += 1
            return
        came_ns = self._monotonic_ns() if came_ns is None else came_ns
        for piece in _by_day(segment):
            if channel.waiting and not _continues(channel, piece):
                self._pack(segment.channel, channel, everything=True)
            channel.waiting.append(_Part(piece, position, first, came_ns))
            channel.count += len(piece.samples)
            first += len(piece.samples)
            _cover(channel.spans, piece.start_ns, piece.end_ns, piece.rate)
        if channel.count >= channel.pack_at:
            self._pack(segment.channel, channel)

    def _pack(self, name: str, channel: _Channel, everything: bool = False) -> None:
        """Finish the records that what waits has filled, or all of it."""
        if not channel.waiting:
            return
        parts = channel.waiting
        samples = np.concatenate([part.segment.samples for part in parts])
        try:
            raws = encode(replace(parts[0].segment, samples=samples))
        except (MiniSEEDError, ValueError) as error:
            self.counters["errors"] += 1
            self._trouble = f"{name}: {' '.join(str(error).split())}"
            channel.waiting, channel.count, channel.pack_at = [], 0, FEWEST
            return
        if not everything:
            raws.pop()  # may not be full
        records, packed = [], 0
        for raw in raws:
            header = MS3Record.parse(raw)
            packed += header.samplecnt
            end_ns = header.starttime + samples_to_ns(header.samplecnt, parts[0].segment.rate)
            records.append(Finished(raw, header.starttime, end_ns, *_reach(parts, packed)))
        channel.waiting = _behind(parts, packed)  # at their own times: drift shows
        channel.count -= packed
        # A record that is not full yet: again when there is a little more.
        channel.pack_at = FEWEST if records else channel.count + channel.count // 16
        if records:
            for sink in self._sinks:
                sink.append(name, records)


def span(raw: bytes) -> tuple[int, int]:
    """Start and end (ns) of a record's samples; the end is one interval behind the last of them."""
    header = MS3Record.parse(raw)
    length_ns = samples_to_ns(header.samplecnt, _rate(header.samprate_raw))
    return header.starttime, header.starttime + length_ns


def encode(segment: Segment) -> list[bytes]:
    """A segment as miniSEED 2 records of 512 bytes, Steim-2, or plain where that cannot hold it.

    Raises MiniSEEDError and ValueError for what miniSEED cannot say.
    """
    try:
        return _encode(segment, DataEncoding.STEIM2)
    except MiniSEEDError:  # differences of 30 bits and more
        return _encode(segment, DataEncoding.INT32)


def _encode(segment: Segment, encoding: int) -> list[bytes]:
    record = MS3Record(reclen=RECORD, encoding=encoding)
    record.sourceid = nslc2sourceid(*segment.channel.split("."))
    record.formatversion = 2
    record.pubversion = 2  # quality D
    record.starttime = segment.start_ns
    record.samprate = float(segment.rate)
    flags = segment.flags
    record.flags = (
        (_CALIBRATION if flags & Flag.CALIBRATION else 0)
        | (_TIME_QUESTIONABLE if flags & Flag.TIME_QUESTIONABLE else 0)
        | (0 if flags & Flag.CLOCK_UNLOCKED else _CLOCK_LOCKED)
    )
    if flags & Flag.CLIPPED:
        record.extra = _CLIPPED
    return list(record.generate(np.ascontiguousarray(segment.samples), "i"))


def _by_day(segment: Segment) -> list[Segment]:
    parts = []
    while len(segment.samples):
        midnight_ns = (segment.start_ns // DAY_NS + 1) * DAY_NS
        # Rounded up: a sample at midnight belongs to the next day.
        count = -int((segment.start_ns - midnight_ns) * segment.rate // NS)
        parts.append(segment.cut(0, count))
        segment = segment.cut(min(count, len(segment.samples)), len(segment.samples))
    return parts


def _continues(channel: _Channel, piece: Segment) -> bool:
    first = channel.waiting[0].segment
    return (
        piece.rate == first.rate
        and piece.flags == first.flags
        and abs(piece.start_ns - first.time_ns(channel.count)) * piece.rate * 2 <= NS
        and piece.start_ns // DAY_NS == first.start_ns // DAY_NS
    )


def _reach(parts: Sequence[_Part], count: int) -> tuple[int, int]:
    """The packet that has the last of the first `count` samples, and its place there, from 1."""
    for part in parts:
        if count <= len(part.segment.samples):
            return part.position, part.first + count
        count -= len(part.segment.samples)
    raise ValueError("a record with more samples than there were")


def _behind(parts: Sequence[_Part], count: int) -> list[_Part]:
    """What is left behind the first `count` samples."""
    left = []
    for part in parts:
        length = len(part.segment.samples)
        if count < length:
            left.append(part.cut(count) if count else part)
        count = max(0, count - length)
    return left


def _covered(spans: Spans, segment: Segment) -> bool:
    half_ns = int(NS / segment.rate / 2)
    return any(
        begin - half_ns <= segment.start_ns and segment.end_ns <= end + half_ns
        for begin, end in reversed(spans)
    )


def _cover(spans: Spans, start_ns: int, end_ns: int, rate: Fraction) -> None:
    """Add what was packed to the spans, joined to the one that it continues."""
    half_ns = int(NS / rate / 2)
    for i in range(len(spans) - 1, -1, -1):
        if abs(spans[i][1] - start_ns) <= half_ns:
            spans[i] = (spans[i][0], end_ns)
            return
    insort(spans, (start_ns, end_ns))
    del spans[:-SPANS]
