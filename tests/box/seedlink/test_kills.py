"""A client that follows a box over `kill -9`: nothing lost, nothing twice, the archive's bytes."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic, sleep

from bench.emulators.ports import lasting_port
from box.clock import ReplayClock
from box.sources.miniseed import MiniSeedSource
from ringbuffer.records import RECORD, RecordRing

STATION = "XX.S01"
KILLS = 2
WITHIN_S = 120.0


def follow(port: int, got: list[tuple[int, bytes]], count: int, box: subprocess.Popen) -> None:
    """Go on behind what has come, until so much has, or the box has ended."""
    began = monotonic()
    while len(got) < count and box.poll() is None:
        assert monotonic() - began < WITHIN_S
        with suppress(OSError, EOFError), socket.create_connection(("127.0.0.1", port), 10) as line:
            stream = line.makefile("rb")
            behind = f"DATA {got[-1][0] + 1}" if got else "DATA ALL"
            for command in ("SLPROTO 4.0", f"STATION {STATION.replace('.', '_')}", behind):
                line.sendall(f"{command}\r\n".encode())
                if not (reply := stream.readline()):
                    raise EOFError
                assert reply == b"OK\r\n"
            line.sendall(b"END\r\n")
            while len(got) < count:
                head = stream.read(17)
                if len(head) < 17:
                    break
                *_, length, sequence, name = struct.unpack("<2s2sIQB", head)
                payload = stream.read(name + length)[name:]
                if len(payload) < length:  # cut off within a record
                    break
                got.append((sequence, payload))
        sleep(0.01)


def samples(path: Path) -> list[tuple[str, int, list[int]]]:
    packets = MiniSeedSource(path, ReplayClock(None)).packets()
    return [(p.channel, p.start_ns, p.samples.tolist()) for p in packets]


def test_a_client_follows_over_kills_without_loss_or_repeat(
    unheard_box: Callable[..., Path], recordings: Path, tmp_path: Path
) -> None:
    port = lasting_port()
    config = unheard_box(tmp_path, 40, seedlink_server={"port": port, "ring_mb": 1})
    rng = Random(5)
    got: list[tuple[int, bytes]] = []
    for number in range(KILLS + 1):
        box = subprocess.Popen([sys.executable, "-m", "box", "box", str(config)])
        try:
            last = number == KILLS
            follow(port, got, 1 << 20 if last else len(got) + rng.randrange(10, 30), box)
            if not last:
                assert box.poll() is None
                box.send_signal(signal.SIGKILL)
            assert box.wait(WITHIN_S) == (0 if last else -signal.SIGKILL)
        finally:
            box.kill()
    ring = RecordRing(tmp_path / "data" / f"{STATION}.records", 1)
    records, _ = ring.read(0, ring.newest)
    held = [(seq, record.raw) for seq, record in records]
    first = held[0][0]
    assert [seq for seq, _ in held] == list(range(first, first + len(held)))
    assert got == held[: len(got)]
    assert len(held) - len(got) <= 3 * 2  # what the box finished as it ended
    for channel in {record.channel for _, record in records}:
        [path] = (tmp_path / "sds").rglob(f"{channel}.D.*")
        assert path.read_bytes() == b"".join(r.raw for _, r in records if r.channel == channel)
        assert path.stat().st_size % RECORD == 0
    assert samples(tmp_path / "sds") == samples(recordings / "waveforms" / f"{STATION}.mseed")
