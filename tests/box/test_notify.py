"""The service manager's protocol, over real sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from box.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """As $NOTIFY_SOCKET has it."""
    return f"{tmp_path}/notify" if request.param == "path" else f"@diting/{tmp_path}"


def test_what_is_sent_arrives_at_a_path_and_at_an_abstract_address(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        Notifier({"NOTIFY_SOCKET": address}).send(READY=1, STATUS="12 picks, ±1 µs")
        assert manager.recv(4096).decode() == "READY=1\nSTATUS=12 picks, ±1 µs"


def test_a_manager_that_is_gone_or_does_not_listen_stops_nothing(address: str) -> None:
    Notifier({"NOTIFY_SOCKET": address}).send(WATCHDOG=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        notifier = Notifier({"NOTIFY_SOCKET": address})
        for _ in range(10_000):  # far more than a socket holds: to wait here would stop the loop
            notifier.send(WATCHDOG=1)


@pytest.mark.parametrize("name", [None, "", "vsock:2:1234", "relative"])
def test_without_a_manager_nothing_is_sent(name: str | None) -> None:
    Notifier({} if name is None else {"NOTIFY_SOCKET": name}).send(READY=1)


@pytest.mark.parametrize(
    ("environ", "patience_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),  # of our parent's
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
    ],
)
def test_a_watch_is_kept_only_where_the_manager_says_so_to_this_process(
    environ: dict[str, str], patience_s: float | None
) -> None:
    assert Notifier(environ).watchdog_s == patience_s
