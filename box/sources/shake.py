"""Raspberry Shake data cast: an ASCII datagram by UDP for each channel and packet.

`{'EHZ', 1582315130.292, 14168, 14927, 16112}`: channel, Unix time of the first sample, counts.
The sampling rate is not in it. Datagrams get lost, come twice, and in another order: what that
means is for the ring to say.

Times are of the Shake's own clock, of whose state it tells nothing. By its manual ("NTP and GPS
timing details") they are right to one sample interval as long as NTP or GPS is there: a box for a
Shake alone may say so by `clock.locked_uncertainty_s`.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from fractions import Fraction
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from box.clock import Clock
from box.config import ShakeConfig
from box.sources.live import LiveSource, Take
from ringbuffer.segment import Segment

LARGEST = 65_535  # bytes of a datagram
_DATAGRAM = re.compile(
    rb"\s*\{\s*'([A-Z0-9]{3})'\s*,\s*(\d{1,10})(?:\.(\d*))?\s*,\s*([-+]?\d+(?:\s*,\s*[-+]?\d+)*)\s*\}\s*"
)


class Packet(NamedTuple):
    """A datagram's channel code, time of its first sample (ns since 1970), counts (int32)."""

    code: str
    start_ns: int
    samples: NDArray[np.int32]


def parse(datagram: bytes) -> Packet | None:
    """A datagram as it was cast; None for anything else."""
    match = _DATAGRAM.fullmatch(datagram)
    if match is None:
        return None
    code, seconds, fraction, counts = match.groups()
    values = [count.strip() for count in counts.split(b",")]
    if max(map(len, values)) > len("-2147483648"):
        return None
    samples = np.array([int(value) for value in values], np.int64)
    if samples.max() >= 2**31 or samples.min() < -(2**31):
        return None
    # In decimals: a float has no nanoseconds left behind a Unix time.
    start_ns = int(seconds + (fraction or b"").ljust(9, b"0")[:9])
    return Packet(code.decode(), start_ns, samples.astype(np.int32))


class ShakeSource(LiveSource):
    """Listens for one instrument's data cast. `port` is the one that it listens on."""

    def __init__(
        self,
        config: ShakeConfig,
        station_id: str,
        clock: Clock,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ids = {c: f"{station_id}.{config.location}.{c}" for c in config.channels}
        name = f"shake {config.host}:{config.port}"
        super().__init__(name, list(self._ids.values()), clock, random, sleep)
        self._config = config
        self._rate = Fraction(config.rate).limit_denominator(1000)
        self.port = config.port

    async def connection(self, take: Take) -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._config.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as listening:
            listening.setblocking(False)
            listening.bind((self._config.host, self._config.port))
            self.port = listening.getsockname()[1]
            self.established()
            while True:
                datagram, sender = await loop.sock_recvfrom(listening, LARGEST)
                if self._config.sender in (None, sender[0]):
                    self._digest(datagram, take)
                await asyncio.sleep(0)  # a flood of datagrams leaves the others their turn

    def _digest(self, datagram: bytes, take: Take) -> None:
        self.counters.bytes += len(datagram)
        packet = parse(datagram)
        if packet is None:
            self.counters.bad += 1
        elif packet.code in self._ids:
            self.counters.frames += 1
            channel = self._ids[packet.code]
            self.deliver(Segment(channel, packet.start_ns, self._rate, packet.samples), take)
