"""`kill -9` at any instant: the box that is started again tells what one left alone tells."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from random import Random
from time import sleep

import yaml

from box.clock import ReplayClock
from box.sources.miniseed import MiniSeedSource
from converters.simulator import Simulation
from ringbuffer.file import PAGE

STATION = "XX.S01"
NO_BROKER = "mqtt://127.0.0.1:9"  # so that everything stays in the outbox
KILLS = 3


def make_config(folder: Path, recordings: Path, simulation: Simulation) -> Path:
    place = next(s for s in simulation.stations if s.station_id == STATION)
    (folder / "data").mkdir(parents=True)
    content = {
        "station": {
            "id": STATION,
            "latitude": place.latitude,
            "longitude": place.longitude,
            "sensitivity": place.sensitivity,
        },
        "source": {
            "type": "miniseed",
            "path": str(recordings / "waveforms" / f"{STATION}.mseed"),
            "speed": None,
        },
        "broker": {"url": NO_BROKER},
        "data_dir": str(folder / "data"),
        "ring": {"size_mb": 1},
        "archive": {"path": str(folder / "sds")},
    }
    path = folder / "box.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


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
    recordings: Path, simulation: Simulation, tmp_path: Path
) -> None:
    alone = make_config(tmp_path / "alone", recordings, simulation)
    killed = make_config(tmp_path / "killed", recordings, simulation)
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
