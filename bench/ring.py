"""What the ring on disk costs: `python -m bench.ring [FOLDER]`, on the disk of FOLDER.

Beside it, in the same run, the plain way: each packet as a miniSEED record of 512 bytes at the end
of its channel's file, synced at the same pace. Bytes written are the pages that the kernel took as
dirty for this process (`write_bytes` of /proc/self/io): what goes to the disk, but for the file
system's own journal.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from box.archive import day_file
from box.config import RingConfig
from box.packer import encode
from box.sources.replay import in_time_order
from converters.simulator import NetworkConfig, simulate
from ringbuffer.file import RingFile
from ringbuffer.segment import NS, Segment

HOURS = 1
RUNS = 5
LARGE = 1 << 30  # bytes


class Store(Protocol):
    def append(self, segment: Segment, arrived_ns: int) -> Any: ...

    def sync(self) -> None: ...


class MiniSeedFiles:
    """Each packet at the end of its channel's file, at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, Any] = {}

    def append(self, segment: Segment, arrived_ns: int) -> None:
        file = self._files.get(segment.channel)
        if file is None:
            path = day_file(self._root, segment.channel, segment.start_ns)
            path.parent.mkdir(parents=True)
            file = self._files[segment.channel] = path.open("ab", buffering=0)
        for record in encode(segment):
            file.write(record)

    def sync(self) -> None:
        for file in self._files.values():
            os.fdatasync(file.fileno())


def packets(hours: float) -> list[Segment]:
    """One-second packets of three channels: a simulated recording, over and over."""
    simulation = simulate(1, NetworkConfig(stations=1))
    traces = list(simulation.traces.values())
    once = list(in_time_order([trace] for trace in traces))
    span_ns = traces[0].end_ns - traces[0].start_ns
    times = range(round(hours * 3600 * NS / span_ns) + 1)
    return [replace(p, start_ns=p.start_ns + i * span_ns) for i in times for p in once]


def written() -> int:
    """Bytes that this process has sent to the disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


def fill(store: Store, stream: list[Segment], flush_s: float) -> tuple[float, float, int]:
    """CPU seconds of appending, the longest sync (s), and the bytes written."""
    before, spent, longest = written(), 0.0, 0.0
    flushed_ns = stream[0].start_ns
    for packet in stream:
        began = time.process_time()
        store.append(packet, packet.end_ns)
        spent += time.process_time() - began
        if packet.end_ns - flushed_ns >= flush_s * NS:
            flushed_ns = packet.end_ns
            began = time.perf_counter()
            store.sync()
            longest = max(longest, time.perf_counter() - began)
    store.sync()
    return spent, longest, written() - before


def opening(path: Path) -> float:
    """Seconds to open a ring that has gone round; its pages are in memory or not as they are."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        RingFile(path, LARGE).close()
        times.append(time.perf_counter() - began)
    return median(times)


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else None
    config = RingConfig()
    stream = packets(HOURS)
    samples = sum(len(p.samples) for p in stream)
    days = sum(len(p.samples) for p in stream[::3]) / 100 / 86_400
    with TemporaryDirectory(dir=where) as folder:
        ring = RingFile(Path(folder) / "a.ring", config.size_mb << 20)
        stores: dict[str, Store] = {"ring": ring, "miniSEED files": MiniSeedFiles(Path(folder))}
        print(
            f"{len(stream)} packets of three channels at 100 Hz, a sync each {config.flush_s:g} s"
        )
        print(f"{'':16}{'ns of CPU/sample':>18}{'MB/day':>10}{'longest sync, ms':>18}")
        rows = {name: fill(store, stream, config.flush_s) for name, store in stores.items()}
        for name, (spent, longest, count) in rows.items():
            print(f"{name:16}{1e9 * spent / samples:18.0f}{count / days / 1e6:10.1f}", end="")
            print(f"{1e3 * longest:18.1f}")
        (a, _, b), (c, _, d) = rows.values()
        print(f"{'ratio':16}{a / c:18.2f}{b / d:10.2f}")
        print(f"appended to the ring: {ring.appended_bytes / days / 1e6:.1f} MB/day")
        ring.close()
        large = RingFile(Path(folder) / "large.ring", LARGE)
        while large.oldest <= 1:
            for packet in stream:
                large.append(packet, packet.end_ns)
        large.close()
        print(f"opening a full ring of {LARGE >> 20} MB: {opening(large.path):.3f} s")


if __name__ == "__main__":
    main()
