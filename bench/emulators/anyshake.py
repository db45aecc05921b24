"""An AnyShake Explorer on a pseudo-terminal, and what it sends: protocols 3 and 1."""

from __future__ import annotations

import os
import struct
import tty
from functools import reduce
from operator import xor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ringbuffer.segment import Segment

_MS = 1_000_000
_KINDS = {2: 1, 3: 2, 4: 3}  # bytes per sample -> type in the configuration word
_INTERVALS_MS = (100, 200, 500, 1000)
_RATES = (10, 20, 50, 100, 200, 250, 500, 1000)


def checksum(data: bytes) -> int:
    return reduce(xor, data, 0)


def frame_3(
    channels: dict[int, NDArray[np.int32]],
    sent_ms: int,
    interval_ms: int = 100,
    rate: int = 100,
    gnss: bool = True,
    width: int = 4,
) -> bytes:
    """A frame of protocol 3 as the device sends it. width: bytes per sample."""
    configuration = _INTERVALS_MS.index(interval_ms) << 30
    configuration |= _RATES.index(rate) << 27
    configuration |= gnss << 26 | 0b11111
    data = b""
    for number, samples in sorted(channels.items()):
        configuration |= _KINDS[width] << (26 - 2 * number)
        data += b"".join(int(v).to_bytes(width, "little", signed=True) for v in samples)
    body = struct.pack("<QII", sent_ms, configuration, 0x12345678) + data
    return b"\x01\xfe" + body + bytes([checksum(body)]) + b"\xef\x10"


def frames_3(traces: list[Segment], gnss: bool = True) -> list[bytes]:
    """A recording at 100 Hz as frames of 100 ms."""
    frames = []
    for first in range(0, len(traces[0].samples), 10):
        parts = {n: t.samples[first : first + 10] for n, t in enumerate(traces, 1)}
        frames.append(frame_3(parts, traces[0].time_ns(first + 10) // _MS, gnss=gnss))
    return frames


def frame_1(channels: list[NDArray[np.int32]]) -> bytes:
    """A frame of protocol 1: five samples of each of three channels."""
    data = [samples.astype("<i4").tobytes() for samples in channels]
    return b"\xfc\x1b" + b"".join(data) + bytes(map(checksum, data)) + b"\x00"


def frames_1(traces: list[Segment]) -> list[bytes]:
    """A recording as frames of protocol 1."""
    count = len(traces[0].samples)
    return [frame_1([t.samples[first : first + 5] for t in traces]) for first in range(0, count, 5)]


class Explorer:
    """The device on a pseudo-terminal, behind a path as udev would make it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plug_in()

    def plug_in(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))
        self._slave = slave  # kept, or the terminal would be gone before somebody opens it

    def unplug(self) -> None:
        os.close(self._slave)
        os.close(self._master)

    def write(self, data: bytes) -> None:
        """No more than a terminal holds (4 kB) before it is read."""
        if os.write(self._master, data) != len(data):
            raise RuntimeError("nobody reads the terminal")
