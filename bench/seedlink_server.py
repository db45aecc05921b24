"""What serving SeedLink costs the box: `python -m bench.seedlink_server [FOLDER]`.

A day of three channels lies in a ring in FOLDER. Clients, in a process of their own, take it all,
one by protocol 3 and one by 4; beside them, in the same run, one that gets the same bytes from
memory over a plain socket in the same batches: what the network alone costs. Then, for ten seconds
of recording as live, ten clients follow while one catches up the day again and again, and a task
that wants to run every 10 ms notes how late it is.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from bench.ring import packets, written
from box.clock import SystemClock
from box.config import RingConfig, SeedLinkServerConfig
from box.packer import Packer
from box.record_store import RecordStore
from box.seedlink.protocol import packet
from box.seedlink.server import BATCH, BUFFER, SeedLinkServer
from ringbuffer.records import SLOT
from ringbuffer.segment import NS, Segment

HOURS = 24
LIVE_S = 10
FOLLOWERS = 10
RUNS = 3
EVERY_S = 0.01

# Reads until the other side says END or closes; says how many bytes came. Arguments: port, how
# often, the commands.
CLIENT = """
import socket, sys
port, times, *commands = sys.argv[1:]
for _ in range(int(times)):
    with socket.create_connection(("127.0.0.1", int(port))) as line:
        for command in commands:
            line.sendall(command.encode() + b"\\r\\n")
            if command[:3] != "END":
                line.recv(100)
        count, end = 0, b""
        while end != b"END" and (data := line.recv(1 << 16)):
            count, end = count + len(data), (end + data)[-3:]
    print(count, flush=True)
"""


def ask(port: int, *commands: str, times: int = 1) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", CLIENT, str(port), str(times), *commands]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


async def cost(port: int, *commands: str) -> tuple[float, float]:
    """CPU seconds of this process, and seconds, until a client has everything."""
    cpu, wall = time.process_time(), time.perf_counter()
    client = ask(port, *commands)
    assert await asyncio.to_thread(client.wait) == 0
    return time.process_time() - cpu, time.perf_counter() - wall


@asynccontextmanager
async def plain(frames: list[bytes]) -> AsyncIterator[int]:
    """A server that writes what it has in memory to whoever connects. Yields its port."""

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=BUFFER)
        for i in range(0, len(frames), BATCH):
            writer.write(b"".join(frames[i : i + BATCH]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(give, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def lateness(seconds: float) -> list[float]:
    """By how much (ms) a task is late that wants to run every 10 ms."""
    late = []
    end = time.perf_counter() + seconds
    while (now := time.perf_counter()) < end:
        await asyncio.sleep(EVERY_S)
        late.append(1000 * (time.perf_counter() - now - EVERY_S))
    return late


async def record(live: list[Segment], put: Callable[[Segment], None]) -> None:
    """A second's packets each second."""
    for i in range(LIVE_S):
        for segment in live[3 * i : 3 * i + 3]:
            put(segment)
        await asyncio.sleep(1)


def tell(name: str, late: list[float]) -> None:
    p99 = quantiles(late, n=100)[98]
    print(f"  {name:45} p50 {median(late):6.2f}   p99 {p99:6.2f}   max {max(late):6.2f} ms")


async def serve(store: RecordStore, packer: Packer, live: list[Segment]) -> None:
    config = SeedLinkServerConfig(port=0, max_clients=100)
    server = SeedLinkServer(config, store, SystemClock())
    serving = asyncio.create_task(server.run())
    while not server.port:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    ring = store.rings["XX.S01"]
    records, _ = ring.read(0, ring.newest)
    count = len(records)
    frames = [packet(3, "XX.S01", seq, record.raw) for seq, record in records]
    three = ("STATION S01 XX", "FETCH", "END")
    four = ("SLPROTO 4.0", "STATION XX_S01", "DATA ALL", "ENDFETCH")
    print(f"a day to one client, {count} records (median of {RUNS}):")
    async with plain(frames) as port:
        ways: dict[str, tuple[int, tuple[str, ...]]] = {
            "plain socket": (port, ()),
            "protocol 3": (server.port, three),
            "protocol 4": (server.port, four),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(RUNS):
            for name, (to, commands) in ways.items():
                found[name].append(await cost(to, *commands))
    for name, costs in found.items():
        cpu, wall = (median(c) for c in zip(*costs, strict=True))
        print(f"  {name:15} {1e6 * cpu / count:6.2f} µs CPU per record, {wall:5.2f} s")
    print("lateness of the loop, recording live:")
    late, _ = await asyncio.gather(lateness(LIVE_S), record(live, packer.put))
    tell("nobody connected", late)
    following = ("STATION S01 XX", "DATA", "END")
    clients = [ask(server.port, *following) for _ in range(FOLLOWERS)]
    while server.clients < FOLLOWERS:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    rest = live[3 * LIVE_S :]
    cpu = time.process_time()
    late, _ = await asyncio.gather(lateness(LIVE_S), record(rest, packer.put))
    tell(f"{FOLLOWERS} follow", late)
    print(f"  CPU while {FOLLOWERS} follow: {(time.process_time() - cpu) / LIVE_S:.2%} of a core")
    clients.append(ask(server.port, *three, times=1000))
    late, _ = await asyncio.gather(lateness(LIVE_S), record(rest[3 * LIVE_S :], packer.put))
    tell(f"{FOLLOWERS} follow, one catches up without end", late)
    for client in clients:
        client.terminate()
        client.wait()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def written_daily(folder: Path, stream: list[Segment]) -> float:
    """Bytes that go to the disk for a day in a ring, synced at the pace of a box."""
    store = RecordStore(folder, ["XX.S01"], 4 << 20, 0)
    store.sync()
    packer = Packer([store], 30.0, time.monotonic_ns)
    before = written()
    flushed_ns = stream[0].start_ns
    for segment in stream:
        packer.take(segment)
        if segment.start_ns - flushed_ns >= RingConfig().flush_s * NS:
            store.sync()
            flushed_ns = segment.start_ns
    store.close()
    return (written() - before) * 86_400 * NS / (stream[-1].end_ns - stream[0].start_ns)


def main(root: Path | None = None) -> None:
    with TemporaryDirectory(dir=root) as folder:
        store = RecordStore(Path(folder), ["XX.S01"], 128 << 20, 0)
        packer = Packer([store], 30.0, time.monotonic_ns)
        stream = packets(HOURS)
        cpu = time.process_time()
        for segment in stream:
            packer.take(segment)
        cpu = time.process_time() - cpu
        span_s = (stream[-1].end_ns - stream[0].start_ns) / NS
        daily = store.counters["records"] * 86_400 / span_s
        print(
            f"packing: {1e6 * cpu / len(stream):.1f} µs CPU per packet, {daily:.0f} records a day"
            f" ({512 * daily / 1e6:.0f} MB in the archive, {SLOT * daily / 1e6:.0f} MB in the ring)"
        )
        (Path(folder) / "synced").mkdir()
        daily = written_daily(Path(folder) / "synced", stream[: 3 * 3600])
        print(f"written to the disk for the ring: {daily / 1e6:.0f} MB a day")
        span_ns = stream[-1].end_ns - stream[0].start_ns
        live = [
            Segment(s.channel, s.start_ns + span_ns, s.rate, s.samples)
            for s in stream[: 9 * (LIVE_S + 1)]
        ]
        packer.start()
        asyncio.run(serve(store, packer, live))
        packer.close()
        store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
