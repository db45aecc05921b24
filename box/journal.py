"""A station's ring on disk, and how its box goes on from it after a kill or a power cut.

Every packet is written to the ring before it is judged, and every minute the box notes beside the
packets where its pipeline stands. After a restart the pipeline is brought back to its last note
and fed what came behind it, so that it tells what it would have told. The outbox knows the packet
of which it holds the last pick (`Outbox.position`): what comes of packets up to that one was told
before, and is not told again.

A ring that cannot be used never stops the picking: it is told of in health, and tried again.

A power cut can take packets whose picks had already left. The box then goes on behind a hole, as
behind any other; what it picks on the samples before the hole may get another id.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from box.memory import StretchMemory
from box.pipeline import Settings, StationPipeline
from models.conditioning import RATE
from ringbuffer.file import MOST_NOTE, MOST_SAMPLES, Record, RingError, RingFile
from ringbuffer.segment import Segment

NOTE_EVERY = 60 * RATE  # samples judged between two notes
LOOK_BACK = 10_000  # records among which the last note is sought
RETRY_AFTER = 1000  # packets for which a ring that failed is left alone


class _Note(msgspec.Struct, frozen=True, array_like=True):
    """Where a pipeline stands, after all records before this one."""

    base: int = 0  # sequence number of the note from which to bring it back, or, where it is fresh,
    fresh: bool = True  # of the record before the first of its stretch
    memory: StretchMemory | None = None  # None: nothing is open, and the next packet is the first
    signature: str = ""  # of the pipeline; where none is given, any may go on
    settings: Settings | None = None  # by which it judges what comes next


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Note).decode


class Journal:
    """Keeps packets and notes in the ring; brings a pipeline back from them.

    counters: `records`, `bytes`, `damaged` places, `set_aside` files, `errors`
    held: channel (NET.STA.LOC.CHA) -> end of its newest packet (ns), as the ring had it at opening
    newest_arrival_ns: of the newest record, as the ring had it at opening; 0 where there was none
    """

    def __init__(self, path: Path, size: int, after: int = 0) -> None:
        """after: the last sequence number that the outbox knows."""
        self.path = path
        self.counters: Counter[str] = Counter()
        self.held: dict[str, int] = {}
        self.newest_arrival_ns = 0
        self._size = size
        self._newest = after
        self._trouble = ""
        self._rest = 0  # packets until the ring is tried again
        self._notes: deque[tuple[int, int]] = deque(maxlen=10)  # sequence number, samples judged
        self._begin = after  # record before the first of the stretch
        self._stretches = 0
        self._ring: RingFile | None = None
        self._open()

    def _open(self) -> None:
        try:
            self._ring = ring = RingFile(self.path, self._size, self._newest)
        except RingError as error:
            self._fail(error)
            return
        self._trouble = ""
        self.counters["damaged"] += ring.damaged
        if ring.set_aside is not None:
            self.counters["set_aside"] += 1
            self._trouble = f"{self.path}: unusable, set aside as {ring.set_aside.name}"

    def _fail(self, error: Exception) -> None:
        self.counters["errors"] += 1
        self._trouble = str(error)
        self._rest = RETRY_AFTER
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    @property
    def problems(self) -> list[str]:
        return [f"ring: {self._trouble}"] if self._trouble else []

    def keep(self, segment: Segment, arrived_ns: int) -> int:
        """Write a packet down, before it is judged. Returns its sequence number, which grows
        whether that was possible or not."""
        if self._ring is None:
            self._try_again(arrived_ns)
        if self._ring is not None:
            try:
                self._newest = self._ring.append(segment, arrived_ns)
                self.counters["records"] += 1
                return self._newest
            except ValueError:
                self.counters["errors"] += 1
            except RingError as error:
                self._fail(error)
        self._newest += 1
        return self._newest

    def _try_again(self, now_ns: int) -> None:
        self._rest -= 1
        if self._rest <= 0:
            self._open()
            self._write(_Note(), now_ns)  # a pipeline cannot be brought back over what is missing
            self._notes.clear()
            self._begin = self._newest

    def mark(self, pipeline: StationPipeline, now_ns: int, at_once: bool = False) -> None:
        """Note where the pipeline stands, now that it has judged what was kept, if it is time, or
        at once."""
        self._follow(pipeline, self._newest)
        judged = pipeline.judged
        if judged - (self._notes[-1][1] if self._notes else 0) < NOTE_EVERY and not at_once:
            return
        memory = pipeline.memory()
        if memory is None:
            return
        early = [seq for seq, then in self._notes if then <= judged - pipeline.reach]
        base = early[-1] if early else self._begin
        note = _Note(base, not early, memory, pipeline.signature, pipeline.settings)
        if self._write(note, now_ns):
            self._notes.append((self._newest, judged))

    def _follow(self, pipeline: StationPipeline, seq: int) -> None:
        """A stretch that has begun needs nothing from before."""
        if pipeline.stretches != self._stretches:
            self._stretches = pipeline.stretches
            self._begin = seq - 1
            self._notes.clear()

    def finish(self, now_ns: int) -> int:
        """Everything that is open is about to be settled. Returns the sequence number for it."""
        self._write(_Note(), now_ns)
        return self._newest

    def _write(self, note: _Note, now_ns: int) -> bool:
        encoded = _encode(note)
        if self._ring is None or len(encoded) > MOST_NOTE:
            return False
        try:
            self._newest = self._ring.append_note(encoded, now_ns)
        except RingError as error:
            self._fail(error)
            return False
        return True

    def packets(self) -> Iterator[tuple[int, Segment]]:
        """The newest packets in the ring with their sequence numbers, in order of arrival."""
        if self._ring is not None:
            records = self._ring.records(self._ring.newest - LOOK_BACK)
            yield from ((r.seq, r.segment) for r in records if r.segment is not None)

    def between(self, start_ns: int, end_ns: int) -> Iterator[Segment]:
        """Packets with samples in a span of time, in order of arrival; from any thread."""
        if (ring := self._ring) is not None:
            yield from (r.segment for r in ring.between(start_ns, end_ns) if r.segment is not None)

    def resume(self, pipeline: StationPipeline, now_ns: int) -> Iterator[tuple[Record, Segment]]:
        """Bring a fresh pipeline back to the last note, and yield the packets behind it.

        Feed it each of them before asking for the next. It judges them by the settings that were
        in force when they came: those that it had are for the caller to give it again.
        """
        if self._ring is None:
            return
        records = list(self._ring.records(self._ring.newest - LOOK_BACK))
        self.newest_arrival_ns = records[-1].arrived_ns if records else 0
        for record in records:
            if (segment := record.segment) is not None:
                end_ns = max(self.held.get(segment.channel, 0), segment.end_ns)
                self.held[segment.channel] = end_ns
        note = next((r for r in reversed(records) if r.segment is None), None)
        brought_back = note is not None and self._bring_back(pipeline, note)
        nothing_yet = note is not None and note.seq == records[-1].seq and not pipeline.has_begun
        if note is None or not brought_back or nothing_yet:
            fresh = _Note(signature=pipeline.signature, settings=pipeline.settings)
            self._write(fresh, now_ns)
            self._begin = self._newest
            return
        for record in records:
            if record.seq > note.seq and record.segment is not None:
                yield record, record.segment
                self._follow(pipeline, record.seq)

    def _bring_back(self, pipeline: StationPipeline, record: Record) -> bool:
        """To the state of a note. False where the ring has not all that this needs."""
        assert self._ring is not None
        settings = pipeline.settings
        try:
            note = _decode(record.note)
            # Where nothing is to be judged again, another pipeline may go on with what was open.
            if note.signature not in ("", pipeline.signature) and record.seq != self._ring.newest:
                raise ValueError("other models or settings")
            pipeline.reconfigure(*(note.settings or settings))
            if note.memory is not None:
                before = None if note.fresh else self._memory_at(note.base)
                between = self._ring.records(note.base)
                packets = (r.segment for r in between if r.segment and r.seq < record.seq)
                pipeline.resume(before, packets, note.memory)
                self._notes.extend([(note.base, before.judged)] if before else [])
                self._notes.append((record.seq, note.memory.judged))
        except (msgspec.MsgspecError, ValueError) as error:
            self._trouble = f"{self.path}: begins afresh: {error}"
            pipeline.reconfigure(*settings)
            return False
        self._begin = note.base
        self._stretches = pipeline.stretches
        return True

    def _memory_at(self, seq: int) -> StretchMemory:
        assert self._ring is not None
        record = next(self._ring.records(seq - 1), None)
        memory = _decode(record.note).memory if record and record.seq == seq else None
        if memory is None:
            raise ValueError("an earlier note is missing")
        return memory

    def sync(self) -> None:
        """Onto the disk: for a thread, since an SD card may take its time."""
        if (ring := self._ring) is not None:
            try:
                ring.sync()
            except OSError as error:
                self.counters["errors"] += 1
                self._trouble = f"{self.path}: {error.strerror}"

    def close(self) -> None:
        self.sync()
        if self._ring is not None:
            self._ring.close()
            self._ring = None


def pieces(segment: Segment) -> list[Segment]:
    """A segment as packets that the ring takes; nearly always one."""
    count = len(segment.samples)
    if count <= MOST_SAMPLES:
        return [segment] if count else []
    return [segment.cut(i, min(i + MOST_SAMPLES, count)) for i in range(0, count, MOST_SAMPLES)]
