"""What a daemon tells the service manager that started it: the protocol of sd_notify(3).

A datagram of `NAME=value` lines to the socket that $NOTIFY_SOCKET names. Without one, nobody
listens and nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class Notifier:
    """The way to the service manager."""

    def __init__(self, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        """pid: of this process, by default."""
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name  # abstract, or a path
        self._socket: socket.socket | None = None
        if name.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)  # the picking never waits for a manager that is busy
        self.watchdog_s = self._watchdog_s(environ, os.getpid() if pid is None else pid)

    @staticmethod
    def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
        """The manager's patience, None where it keeps no watch on us: sd_watchdog_enabled(3)."""
        wanted, of = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
        if not wanted.isdecimal() or int(wanted) == 0 or of != str(pid):
            return None
        return int(wanted) / 1e6

    def send(self, **values: str | int) -> None:
        """READY=1, WATCHDOG=1, STOPPING=1, STATUS="…": lost where nobody takes it."""
        if self._socket is None:
            return
        message = "\n".join(f"{name}={value}" for name, value in values.items())
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            _log.warning("service manager: %s", error.strerror or error)
