"""A real broker to be stopped, killed and started again, and certificates for it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from bench.emulators.ports import lasting_port


def find_mosquitto() -> str | None:
    """Where it is installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Authority:
    """A certificate authority in a folder, by the command `openssl`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        self._openssl(
            *("req", "-x509", "-days", "30", "-subj", f"/CN={name}", "-out", self.cert),
            *self._new_key(self.key),
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for a client, or for a server at 127.0.0.1, and its key."""
        cert, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        extension = self.folder / "extension"
        extension.write_text("subjectAltName=IP:127.0.0.1\n")
        self._openssl("req", "-new", "-subj", f"/CN={name}", "-out", request, *self._new_key(key))
        self._openssl(
            *("x509", "-req", "-in", request, "-out", cert, "-days", "10", "-extfile", extension),
            *("-CA", self.cert, "-CAkey", self.key, "-CAcreateserial"),
        )
        return cert, key

    @staticmethod
    def _new_key(path: Path) -> tuple[str | Path, ...]:
        curve = ("-pkeyopt", "ec_paramgen_curve:prime256v1")
        return ("-newkey", "ec", *curve, "-nodes", "-keyout", path)

    @staticmethod
    def _openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Mosquitto:
    """A real broker on a port of its own, to be stopped, killed, frozen and started again."""

    def __init__(self, binary: str, folder: Path) -> None:
        """folder: for its configuration, its log and what it holds."""
        self.port = lasting_port()
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

    def require_certificate(self, authority: Authority) -> None:
        """Speak TLS, and let only clients in that have a certificate, from the next start on."""
        cert, key = authority.issue("server")
        key.chmod(0o644)
        self.url = f"mqtts://127.0.0.1:{self.port}"
        self._configure(
            f"allow_anonymous true\nrequire_certificate true\n"
            f"cafile {authority.cert}\ncertfile {cert}\nkeyfile {key}"
        )

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
        """Stop it; with SIGTERM it saves first what it holds for others.

        Again and again: mosquitto forgets a SIGTERM that comes between its listening and the
        beginning of its loop.
        """
        while self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)

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
            # so that it has saved what it has acknowledged, when it is killed
            "autosave_on_changes true\nautosave_interval 1\n"
            f"max_queued_messages 0\nuser {os.environ.get('USER', 'root')}\n"
        )
