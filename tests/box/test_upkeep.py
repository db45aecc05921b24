"""What is done beside picking must neither end it nor be missing in silence."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from box import service
from box.clock import SystemClock
from box.config import BoxConfig, ShakeConfig, StationConfig
from box.starts import STOPPED, Starts
from box.upkeep import keep_up
from uplink.connection import BrokerConfig


def test_what_fails_is_told_and_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    began = 0

    async def what() -> None:
        nonlocal began
        began += 1
        if began == 1:
            raise ValueError("x" * 1000)
        if began == 2:
            raise TimeoutError

    with caplog.at_level(logging.ERROR):
        asyncio.run(keep_up("health", what, told.append, pause_s=0))
    assert began == 3
    assert told[0].startswith("health: xxx")
    assert len(told[0]) == 200  # it travels by radio
    assert told[1] == "health: TimeoutError"
    assert len(caplog.records) == 2


def test_what_is_cancelled_ends() -> None:
    async def scenario() -> None:
        forever = asyncio.Event()
        task = asyncio.create_task(keep_up("health", forever.wait, print))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_a_change_of_the_configuration_is_no_stop_for_the_service_manager_and_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STOPPING=1 would have systemd kill the box half a minute after it was configured."""
    heard: list[bytes] = []
    rounds = iter([True, True, False])  # twice there is another configuration

    async def once(*_: object) -> bool:
        with suppress(BlockingIOError):
            while True:
                heard.append(manager.recv(4096))
        heard.append(b"a round")
        return next(rounds)

    config = BoxConfig(
        stations=[StationConfig(id="XX.ABC")],
        sources=[ShakeConfig(channels=["EHZ"])],
        broker=BrokerConfig(url="mqtt://localhost"),
        data_dir=str(tmp_path),
    )
    monkeypatch.setattr(service, "_run_once", once)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        assert asyncio.run(service.run_box(config, SystemClock())) == 0
        assert heard == [b"a round"] * 3
        assert manager.recv(4096).startswith(b"STOPPING=1")
    starts = Starts(tmp_path / "starts.json")
    assert (starts.count, starts.last_end) == (2, STOPPED)
