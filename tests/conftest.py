"""Fixtures that every room uses."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real recordings; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DITING_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no recordings: {folder} does not exist (set DITING_DATA)")
    return folder


class Mosquitto:
    """A real broker on a port of its own, to be stopped, killed, frozen and started again."""

    def __init__(self, binary: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._command = [binary, "-c", str(folder / "mosquitto.conf")]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._configure("allow_anonymous true")

    def require_password(self, user: str, password: str) -> None:
        """Let only this user in, from the next start on."""
        file = self._folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-c", "-b", file, user, password], check=True)
        self._configure(f"allow_anonymous false\npassword_file {file}")

    def restrict(self, *rules: str) -> None:
        """Let anyone do no more than this (lines of mosquitto's acl_file), from the next start."""
        file = self._folder / "acl"
        file.write_text("\n".join(rules) + "\n")
        self._configure(f"allow_anonymous true\nacl_file {file}")

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        while self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
        raise RuntimeError((self._folder / "mosquitto.log").read_text())

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it; with SIGTERM it saves what it holds for others, with SIGKILL it does not."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()

    def freeze(self) -> None:
        """Let it take bytes and answer nothing, as a link does that is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _configure(self, access: str) -> None:
        (self._folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\n{access}\n"
            f"persistence true\npersistence_location {self._folder}/\n"
            f"max_queued_messages 0\nuser {os.environ.get('USER', 'root')}\n"
        )


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running mosquitto; tests that need it are skipped where it is not installed."""
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        pytest.skip("no mosquitto: install Debian's package of that name")
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(binary, folder)
    broker.start()
    yield broker
    broker.stop(signal.SIGKILL)
