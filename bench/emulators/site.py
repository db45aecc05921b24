"""A box, its broker and its cloud, as processes in a folder."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from bench.emulators.mosquitto import Mosquitto, find_mosquitto

PATIENCE_S = 120.0  # for what should be done in seconds
STEP_S = 0.02
BACKLOG_PER_S = 100.0
Picks = dict[str, tuple[Any, ...]]  # id -> what the catalogue has of it

# Which of the packets that made it arrived first says nothing of a pick.
_PICKS = """
SELECT pick_id, time_ns, probability, channel_id, polarity, polarity_probability, clarity,
    amplitude_m_s, magnitude, magnitude_error, provisional, revision, retracted FROM pick
"""


class Site:
    """A box, its broker and its cloud, in a folder."""

    def __init__(self, folder: Path, station: dict[str, Any], recording: Path) -> None:
        binary = find_mosquitto()
        if binary is None:
            raise SystemExit("no mosquitto: install Debian's package of that name")
        self.folder = folder
        self.station_id = str(station["id"])
        (folder / "mosquitto").mkdir(parents=True)
        (folder / "data").mkdir()
        (folder / "cloud").mkdir()
        self.broker = Mosquitto(binary, folder / "mosquitto")
        self.recording = recording
        self.settings: dict[str, Any] = {
            "station": station,
            "source": [{"type": "miniseed", "path": str(recording)}],
            "broker": {"url": self.broker.url},
            "data_dir": str(folder / "data"),
            "ring": {"size_mb": 8},
            "archive": {"path": str(folder / "sds")},
            "outbox": {"backlog_per_s": BACKLOG_PER_S},
        }
        (folder / "cloud.yaml").write_text(
            yaml.safe_dump(
                {
                    "broker": {"url": self.broker.url},
                    "data_dir": str(folder / "cloud"),
                    "dashboard": {"port": 0},
                }
            )
        )
        self._cloud: subprocess.Popen[bytes] | None = None
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(folder / "notify"))
        self._notified.setblocking(False)

    @property
    def ring(self) -> Path:
        return self.folder / "data" / f"{self.station_id}.ring"

    def start_cloud(self) -> None:
        """And wait until it listens."""
        with (self.folder / "cloud.log").open("ab") as log:
            command = [sys.executable, "-m", "box", "cloud", str(self.folder / "cloud.yaml")]
            self._cloud = subprocess.Popen(command, stderr=log)
        subscribed = b" diting-cloud "
        until(lambda: subscribed in (self.folder / "mosquitto" / "mosquitto.log").read_bytes())

    def start_box(self, speed: float | None) -> subprocess.Popen[bytes]:
        """speed: times real time, None as fast as it goes."""
        self.settings["source"][0]["speed"] = speed
        path = self.folder / "box.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        with (self.folder / "box.log").open("ab") as log:
            command = [sys.executable, "-m", "box", "box", str(path)]
            environment = os.environ | {"NOTIFY_SOCKET": str(self.folder / "notify")}
            self.is_ready()  # what the one before had to say
            return subprocess.Popen(command, stderr=log, stdout=log, env=environment)

    def is_ready(self) -> bool:
        """Whether the box has told the service manager so since this was asked last."""
        said = b""
        with suppress(BlockingIOError):
            while True:
                said += self._notified.recv(4096) + b"\n"
        return b"READY=1" in said

    def finish(self) -> None:
        """Run the box on until its recording has ended, and everything has been sent."""
        for _ in range(20):
            if (status := self.start_box(None).wait()) != 0:
                raise RuntimeError(f"the box ended with {status}: see {self.folder / 'box.log'}")
            if self.waiting() == 0:
                return
        raise RuntimeError(f"{self.waiting()} packets are not sent")

    def outbox(self) -> list[tuple[str, bytes]]:
        """Topic and payload of what waits; only while the box does not run."""
        path = self.folder / "data" / f"{self.station_id}.outbox.sqlite"
        with closing(sqlite3.connect(path)) as db:
            rows = db.execute("SELECT topic, payload FROM packet ORDER BY created_ns, seq")
            return rows.fetchall()

    def waiting(self) -> int:
        return len(self.outbox())

    def catalogue(self, query: str) -> list[Any]:
        path = self.folder / "cloud" / "catalogue.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    def picks(self) -> Picks:
        return {pick_id: tuple(rest) for pick_id, *rest in self.catalogue(_PICKS)}

    def stop(self) -> None:
        self._notified.close()
        if self._cloud is not None:
            self._cloud.terminate()
            self._cloud.wait()
        self.broker.stop(signal.SIGKILL)


@contextmanager
def site(folder: Path, station: dict[str, Any], recording: Path) -> Iterator[Site]:
    made = Site(folder, station, recording)
    try:
        yield made
    finally:
        made.stop()


def until(true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(STEP_S)


def settle(here: Site) -> None:
    """The cloud has taken all that the broker has for it: nothing comes any more."""
    count, since = -1, 0.0
    while time.monotonic() - since < 2.0:
        (now,) = here.catalogue("SELECT max(seq) FROM packet")[0]
        if now != count:
            count, since = now, time.monotonic()
        time.sleep(0.1)
