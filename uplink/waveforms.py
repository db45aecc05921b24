"""Waveforms on demand: what is asked of a box, and in which parts it answers.

On `waveform/request` comes a JSON document; on `waveform/data` go parts of at most 16 kB: whole
miniSEED records of 512 bytes, in order of channel and time, which put one behind the other are a
file. A request is answered once, whatever comes of it: it may be published retained, and twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from uplink.packets import PacketError

RECORD = 512  # bytes
PART_RECORDS = 8  # 4 kB, at most: a pick that comes meanwhile waits for no more than that
PART_S = 2.0  # in which a part is through at the rate that is set, or of a single record soon after
MOST_RECORDS = 31  # in a part, with what is around them within 16 kB
MOST_REQUEST = 4096  # bytes
MOST_PARTS = 100_000
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

RequestId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Channel = Annotated[str, Meta(pattern=r"^[A-Z0-9.-]{1,24}$")]  # HHZ, 00.HHZ or NET.STA.00.HHZ


class WaveformRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The samples of a station from a time on to another (excluded)."""

    id: RequestId
    start: Annotated[datetime, Meta(tz=True)]
    end: Annotated[datetime, Meta(tz=True)]
    channels: Annotated[list[Channel], Meta(max_length=100)] = []  # none: all

    @property
    def start_ns(self) -> int:
        return _nanoseconds(self.start)

    @property
    def end_ns(self) -> int:
        return _nanoseconds(self.end)

    def wants(self, channel: str) -> bool:
        """Whether a channel (NET.STA.LOC.CHA) is asked for."""
        wanted = self.channels
        return not wanted or any(f".{channel}".endswith(f".{name}") for name in wanted)


class _Identified(msgspec.Struct):
    id: RequestId


class WaveformPart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A part of an answer, or, where `parts` is 0, the reason why there is none."""

    id: RequestId
    part: Annotated[int, Meta(ge=0, lt=MOST_PARTS)]  # from 0
    parts: Annotated[int, Meta(ge=0, le=MOST_PARTS)]  # of the whole answer
    records: Annotated[bytes, Meta(max_length=MOST_RECORDS * RECORD)] = b""
    reason: Annotated[str, Meta(max_length=500)] = ""


class BadRequest(ValueError):
    """A request that cannot be followed, but answered: one line says why."""

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(reason)
        self.id = id


def _nanoseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


_decode_request = msgspec.json.Decoder(WaveformRequest).decode
_decode_id = msgspec.json.Decoder(_Identified).decode
_decode_part = msgspec.msgpack.Decoder(WaveformPart).decode
_encode_part = msgspec.msgpack.Encoder().encode


def decode_request(payload: bytes) -> WaveformRequest:
    """Raises BadRequest where at least its id can be read, else PacketError."""
    try:
        return _decode_request(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error)
    try:
        id = _decode_id(payload).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PacketError(f"waveform/request: {reason}") from None
    raise BadRequest(id, reason)


def encode_request(request: WaveformRequest) -> bytes:
    return msgspec.json.encode(request)


def encode_answer(id: str, records: Sequence[bytes], bytes_per_s: float = 1e6) -> list[bytes]:
    """The parts of an answer. records: of 512 bytes each, at least one. bytes_per_s: of the line,
    which should not be given up for want of an acknowledgement while a part is on its way."""
    count = max(1, min(PART_RECORDS, int(bytes_per_s * PART_S) // RECORD))
    groups = [b"".join(records[first : first + count]) for first in range(0, len(records), count)]
    return [
        _encode_part(WaveformPart(id, number, len(groups), group))
        for number, group in enumerate(groups)
    ]


def encode_refusal(id: str, reason: str) -> bytes:
    return _encode_part(WaveformPart(id, 0, 0, b"", reason[:500]))


def decode_part(payload: bytes) -> WaveformPart:
    """Raises PacketError for what is none, or holds anything but whole records."""
    try:
        part = _decode_part(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PacketError(f"waveform/data: {error}") from None
    if part.parts and not part.part < part.parts:
        raise PacketError(f"waveform/data: part {part.part} of {part.parts}")
    if len(part.records) % RECORD or bool(part.records) != bool(part.parts):
        raise PacketError(f"waveform/data: {len(part.records)} bytes are no records")
    return part
