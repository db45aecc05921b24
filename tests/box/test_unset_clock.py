"""A box that wakes without knowing what time it is, over a real broker."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import msgspec
import pytest

from bench.emulators.ports import lasting_port
from box.clock import SystemClock
from box.config import BoxConfig
from box.host_clock import EARLIEST_NS
from box.service import run_box
from ringbuffer.segment import NS
from uplink import packets, topics

STATION = "XX.ABC"
WOKE_NS = 60 * NS
SET_NS = 1_790_000_000 * NS
WITHIN_S = 60.0


class Waking(SystemClock):
    """Shows 1970 until it is set."""

    def __init__(self) -> None:
        self._begins_ns = self.monotonic_ns()
        self.at_ns = WOKE_NS

    def now_ns(self) -> int:
        return self.at_ns + self.monotonic_ns() - self._begins_ns


def config(folder: Path, url: str, port: int) -> BoxConfig:
    return msgspec.convert(
        {
            "station": [{"id": STATION, "latitude": 1.0, "longitude": 2.0}],
            "source": [
                {"type": "shake", "channels": ["EHZ"], "host": "127.0.0.1", "port": port},
            ],
            "broker": {"url": url},
            "data_dir": str(folder),
            "health_every_s": 10.0,
        },
        BoxConfig,
    )


@asynccontextmanager
async def running(
    folder: Path, mosquitto, clock: Waking, port: int
) -> AsyncIterator[asyncio.Task[int]]:
    async with asyncio.timeout(WITHIN_S):
        box = asyncio.create_task(run_box(config(folder, mosquitto.url, port), clock))
        try:
            yield box
        finally:
            if not box.done():
                signal.raise_signal(signal.SIGTERM)
            await box


Heard = list[tuple[str, bytes]]


def is_goodbye(kind: str, payload: bytes) -> bool:
    return kind == "presence" and not packets.decode_presence(payload).online


async def listen(mosquitto, started: asyncio.Event, heard: Heard, goodbyes: int = 1) -> None:
    """Take down what is heard of the station up to its last goodbye."""
    async with aiomqtt.Client("127.0.0.1", mosquitto.port, identifier="listener") as client:
        await client.subscribe(f"{topics.ROOT}/#", qos=1)
        started.set()
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            heard.append((message.topic.value.rsplit("/", 1)[1], message.payload))
            if sum(is_goodbye(*message) for message in heard) == goodbyes:
                return
    raise AssertionError("the connection ended first")


async def until(true, task: asyncio.Task) -> None:
    while not true():
        if task.done():
            task.result()
        await asyncio.sleep(0.01)


def check_times(heard: Heard, least_ns: int) -> None:
    for kind, payload in heard:
        if kind == "presence":
            assert packets.decode_presence(payload).session >= least_ns // NS
        elif kind == "health":
            assert packets.decode_health(payload).time_ns >= least_ns
    assert {"presence", "health"} <= {kind for kind, _ in heard}


def test_nothing_is_published_before_the_clock_is_set(
    tmp_path: Path, mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor stamped by it: sessions, health."""

    async def run() -> Heard:
        started, clock, heard = asyncio.Event(), Waking(), Heard()
        listening = asyncio.create_task(listen(mosquitto, started, heard))
        await started.wait()
        async with running(tmp_path, mosquitto, clock, lasting_port(socket.SOCK_DGRAM)) as box:
            await until(lambda: "has not been set" in caplog.text, box)
            await asyncio.sleep(0)
            clock.at_ns = SET_NS
            await until(lambda: heard, box)
        await listening
        return heard

    with caplog.at_level(logging.INFO):
        check_times(asyncio.run(run()), SET_NS)


def test_a_host_without_a_clock_is_told_the_time_by_samples_that_know_it(
    tmp_path: Path, mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> Heard:
        started, port, heard = asyncio.Event(), lasting_port(socket.SOCK_DGRAM), Heard()
        listening = asyncio.create_task(listen(mosquitto, started, heard))
        await started.wait()
        async with running(tmp_path, mosquitto, Waking(), port) as box:
            await until(lambda: f"127.0.0.1:{port}: connected" in caplog.text, box)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as shake:
                for began_s in (100, SET_NS // NS):  # the Shake, too, wakes in 1970
                    shake.sendto(f"{{'EHZ', {began_s}.5, 1, 2, 3}}".encode(), ("127.0.0.1", port))
            await until(lambda: heard, box)
        await listening
        return heard

    with caplog.at_level(logging.INFO):
        heard = asyncio.run(run())
    check_times(heard, SET_NS)
    [*_, last] = [packets.decode_health(p) for kind, p in heard if kind == "health"]
    assert last.host_clock is not None
    assert not last.host_clock.set
    assert "clock: the host's has not been set" in last.notes
    assert [v for k, v in last.counters.items() if k.endswith("implausible")] == [1]
    assert last.clock is not None
    assert last.clock.locked
    assert EARLIEST_NS < last.time_ns < SET_NS + 10 * NS


def test_a_box_that_wakes_in_its_own_past_waits_for_the_time(
    tmp_path: Path, mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    """Its ring knows that it was later once."""

    async def run() -> Heard:
        started, clock, heard, port = (
            asyncio.Event(),
            Waking(),
            Heard(),
            lasting_port(socket.SOCK_DGRAM),
        )
        clock.at_ns = SET_NS
        listening = asyncio.create_task(listen(mosquitto, started, heard, goodbyes=2))
        await started.wait()
        async with running(tmp_path, mosquitto, clock, port) as box:
            await until(lambda: f"127.0.0.1:{port}: connected" in caplog.text, box)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as shake:
                shake.sendto(f"{{'EHZ', {SET_NS // NS}, 1, 2}}".encode(), ("127.0.0.1", port))
            await until(lambda: heard, box)
        await until(lambda: is_goodbye(*heard[-1]), listening)
        before = len(heard)
        caplog.clear()
        clock.at_ns = SET_NS - 3600 * NS
        async with running(tmp_path, mosquitto, clock, port) as box:
            await until(lambda: "has not been set" in caplog.text, box)
            clock.at_ns = SET_NS + 3600 * NS
            await until(lambda: len(heard) > before, box)
        await listening
        return heard[before:]

    with caplog.at_level(logging.INFO):
        check_times(asyncio.run(run()), SET_NS + 3600 * NS)
