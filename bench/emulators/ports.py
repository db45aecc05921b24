"""Ports for servers that are started again and again on the same one."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

LOWEST, FIRST_DYNAMIC = 10_000, 32_768


def lasting_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that is free, and that the system gives to no outgoing connection: of the others any
    may be somebody's while its server is away."""
    try:
        content = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        first = int(content.split()[0])
    except (OSError, ValueError, IndexError):
        first = FIRST_DYNAMIC
    while True:
        port = SystemRandom().randrange(LOWEST, max(first, LOWEST + 1000))
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
