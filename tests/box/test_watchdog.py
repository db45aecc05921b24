"""A watchdog fed by a living loop that records nothing would be worse than none."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bench.emulators.ports import lasting_port
from box.clock import NS, ReplayClock
from box.starts import RUNNING, Starts
from box.stretch import Counters
from box.watchdog import SILENT, STALLED_S, Watchdog

SILENT_S = 600.0
STATION = "XX.S01"
STALLING = """
import sys
from box.cli import main
from box.stretch import Stretch
Stretch.advance = lambda self: []  # samples are taken, and nobody judges them
sys.exit(main(sys.argv[1:]))
"""
HANGING = """
import sys, time
from box.cli import main
from box.stretch import Stretch
Stretch.advance = lambda self: time.sleep(600)
sys.exit(main(sys.argv[1:]))
"""


class Hand(ReplayClock):
    """A clock whose monotonic time is moved by hand."""

    at_s = 0.0

    def monotonic_ns(self) -> int:
        return int(self.at_s * NS)


@dataclass
class Picking:
    """As much of a pipeline as the watchdog sees."""

    name: str = "XX.A"
    counters: Counters = field(default_factory=Counters)
    unjudged_s: float = 0.0

    @property
    def station(self) -> SimpleNamespace:
        return SimpleNamespace(station_id=self.name)


def watch(*pipelines: Any, patient: bool = False) -> tuple[Watchdog, Hand]:
    clock = Hand()
    return Watchdog(lambda: pipelines, clock, SILENT_S, patient), clock


def test_an_unplugged_digitizer_is_borne_for_long_and_tried_once() -> None:
    picking = Picking()
    watchdog, clock = watch(picking)
    for clock.at_s in range(0, int(SILENT_S), 30):
        assert watchdog.look() == ""
    clock.at_s = SILENT_S
    assert watchdog.look() == f"{SILENT} for 600 s"
    watchdog, clock = watch(picking, patient=True)  # the process after the one that gave up
    for clock.at_s in range(0, 100_000, 300):
        assert watchdog.look() == ""
    picking.counters.strides += 1  # plugged in again
    assert watchdog.look() == ""
    clock.at_s += SILENT_S
    assert watchdog.look() == f"{SILENT} for 600 s"


def test_samples_that_nobody_judges_starve_it_and_those_judged_again_feed_it() -> None:
    picking = Picking(unjudged_s=STALLED_S)
    watchdog, clock = watch(picking)
    assert watchdog.look() == ""  # as after a start: windows and filters have to fill
    picking.unjudged_s += 1.0
    clock.at_s = 1.0
    assert watchdog.look() == "samples come and none is judged: XX.A"
    picking.counters.strides, picking.unjudged_s = 1, 0.0
    assert watchdog.look() == ""


def test_one_station_that_stalls_takes_no_other_along() -> None:
    stalled, well = Picking("XX.BAD", unjudged_s=1e6), Picking("XX.WELL")
    watchdog, clock = watch(stalled, well)
    for clock.at_s in range(0, 3600, 30):
        well.counters.strides += 30
        assert watchdog.look() == ""
    assert "XX.BAD" in watchdog.look()  # now nothing is judged at all


@dataclass
class Manager:
    """The service manager's end of the socket, and the daemon it has started."""

    listening: socket.socket
    daemon: subprocess.Popen[str]
    to: tuple[str, int]
    cast_s: int = 0

    def hear(self) -> dict[str, str]:
        """The next message."""
        lines = self.listening.recv(65_536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until(self, name: str, value: str) -> list[dict[str, str]]:
        """All messages up to the first whose field holds the value."""
        heard = [self.hear()]
        while value not in heard[-1].get(name, ""):
            heard.append(self.hear())
        return heard

    def cast(self, seconds: int) -> None:
        """Send so many seconds of samples, as a Raspberry Shake would, but all at once."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for second in range(self.cast_s, self.cast_s + seconds):
                counts = ", ".join(str((second * 7 + n * 13) % 50) for n in range(100))
                sender.sendto(f"{{'EHZ', {1_700_000_000 + second}.0, {counts}}}".encode(), self.to)
        self.cast_s += seconds


@contextmanager
def started(folder: Path, program: str = "") -> Iterator[Manager]:
    """A real daemon under a manager whose patience is half a second."""
    port = lasting_port(socket.SOCK_DGRAM)
    (folder / "data").mkdir(exist_ok=True)
    content = {
        "station": {"id": STATION, "latitude": 1.0, "longitude": 2.0},
        "source": {"type": "shake", "channels": ["EHZ"], "host": "127.0.0.1", "port": port},
        "broker": {"url": "mqtt://127.0.0.1:9"},
        "data_dir": str(folder / "data"),
        "ring": {"size_mb": 1},
    }
    (folder / "box.yaml").write_text(yaml.safe_dump(content))
    command = ["-c", program] if program else ["-m", "box"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(folder / "notify"))
        listening.settimeout(60)
        daemon = subprocess.Popen(
            [sys.executable, *command, "box", str(folder / "box.yaml")],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "500000"},
        )
        try:
            yield Manager(listening, daemon, ("127.0.0.1", port))
        finally:
            daemon.kill()
            daemon.communicate()
            (folder / "notify").unlink()


def end(folder: Path) -> str:
    return str(json.loads((folder / "data" / "starts.json").read_text())["end"])


def test_a_daemon_says_when_it_is_ready_feeds_while_it_picks_and_says_goodbye(
    tmp_path: Path,
) -> None:
    with started(tmp_path) as manager:
        assert manager.hear() == {"READY": "1"}
        assert end(tmp_path) == RUNNING
        for _ in range(4):
            manager.cast(40)
            [*_, heard] = manager.until("WATCHDOG", "1")
        [*_, heard] = manager.until("STATUS", "data until 2023-11-14T22:1")
        assert heard["WATCHDOG"] == "1"
        assert "1 stations, 0 connected" in heard["STATUS"]
        manager.daemon.send_signal(signal.SIGTERM)
        manager.until("STOPPING", "1")


def test_a_daemon_whose_picking_stalls_is_fed_no_more_and_the_next_one_says_why(
    tmp_path: Path,
) -> None:
    with started(tmp_path, STALLING) as manager:
        assert manager.hear() == {"READY": "1"}
        manager.until("WATCHDOG", "1")
        for _ in range(4):
            manager.cast(40)
            manager.hear()
        [*_, heard] = manager.until("STATUS", f"none is judged: {STATION}")
        assert "WATCHDOG" not in heard
        assert not any("WATCHDOG" in manager.hear() for _ in range(6))
        manager.daemon.send_signal(signal.SIGABRT)  # what a manager does then
        assert manager.daemon.wait(60) == -signal.SIGABRT
    starts = Starts(tmp_path / "data" / "starts.json")
    assert starts.last_end == f"samples come and none is judged: {STATION}"
    assert (starts.count, starts.unclean) == (2, 1)


def test_a_daemon_that_hangs_is_not_fed_and_shows_where_it_hung(tmp_path: Path) -> None:
    with started(tmp_path, HANGING) as manager:
        manager.until("WATCHDOG", "1")
        manager.cast(1)
        manager.listening.settimeout(3)  # twelve times as long as between two feedings
        with pytest.raises(TimeoutError):
            manager.until("never", "said")
        manager.daemon.send_signal(signal.SIGABRT)
        _, errors = manager.daemon.communicate(timeout=60)
        assert manager.daemon.returncode == -signal.SIGABRT
        assert "<lambda>" in errors
        assert "station_box.py" in errors


def test_a_note_of_starts_that_is_damaged_or_cannot_be_written_stops_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "starts.json"
    path.write_bytes(b"\xff{")
    assert Starts(path).count == 1
    assert Starts(path).last_end == RUNNING
    assert Starts(tmp_path / "nowhere" / "starts.json").count == 1
