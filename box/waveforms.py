"""Cuts of a station's waveforms, for whoever asks over MQTT and, if configured, at each trigger.

What is asked for is cut out of the ring on disk in a thread, packed into miniSEED records, and put
in the outbox at once, whence it goes behind everything else and at a rate of its own
(`uplink/sending.py`). A cut that reaches into the future waits for its samples. Each request is
answered once, be it with a reason why not; its id is remembered in the outbox, in the transaction
that holds the answer.

Limits (`WaveformsConfig`): the length of a cut, and how many wait for their samples. What waits is
forgotten by a kill: who has asked asks again when the box says that it is back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from box.clock import Clock
from box.config import WaveformsConfig
from box.journal import Journal
from box.packer import Packer
from ringbuffer.records import Finished
from ringbuffer.segment import NS, Segment
from uplink.outbox import Kind, Packet
from uplink.packets import Event
from uplink.session import Session, Subscription
from uplink.topics import topic
from uplink.waveforms import (
    MOST_REQUEST,
    BadRequest,
    WaveformRequest,
    decode_request,
    encode_answer,
    encode_refusal,
)

PATIENCE_S = 10.0  # for samples that are late
LOOK_EVERY_S = 1.0  # whether the samples that are waited for have come
_AHEAD_NS = 3600 * NS  # that a cut may end in the future


class _Wanted(NamedTuple):
    request: WaveformRequest
    deadline_ns: int  # monotonic; after that it is cut as it is


class Waveforms:
    """Takes requests and answers them. One for each station.

    counters: `requests`, `refused`, `repeats` (that were answered before), `cuts`, `records`
    """

    def __init__(
        self,
        station_id: str,
        session: Session,
        journal: Journal,
        data_until_ns: Callable[[], int],
        clock: Clock,
        config: WaveformsConfig,
    ) -> None:
        """data_until_ns: up to where the samples have come."""
        self.counters: Counter[str] = Counter()
        self._station_id = station_id
        self._session = session
        self._journal = journal
        self._data_until_ns = data_until_ns
        self._clock = clock
        self._config = config
        self._waiting: list[_Wanted] = []
        self._news = asyncio.Event()
        if config.on_request:
            session.subscribe("waveform/request", Subscription(self.take, MOST_REQUEST))

    def take(self, payload: bytes, retained: bool = False) -> None:
        """A request has come. Raises PacketError for what nobody could answer, and OutboxError."""
        try:
            self._ask(decode_request(payload))
        except BadRequest as bad:
            self._refuse(bad.id, str(bad))

    def triggered(self, event: Event) -> None:
        """The station has triggered, or the end of that has come. Raises OutboxError."""
        config = self._config
        if not config.at_trigger or event.revision:
            return
        on = datetime.fromtimestamp(event.on_ns // NS, UTC)
        self._ask(
            WaveformRequest(
                id=f"trigger:{event.on_ns}",
                start=on - timedelta(seconds=config.before_s),
                end=on + timedelta(seconds=config.after_s),
            )
        )

    def _ask(self, request: WaveformRequest) -> None:
        self.counters["requests"] += 1
        waiting = {wanted.request.id for wanted in self._waiting}
        if request.id in waiting or self._session.answered(request.id):
            self.counters["repeats"] += 1
        elif reason := self._objection(request):
            self._refuse(request.id, reason)
        else:
            ahead_ns = max(0, request.end_ns - self._clock.now_ns())
            deadline_ns = self._clock.monotonic_ns() + ahead_ns + round(PATIENCE_S * NS)
            self._waiting.append(_Wanted(request, deadline_ns))
            self._news.set()

    def _objection(self, request: WaveformRequest) -> str:
        length_s = (request.end_ns - request.start_ns) / NS
        if length_s <= 0:
            return "end: not behind the start"
        if length_s > self._config.longest_s:
            return f"end: a cut of {length_s:g} s is longer than {self._config.longest_s:g} s"
        if request.end_ns > self._clock.now_ns() + _AHEAD_NS:
            return "end: more than an hour ahead"
        if len(self._waiting) >= self._config.most_pending:
            return f"{len(self._waiting)} requests wait already"
        return ""

    def _refuse(self, id: str, reason: str) -> None:
        """Tell why there is no answer, unless that has been told."""
        if self._session.answered(id):
            self.counters["repeats"] += 1
            return
        self.counters["refused"] += 1
        self._send(id, [encode_refusal(id, reason)])

    def _send(self, id: str, payloads: Iterable[bytes]) -> None:
        name = topic(self._station_id, "waveform/data")
        now_ns = self._clock.now_ns()
        self._session.publish(
            Packet(name, payload, Kind.WAVEFORM, now_ns, answers=id) for payload in payloads
        )

    async def run(self) -> None:
        """Cut what is asked for, for ever. Raises OutboxError."""
        while True:
            self._news.clear()
            for wanted in [wanted for wanted in self._waiting if self._is_ready(wanted)]:
                await self._answer(wanted.request)
                self._waiting.remove(wanted)
            timeout = asyncio.timeout(LOOK_EVERY_S if self._waiting else None)
            try:
                async with timeout:
                    await self._news.wait()
            except TimeoutError:
                continue

    def _is_ready(self, wanted: _Wanted) -> bool:
        come = self._data_until_ns() >= wanted.request.end_ns
        return come or self._clock.monotonic_ns() >= wanted.deadline_ns

    async def _answer(self, request: WaveformRequest) -> None:
        try:
            records = await asyncio.to_thread(cut, self._journal, request)
        except (OSError, ValueError) as error:
            self._refuse(request.id, f"cannot be cut: {' '.join(str(error).split())}")
            return
        if not records:
            self._refuse(request.id, "no samples: they are not in the ring, or never came")
            return
        self.counters["cuts"] += 1
        self.counters["records"] += len(records)
        self._send(request.id, encode_answer(request.id, records, self._config.bytes_per_s))


def cut(journal: Journal, request: WaveformRequest) -> list[bytes]:
    """miniSEED records of what is asked for, by channel and time."""
    span = request.start_ns, request.end_ns
    parts = [_trim(s, *span) for s in journal.between(*span) if request.wants(s.channel)]
    return pack(part for part in parts if len(part.samples))


class _Collector:
    """Keeps the records of a packer in memory."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.problems: list[str] = []
        self.records: list[Finished] = []

    def append(self, channel: str, records: Sequence[Finished]) -> None:
        self.records += records


def pack(segments: Iterable[Segment]) -> list[bytes]:
    """Records of 512 bytes of packets in any order, as the archive would have them."""
    collector = _Collector()
    packer = Packer([collector], 0.0, lambda: 0)
    for segment in sorted(segments, key=lambda s: (s.channel, s.start_ns)):
        packer.take(segment)
    packer.finish_old(0)
    records = sorted(collector.records, key=lambda record: (record.channel, record.start_ns))
    return [record.raw for record in records]


def _trim(segment: Segment, start_ns: int, end_ns: int) -> Segment:
    """The samples from `start_ns` on and before `end_ns`."""

    def index(time_ns: int) -> int:  # of the first sample at a time or after it
        rate = segment.rate
        before = (time_ns - segment.start_ns) * rate.numerator // (NS * rate.denominator)
        at = max(0, min(int(before), len(segment.samples)))
        while at < len(segment.samples) and segment.time_ns(at) < time_ns:
            at += 1
        return at

    return segment.cut(index(start_ns), index(end_ns))
