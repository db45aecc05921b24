"""`kill -9` at any instant: the box that is started again tells what one left alone tells."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import sleep

from box.clock import ReplayClock
from box.sources.miniseed import MiniSeedSource
from ringbuffer.file import PAGE

STATION = "XX.S01"
KILLS = 3


def start(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "box", "box", str(config)])


def wait_until_written(ring: Path, byte: int, box: subprocess.Popen[bytes]) -> None:
    """Until the ring has been written to up to a byte."""
    while box.poll() is None:
        if ring.exists():
            with ring.open("rb") as file:
                if any(os.pread(file.fileno(), 64, PAGE + byte)):
                    return
        sleep(0.0005)
    raise AssertionError("the recording ended first")


def told(config: Path) -> list[tuple[str, bytes]]:
    """What is in the outbox, but for health, in order."""
    with sqlite3.connect(config.parent / "data" / f"{STATION}.outbox.sqlite") as db:
        rows = db.execute("SELECT topic, payload FROM packet ORDER BY seq").fetchall()
    return [(topic, payload) for topic, payload in rows if not topic.endswith("/health")]


def samples(path: Path) -> list[tuple[str, int, list[int]]]:
    """All that is recorded in a file or folder, in packets of a second."""
    packets = MiniSeedSource(path, ReplayClock(None)).packets()
    return [(p.channel, p.start_ns, p.samples.tolist()) for p in packets]


def test_picks_after_kills_are_those_of_an_uninterrupted_run_and_none_twice(
    unheard_box: Callable[..., Path], recordings: Path, tmp_path: Path
) -> None:
    alone = unheard_box(tmp_path / "alone", None, ring={"size_mb": 1})
    killed = unheard_box(tmp_path / "killed", None, ring={"size_mb": 1})
    undisturbed = start(alone)
    rng = Random(11)
    ring = killed.parent / "data" / f"{STATION}.ring"
    for number in range(KILLS):
        box = start(killed)
        wait_until_written(ring, 30_000 * (number + 1) + rng.randrange(20_000), box)
        box.send_signal(signal.SIGKILL)
        assert box.wait() == -signal.SIGKILL
    assert start(killed).wait() == 0
    assert undisturbed.wait() == 0
    assert told(killed) == told(alone)
    assert any(topic.endswith("/pick") for topic, _ in told(alone))
    recording = samples(recordings / "waveforms" / f"{STATION}.mseed")
    assert samples(tmp_path / "alone" / "sds") == recording
    assert samples(tmp_path / "killed" / "sds") == recording
