"""A SeedLink server of ours over what two stations record, and a session with it by hand."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from box.archive import Archive
from box.clock import SystemClock
from box.config import SeedLinkServerConfig
from box.packer import Packer
from box.record_store import RecordStore
from box.seedlink.server import SeedLinkServer
from ringbuffer.records import RECORD
from ringbuffer.segment import NS, Segment

STATIONS = ["XX.ABC", "XX.DEF"]
CHANNELS = [f"{station}.00.HH{c}" for station in STATIONS for c in "ZN"]
START = 1_562_259_000 * NS
NOISE = np.random.default_rng(8).integers(-2000, 2000, 400_000).astype(np.int32)


def packet(number: int, channel: str) -> Segment:
    first = 100 * number + 1000 * CHANNELS.index(channel)
    return Segment(channel, START + number * NS, Fraction(100), NOISE[first : first + 100])


class Recorder:
    """A server over what two stations record, and the archive of it."""

    def __init__(self, folder: Path, ring: int = 1 << 20, **config: Any) -> None:
        self.archive = Archive(folder / "sds", 100, 100, lambda: 2 * START)
        self.store = RecordStore(folder, STATIONS, ring, 0)
        self.packer = Packer([self.store, self.archive], 1e6, time.monotonic_ns)
        config = {"port": 0} | config
        self.server = SeedLinkServer(SeedLinkServerConfig(**config), self.store, SystemClock())
        self.seconds = 0

    async def __aenter__(self) -> Recorder:
        self._task = asyncio.create_task(self.server.run())
        await until(lambda: self.server.port != 0 or bool(self.server.problems))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.store.close()

    def record(self, seconds: int) -> None:
        for number in range(self.seconds, self.seconds + seconds):
            for channel in CHANNELS:
                self.packer.take(packet(number, channel))
        self.seconds += seconds

    def archived(self, channels: Iterable[str]) -> dict[str, bytes]:
        """What the archive has of channels."""
        return {c: b"".join(self.archive.last_of_day(c, START, 1 << 20)) for c in channels}

    async def record_until(self, true: Callable[[], bool]) -> None:
        """Second by second, until something is so."""

        def step() -> bool:
            if not true():
                self.record(1)
            return true()

        await until(step)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def by_channel(raws: Iterable[bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for raw in raws:
        name = f"{raw[18:20].decode()}.{raw[8:13].decode().strip()}.{raw[13:15].decode()}.HH"
        name += raw[17:18].decode()
        found[name] = found.get(name, b"") + raw
    return found


class Session:
    """By hand, as with telnet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, recorder: Recorder, *lines: str) -> Session:
        """Connected, and through with commands that are answered by OK."""
        session = cls(*await asyncio.open_connection("127.0.0.1", recorder.server.port))
        for line in lines:
            assert await session.say(line) == b"OK", line
        return session

    async def say(self, line: str) -> bytes:
        self.writer.write(f"{line}\r\n".encode())
        async with asyncio.timeout(30):
            return (await self.reader.readline()).strip()

    def start(self, line: str = "END") -> None:
        self.writer.write(f"{line}\r\n".encode())

    async def packets(self, count: int, protocol: int) -> list[tuple[int, bytes]]:
        """Sequence numbers and records; fewer, where END comes first."""
        found: list[tuple[int, bytes]] = []
        async with asyncio.timeout(30):
            while len(found) < count:
                head = await self.reader.readexactly(3)
                if head == b"END":
                    assert await self._is_silent()
                    return found
                if protocol == 3:
                    head += await self.reader.readexactly(5)
                    found.append((int(head[2:], 16), await self.reader.readexactly(RECORD)))
                    continue
                head += await self.reader.readexactly(14)
                _, kind, length, sequence, name = struct.unpack("<2s2sIQB", head)
                station = await self.reader.readexactly(name)
                payload = await self.reader.readexactly(length)
                assert (kind, length) == (b"2D", RECORD)
                assert station == payload[18:20] + b"_" + payload[8:13].strip()
                found.append((sequence, payload))
        return found

    async def _is_silent(self) -> bool:
        """Nothing comes behind END, and the connection is left to the client to close."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                return not await self.reader.read(1)
        return True

    def close(self) -> None:
        self.writer.transport.abort()
