"""AnyShake Explorer's frames of protocols 1 and 3, out of a stream of bytes.

Header and tail occur inside the data too: a frame is one only with its length, checksum and tail.
All integers are little-endian.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from box.sources.live import Counters

INTERVALS_MS = (100, 200, 500, 1000)
RATES = (10, 20, 50, 100, 200, 250, 500, 1000)  # Hz
SAMPLES_1 = 5  # per channel and frame of protocol 1
_V3 = struct.Struct("<2sQII")  # header, timestamp, configuration, variable
_V3_AROUND = _V3.size + 3  # and checksum and tail
_V1_LENGTH = 2 + 3 * 4 * SAMPLES_1 + 3 + 1
_UNKNOWN, _IMPOSSIBLE = 0, -1


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was whole.

    samples: channel number, from 1 -> int32, shape (n,), counts
    timestamp_ms: of the device, when it sent the frame: UTC where `gnss` is set, else since its
        start; 0 in protocol 1, which has none
    rate: Hz; 0 in protocol 1, which does not tell
    size: bytes
    after_loss: bytes had to be skipped before it
    """

    samples: dict[int, NDArray[np.int32]]
    timestamp_ms: int
    gnss: bool
    rate: int
    size: int
    after_loss: bool


class Deframer(ABC):
    """Finds frames however the stream is torn, and finds back into it after damage.

    A frame that is waited for to its end is given up as soon as a whole one shows up behind its
    beginning: a header in the rubbish must not hold up what is good.
    """

    header: ClassVar[bytes]

    def __init__(self, counters: Counters) -> None:
        """counters: those whose frames, bad and resyncs are counted here."""
        self._counters = counters
        self._buffer = bytearray()
        self._skipped = 0  # bytes since the last frame

    @abstractmethod
    def length(self, begin: int) -> int:
        """Of the frame that begins at an index of the buffer; _UNKNOWN before enough of it has
        come, _IMPOSSIBLE where no frame is like that."""

    @abstractmethod
    def is_whole(self, frame: bytes) -> bool:
        """Whether checksum and tail are right."""

    @abstractmethod
    def decode(self, frame: bytes, after_loss: bool) -> Frame: ...

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes in; returns the frames that have become complete."""
        self._buffer += data
        frames = []
        while (found := self._find()) is not None:
            begin, frame = found
            self._skip(begin)
            del self._buffer[: len(frame)]
            if self._skipped:
                self._counters.resyncs += 1
                self._counters.bad += max(1, round(self._skipped / len(frame)))
            self._counters.frames += 1
            frames.append(self.decode(frame, self._skipped > 0))
            self._skipped = 0
        return frames

    def _find(self) -> tuple[int, bytes] | None:
        """The first whole frame, and where it begins; drops what can be no part of one."""
        incomplete: int | None = None
        begin = self._buffer.find(self.header)
        while begin >= 0:
            length = self.length(begin)
            if length == _UNKNOWN or begin + length > len(self._buffer):
                incomplete = begin if incomplete is None else incomplete
            elif length > 0:
                frame = bytes(self._buffer[begin : begin + length])
                if self.is_whole(frame):
                    return begin, frame
            begin = self._buffer.find(self.header, begin + 1)
        if incomplete is None:
            incomplete = len(self._buffer) - self._buffer.endswith(self.header[:1])
        self._skip(incomplete)
        return None

    def _skip(self, count: int) -> None:
        del self._buffer[:count]
        self._skipped += count


class DeframerV3(Deframer):
    """Protocol 3: `01 FE`, timestamp, configuration, variable, data, checksum, `EF 10`."""

    header = b"\x01\xfe"

    def length(self, begin: int) -> int:
        if begin + _V3.size > len(self._buffer):
            return _UNKNOWN
        _, _, configuration, _ = _V3.unpack_from(self._buffer, begin)
        widths = _widths(configuration)
        if not widths:
            return _IMPOSSIBLE
        return _V3_AROUND + _samples_per_frame(configuration) * sum(widths.values())

    def is_whole(self, frame: bytes) -> bool:
        return frame.endswith(b"\xef\x10") and _xor(frame[2:-3]) == frame[-3]

    def decode(self, frame: bytes, after_loss: bool) -> Frame:
        _, timestamp_ms, configuration, _ = _V3.unpack_from(frame)
        count = _samples_per_frame(configuration)
        samples = {}
        begin = _V3.size
        for number, width in _widths(configuration).items():
            end = begin + count * width
            samples[number] = _integers(frame[begin:end], width)
            begin = end
        rate = RATES[configuration >> 27 & 7]
        gnss = bool(configuration >> 26 & 1)
        return Frame(samples, timestamp_ms, gnss, rate, len(frame), after_loss)


class DeframerV1(Deframer):
    """Protocol 1: `FC 1B`, five int32 of each of three channels, a checksum each, padding."""

    header = b"\xfc\x1b"

    def length(self, begin: int) -> int:
        return _V1_LENGTH

    def is_whole(self, frame: bytes) -> bool:
        return all(_xor(data) == frame[62 + n] for n, data in enumerate(_channels_1(frame)))

    def decode(self, frame: bytes, after_loss: bool) -> Frame:
        samples = {n: _integers(data, 4) for n, data in enumerate(_channels_1(frame), 1)}
        return Frame(samples, 0, False, 0, len(frame), after_loss)


def _channels_1(frame: bytes) -> list[bytes]:
    width = 4 * SAMPLES_1
    return [frame[begin : begin + width] for begin in range(2, 2 + 3 * width, width)]


def _widths(configuration: int) -> dict[int, int]:
    """Channel number -> bytes per sample, of the channels that are enabled."""
    kinds = {number: configuration >> (26 - 2 * number) & 3 for number in range(1, 9)}
    return {number: kind + 1 for number, kind in kinds.items() if kind}


def _samples_per_frame(configuration: int) -> int:
    return INTERVALS_MS[configuration >> 30 & 3] * RATES[configuration >> 27 & 7] // 1000


def _xor(data: bytes) -> int:
    return int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8)))


def _integers(data: bytes, width: int) -> NDArray[np.int32]:
    """Signed integers of 2, 3 or 4 bytes."""
    if width != 3:
        return np.frombuffer(data, f"<i{width}").astype(np.int32)
    padded = np.zeros((len(data) // 3, 4), np.uint8)
    padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return (padded.view("<i4")[:, 0] >> 8).astype(np.int32)
