"""A recording through the emulator of each source: what it delivers, and what became of it.

Every function takes the traces of one station (gapless, equally long, at 100 Hz, beginning at the
same whole millisecond), a folder for files of its own, and what may happen on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from random import Random
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Literal

from pymseed import MiniSEEDError, MS3Record

from bench.emulators.anyshake import Explorer, frame_1, frame_3
from bench.emulators.clock import HandClock
from bench.emulators.harm import Harm, Sent
from bench.emulators.miniseed import miniseed
from bench.emulators.seedlink import Held, Server, hold
from bench.emulators.shake import cast
from box.clock import ReplayClock
from box.config import AnyShakeConfig, SeedLinkConfig, ShakeConfig
from box.sources.anyshake import BITS_PER_BYTE, AnyShakeSource
from box.sources.live import Counters, Source
from box.sources.miniseed import MiniSeedSource
from box.sources.positions import Positions
from box.sources.seedlink import SeedLinkSource
from box.sources.shake import ShakeSource
from ringbuffer.segment import NS, Segment

MS = 1_000_000
BAUD = 115_200
AWAY = 5  # frames lost while a device restarts, or its plug is out
UNLOCKED = 100  # frames until a restarted device has its GNSS again
LIMIT_S = 30.0  # for what should be done at once


@dataclass(frozen=True)
class Delivered:
    """What came of a recording."""

    segments: list[Segment]
    sent: Sent
    counters: Counters


Feed = Callable[[list[Segment], Path, Harm], Coroutine[None, None, Delivered]]


async def at_once(delay_s: float) -> None:
    """In place of a backoff."""
    await asyncio.sleep(0)


class Run:
    """A source that runs, and what it has delivered."""

    def __init__(self, source: Source, clock: HandClock | None = None) -> None:
        """clock: is set to the end of what was delivered, where given."""
        self.source = source
        self.segments: list[Segment] = []
        self._clock = clock

    async def __aenter__(self) -> Run:
        self._task = asyncio.create_task(self.source.run(self._take))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _take(self, segment: Segment) -> None:
        self.segments.append(segment)
        if self._clock is not None:
            self._clock.at_ns = max(self._clock.at_ns, segment.end_ns)

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the loop turn until something is so. Raises what the source has raised."""
        async with asyncio.timeout(LIMIT_S):
            while not true():
                if self._task.done():
                    self._task.result()
                    raise RuntimeError("the source has ended")
                await asyncio.sleep(0)

    async def connected(self, times: int = 1) -> None:
        await self.until(lambda: self.source.counters.connections >= times)


def station_of(traces: list[Segment]) -> tuple[str, str, list[str]]:
    """NET.STA, location, and the codes of the channels."""
    station_id, location, _ = traces[0].channel.rsplit(".", 2)
    return station_id, location, [trace.channel[-3:] for trace in traces]


class _Line:
    """A serial line on which frames arrive at their time."""

    def __init__(self, explorer: Explorer, run: Run, clock: HandClock, random: Random) -> None:
        self._explorer, self._run, self._clock = explorer, run, clock
        self._random = random
        self._written = 0

    async def send(self, data: bytes, arrival_ns: int) -> None:
        """In one piece or two, each of which is read before anything else is sent."""
        self._clock.at_ns = arrival_ns
        torn = self._random.randrange(len(data)) if self._random.random() < 0.2 else 0
        for piece in filter(None, (data[:torn], data[torn:])):
            self._explorer.write(piece)
            self._written += len(piece)
            await self._run.until(lambda: self._run.source.counters.bytes == self._written)
        await asyncio.sleep(0)  # it is digested after it has been counted

    async def replug(self) -> None:
        times = self._run.source.counters.connections
        self._explorer.unplug()
        await self._run.until(lambda: self._run.source.problems != [])
        self._explorer.plug_in()
        await self._run.connected(times + 1)


async def anyshake(
    traces: list[Segment],
    folder: Path,
    harm: Harm,
    protocol: Literal[1, 3] = 3,
    late_ns: Callable[[], int] = lambda: 0,
) -> Delivered:
    """An AnyShake Explorer: with GNSS and protocol 3, or with protocol 1.

    late_ns: how much later than it was sent, and transferred, a frame arrives
    """
    station_id, location, codes = station_of(traces)
    clock = HandClock(traces[0].start_ns)
    explorer = Explorer(folder / "tty")
    config = AnyShakeConfig(
        device=str(explorer.path),
        channels=codes,
        location=location,
        protocol=protocol,
        rate=None if protocol == 3 else 100.0,
        baud_rate=BAUD,
        timeout_s=LIMIT_S,
    )
    source = AnyShakeSource(config, station_id, clock, Random(1), at_once)
    block = 10 if protocol == 3 else 5
    total = len(traces[0].samples) // block
    sent = Sent(made=total)
    unlocked: range = range(0)  # frames after a restart

    def frame(number: int) -> bytes:
        parts = [t.samples[number * block : (number + 1) * block] for t in traces]
        if protocol == 1:
            return frame_1(parts)
        sent_ms = traces[0].time_ns((number + 1) * block) // MS
        gnss = number not in unlocked
        since_ms = sent_ms if gnss else 100 * (number - unlocked.start) + 1234
        return frame_3(dict(enumerate(parts, 1)), since_ms, gnss=gnss)

    def arrival_ns(number: int, size: int) -> int:
        # Protocol 3 says when it sends; protocol 1 sends with the last sample.
        index = (number + 1) * block - (protocol == 1)
        return traces[0].time_ns(index) + size * BITS_PER_BYTE * NS // BAUD + late_ns()

    async with Run(source) as run:
        await run.connected()
        line = _Line(explorer, run, clock, harm.random)
        number = 0
        while number < total:
            raw = frame(number)
            size = len(raw)
            kind = ""
            if 0 < number < total - UNLOCKED - AWAY - 1:
                kinds = ["changed", "gone", "doubled", "cut", "unplugged"]
                kinds += ["lost"] if protocol == 3 else []
                kinds += ["restarted"] if number not in unlocked else []
                kind = harm.strike(*kinds)
            if kind in ("lost", "restarted"):
                away = 1 if kind == "lost" else AWAY
                sent.lost += away
                number += away
                if kind == "restarted":
                    unlocked = range(number, number + UNLOCKED)
                continue
            sent.sent += 1
            if kind == "unplugged":  # in the middle of a frame, and into that of another
                await line.send(raw[: size // 2], arrival_ns(number, size))
                await line.replug()
                sent.lost += AWAY
                number += AWAY
                raw = frame(number)[size // 2 :]
                sent.damaged += 1
            elif kind == "cut":
                raw = raw[: harm.random.randrange(1, size)]
                sent.damaged += 1
            elif kind:
                # To double the last byte harms nothing; before it, protocol 1 has three checksums,
                # which may be the same.
                raw = harm.byte(raw, kind, size - (4 if protocol == 1 else 1))
                sent.damaged += 1
            await line.send(raw, arrival_ns(number, size))
            number += 1
        whole = sent.sent - sent.damaged
        await run.until(lambda: source.counters.frames == whole)
        explorer.unplug()
        await run.until(lambda: source.problems != [])  # and what waited has been handed on
    return Delivered(run.segments, sent, source.counters)


async def anyshake_1(traces: list[Segment], folder: Path, harm: Harm) -> Delivered:
    return await anyshake(traces, folder, harm, 1)


async def shake(traces: list[Segment], folder: Path, harm: Harm) -> Delivered:
    """A Raspberry Shake's data cast, in which datagrams are lost, late, doubled and malformed."""
    station_id, location, codes = station_of(traces)
    clock = HandClock(traces[0].start_ns)
    config = ShakeConfig(channels=codes, location=location, host="127.0.0.1", port=0)
    source = ShakeSource(config, station_id, clock, Random(1), at_once)
    datagrams = [list(of_all) for of_all in zip(*map(cast, traces), strict=True)]
    sent = Sent(made=sum(map(len, datagrams)))
    line: list[bytes] = []
    late: list[bytes] = []
    for number, of_all in enumerate(datagrams):
        waiting, late = late, []
        for datagram in of_all:
            inner = 0 < number < len(datagrams) - 1
            kind = harm.strike("malformed", "lost", "doubled", "late") if inner else ""
            if kind == "lost":
                sent.lost += 1
            elif kind == "malformed":
                sent.damaged += 1
                line.append(_malformed(datagram, harm.random))
            elif kind == "late":
                late.append(datagram)
            else:
                line += [datagram] * (2 if kind == "doubled" else 1)
        line += waiting
    sent.sent = len(line)
    async with Run(source, clock) as run:
        await run.connected()
        with socket(AF_INET, SOCK_DGRAM) as instrument:
            written = 0
            for datagram in line:
                written += instrument.sendto(datagram, ("127.0.0.1", source.port))
                if written - source.counters.bytes > 1 << 14:  # the socket holds more
                    await run.until(lambda: source.counters.bytes == written)  # noqa: B023
            await run.until(lambda: source.counters.bytes == written)
    return Delivered(run.segments, sent, source.counters)


def _malformed(datagram: bytes, random: Random) -> bytes:
    """As the checksum of UDP lets nothing pass but what was sent like that."""
    return random.choice(
        [
            datagram[: random.randrange(1, len(datagram))],
            datagram.replace(b",", b";", 1),
            datagram + datagram,
            b"\xff" + datagram,
            datagram.replace(b"}", b", nan}"),
        ]
    )


async def seedlink(
    traces: list[Segment], folder: Path, harm: Harm, protocol: Literal[3, 4] = 4
) -> Delivered:
    """A SeedLink server whose records are lost, damaged and doubled, and that hangs up."""
    held = hold(traces, version=3 if protocol == 4 else 2)
    made = len(held)
    damaged: set[int] = set()
    kept: list[Held] = []
    cuts: list[int] = []
    since_cut = 0
    for number, record in enumerate(held):
        inner = len(traces) <= number < made - len(traces)
        kind = harm.strike("damaged", "lost", "doubled", "cut") if inner else ""
        if kind == "lost":
            continue
        if kind == "damaged":
            damaged.add(record.sequence)
            record.payload = _damaged(record.payload, harm.random, protocol)
        if kind == "cut":
            cuts.append(max(1, since_cut))
            since_cut = 0
        since_cut += 1
        kept += [record] * (2 if kind == "doubled" else 1)
    clock = HandClock(traces[0].start_ns)
    async with Server(kept, (3, 4) if protocol == 4 else (3,), cuts=cuts) as server:
        config = SeedLinkConfig(
            host="127.0.0.1", port=server.port, channels=[trace.channel for trace in traces]
        )
        positions = Positions(folder / "seedlink.json")
        source = SeedLinkSource(config, positions, clock, Random(1), at_once)
        async with Run(source, clock) as run:
            counters = source.counters
            await run.until(
                lambda: server.told_all and counters.frames + counters.bad >= server.sent.total()
            )
    spoiled = sum(count for sequence, count in server.sent.items() if sequence in damaged)
    lost = made - len({record.sequence for record in kept})
    return Delivered(run.segments, Sent(made, lost, server.sent.total(), spoiled), counters)


def _damaged(record: bytes, random: Random, protocol: Literal[3, 4]) -> bytes:
    """A bit of it flipped. Version 3 has a checksum over all; version 2 has Steim's over the
    samples, and no other, so that only a bit of these is flipped there, and one that counts."""
    while True:
        at = random.randrange(0 if protocol == 4 else 64, len(record))
        changed = record[:at] + bytes([record[at] ^ 1 << random.randrange(8)]) + record[at + 1 :]
        if protocol == 4 or _samples(changed) != _samples(record):
            return changed


def _samples(record: bytes) -> list[int] | None:
    try:
        return list(MS3Record.parse(record, unpack_data=True).np_datasamples)
    except MiniSEEDError:
        return None


async def seedlink_3(traces: list[Segment], folder: Path, harm: Harm) -> Delivered:
    return await seedlink(traces, folder, harm, 3)


async def files(traces: list[Segment], folder: Path, harm: Harm) -> Delivered:
    """miniSEED files of which records are missing, damaged, torn and doubled."""
    sent = Sent()
    for trace in traces:
        records = miniseed(trace)
        sent.made += len(records)
        content = b""
        for number, record in enumerate(records):
            inner = 0 < number < len(records) - 1
            kind = harm.strike("damaged", "zeros", "torn", "lost", "doubled") if inner else ""
            sent.lost += kind == "lost"
            sent.damaged += kind in ("damaged", "zeros", "torn")
            content += {
                "": record,
                "damaged": _damaged(record, harm.random, 3) if kind == "damaged" else b"",
                "zeros": bytes(len(record)),
                "torn": record[: harm.random.randrange(1, len(record))],
                "lost": b"",
                "doubled": 2 * record,
            }[kind]
            sent.sent += (kind != "lost") + (kind == "doubled")
        (folder / f"{trace.channel}.mseed").write_bytes(content)
    source = MiniSeedSource(folder, ReplayClock())
    segments: list[Segment] = []
    await source.run(segments.append)
    return Delivered(segments, sent, source.counters)


FEEDS: dict[str, Feed] = {
    "AnyShake 3": anyshake,
    "AnyShake 1": anyshake_1,
    "Raspberry Shake": shake,
    "SeedLink 3": seedlink_3,
    "SeedLink 4": seedlink,
    "miniSEED": files,
}
