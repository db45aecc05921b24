"""A box and its broker, through everything that happens to their connection."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest

from uplink.connection import BrokerAddress, UplinkError
from uplink.outbox import Kind, Outbox, Packet
from uplink.packets import Presence, decode_presence
from uplink.session import Session

if TYPE_CHECKING:
    from conftest import Mosquitto

PATIENCE_S = 20.0
NOW_NS = 100_000_000_000
PRESENCE = "diting/v1/XX/AAA/presence"
BIRTH = Presence(online=True, session=0, latitude=35.5, longitude=-117.4, elevation_m=670.0)


def packet(number: int) -> Packet:
    return Packet("diting/v1/XX/AAA/pick", b"%d" % number, Kind.PICK, created_ns=NOW_NS + number)


def session(url: str, outbox: Outbox, **options: Any) -> Session:
    defaults = {"birth": BIRTH, "now_ns": lambda: NOW_NS, "random": Random(1)}
    return Session(BrokerAddress.parse(url), "XX.AAA", outbox, **defaults | options)


class Listener:
    """A subscriber that keeps all it hears and can be waited for."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.heard: list[aiomqtt.Message] = []
        self._client = client

    async def until(self, enough: Callable[[list[aiomqtt.Message]], bool]) -> None:
        async def listen() -> None:
            async for message in self._client.messages:
                self.heard.append(message)
                if enough(self.heard):
                    return

        if not enough(self.heard):
            await asyncio.wait_for(listen(), PATIENCE_S)


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Listener]:
    async with BrokerAddress.parse(url).client("listener", clean_session=False) as client:
        await client.subscribe("diting/v1/#", qos=1)
        yield Listener(client)


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)

    await asyncio.wait_for(poll(), PATIENCE_S)


def test_a_thousand_picks_arrive_in_order_and_leave_the_outbox(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async def scenario() -> None:
        outbox = Outbox(tmp_path / "outbox.sqlite")
        acknowledged: list[tuple[int, int]] = []
        clock = count(1)
        box = session(
            mosquitto.url,
            outbox,
            now_ns=lambda: next(clock),
            acknowledged=lambda p, time_ns: acknowledged.append((int(p.payload), time_ns)),
        )
        async with listening(mosquitto.url) as cloud, box:
            for number in range(1000):
                box.publish([packet(number)])
            await cloud.until(lambda heard: len(heard) > 1000)
            assert await box.stop(PATIENCE_S) == 0
            birth, *picks = cloud.heard
            assert decode_presence(birth.payload).online
            assert [int(m.payload) for m in picks] == list(range(1000))
            assert sorted(created for created, _ in acknowledged) == list(range(1000))
            assert len({time_ns for _, time_ns in acknowledged}) == 1000

    asyncio.run(scenario())


def test_nothing_leaves_the_outbox_before_the_broker_acknowledges(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async def scenario() -> None:
        outbox = Outbox(tmp_path / "outbox.sqlite")
        acknowledged: list[Packet] = []
        box = session(
            mosquitto.url, outbox, acknowledged=lambda p, _: acknowledged.append(p), in_flight=5
        )
        async with box:
            await box.first_connection(PATIENCE_S)
            mosquitto.freeze()
            box.publish(packet(n) for n in range(10))
            await asyncio.sleep(0.2)  # time to do wrong in
            assert (len(outbox), acknowledged) == (10, [])
            mosquitto.thaw()
            await until(lambda: len(outbox) == 0)
            assert [int(p.payload) for p in acknowledged] == list(range(10))

    asyncio.run(scenario())


def test_a_silent_broker_is_given_up_and_everything_sent_again(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async def scenario() -> None:
        outbox = Outbox(tmp_path / "outbox.sqlite")
        box = session(mosquitto.url, outbox, timeout_s=0.3)
        async with box:
            await box.first_connection(PATIENCE_S)
            mosquitto.freeze()
            box.publish(packet(n) for n in range(3))
            await until(lambda: not box.connection.up)
            assert "timed out" in box.connection.trouble
            assert len(outbox) == 3
            mosquitto.thaw()
            await until(lambda: len(outbox) == 0)
            assert box.connection.count == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_outage_costs_no_pick(tmp_path: Path, mosquitto: Mosquitto, how: signal.Signals) -> None:
    async def scenario() -> None:
        outbox = Outbox(tmp_path / "outbox.sqlite")
        # a broker that is killed forgets its subscribers: come back after them
        subscribed = asyncio.Event()
        async with session(mosquitto.url, outbox, sleep=lambda _: subscribed.wait()) as box:
            async with listening(mosquitto.url) as cloud:
                box.publish(packet(n) for n in range(50))
                await cloud.until(lambda heard: len(heard) > 50)
            await until(lambda: len(outbox) == 0)
            box.publish(packet(n) for n in range(50, 500))
            await until(lambda: len(outbox) < 440)
            mosquitto.stop(how)
            box.publish(packet(n) for n in range(500, 550))
            await until(lambda: not box.connection.up)
            unsent = {int(p.payload) for p in outbox.pending(limit=1000)}
            assert 50 < len(unsent) < 490
            mosquitto.start()
            async with listening(mosquitto.url) as cloud:
                subscribed.set()
                await until(lambda: len(outbox) == 0)
                wanted = unsent
                if how == signal.SIGTERM:  # the broker has kept what it had taken over
                    wanted |= set(range(50, 550))
                await cloud.until(lambda heard: wanted <= numbers(heard))

    def numbers(heard: list[aiomqtt.Message]) -> set[int]:
        return {int(m.payload) for m in heard if m.topic.value.endswith("pick")}

    asyncio.run(scenario())


def test_a_birth_says_where_the_box_is_and_a_goodbye_that_it_left(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async def scenario() -> None:
        async with session(mosquitto.url, Outbox(tmp_path / "outbox.sqlite")) as box:
            await box.first_connection(PATIENCE_S)
            async with listening(mosquitto.url) as cloud:
                await cloud.until(lambda heard: len(heard) == 1)
                assert cloud.heard[0].retain
                birth = decode_presence(cloud.heard[0].payload)
                assert (birth.online, birth.session, birth.latitude) == (True, 100, 35.5)
                await box.stop(PATIENCE_S)
                await cloud.until(lambda heard: len(heard) == 2)
                assert decode_presence(cloud.heard[1].payload) == Presence(
                    online=False, session=100
                )

    asyncio.run(scenario())


BOX = """
import asyncio, sys
from pathlib import Path
from uplink.connection import BrokerAddress
from uplink.outbox import Outbox
from uplink.packets import Presence
from uplink.session import Session

async def main():
    box = Session(BrokerAddress.parse(sys.argv[1]), "XX.AAA", Outbox(Path(sys.argv[2])),
                  birth=Presence(online=True, session=0), now_ns=lambda: 100_000_000_000)
    async with box:
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_box_is_declared_dead_and_its_successor_has_a_greater_session(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    path = tmp_path / "outbox.sqlite"

    async def scenario() -> None:
        async with listening(mosquitto.url) as cloud:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", BOX, mosquitto.url, str(path)),
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
            await cloud.until(lambda heard: len(heard) == 1)
            process.kill()
            await process.wait()
            await cloud.until(lambda heard: len(heard) == 2)
            async with session(mosquitto.url, Outbox(path)):
                await cloud.until(lambda heard: len(heard) == 3)
            said = [decode_presence(m.payload) for m in cloud.heard]
            assert [(p.online, p.session) for p in said] == [(True, 100), (False, 100), (True, 101)]

    asyncio.run(scenario())


def test_a_wrong_password_is_said_at_once_and_never_shown(
    tmp_path: Path, mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()
    mosquitto.require_password("box", "right")
    mosquitto.start()
    url = mosquitto.url.replace("//", "//box:wr0ng@")

    async def scenario() -> None:
        async with session(url, Outbox(tmp_path / "a.sqlite")) as box:
            with pytest.raises(UplinkError) as caught:
                await box.first_connection(PATIENCE_S)
            assert str(caught.value).startswith(f"broker {mosquitto.url}: ")
            assert "authorized" in str(caught.value).lower()
            assert "wr0ng" not in str(caught.value) + repr(box.__dict__) + caplog.text
        right = url.replace("wr0ng", "right")
        async with session(right, Outbox(tmp_path / "b.sqlite")) as box:
            await box.first_connection(PATIENCE_S)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())


def test_an_unreachable_broker_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"mqtt://127.0.0.1:{taken.getsockname()[1]}"

        async def scenario() -> None:
            outbox = Outbox(tmp_path / "outbox.sqlite")
            box = session(url, outbox)
            async with box:
                box.publish([packet(1)])
                with pytest.raises(UplinkError, match=rf"^broker {url}: .*refused$"):
                    await box.first_connection(0.2)
                assert await box.stop(0.1) == 1

        asyncio.run(scenario())


def test_attempts_go_on_for_ever_with_growing_pauses(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"mqtt://127.0.0.1:{taken.getsockname()[1]}"

        async def scenario() -> list[float]:
            pauses: list[float] = []

            async def sleep(delay_s: float) -> None:
                pauses.append(delay_s)
                await asyncio.sleep(0)

            outbox = Outbox(tmp_path / "outbox.sqlite")
            async with session(url, outbox, sleep=sleep, random=Random(3)):
                await until(lambda: len(pauses) >= 12)
            return pauses[:12]

        pauses = asyncio.run(scenario())
        assert max(pauses[:2]) <= 2.0
        assert 10.0 < max(pauses) <= 60.0


def test_a_box_that_was_never_online_stops_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = session("mqtt://127.0.0.1:1", Outbox(tmp_path / "outbox.sqlite"))
        box.start()
        assert await asyncio.wait_for(box.stop(drain_s=1000.0), PATIENCE_S) == 0

    asyncio.run(scenario())


def test_what_ends_a_session_is_raised_where_it_is_used(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async def scenario() -> None:
        nonsense = Presence(online=True, session=0, version=object())  # type: ignore[arg-type]
        box = session(mosquitto.url, Outbox(tmp_path / "outbox.sqlite"), birth=nonsense)
        box.start()
        for _ in range(2):
            with pytest.raises(TypeError, match="object"):
                await box.first_connection(PATIENCE_S)
        with pytest.raises(TypeError, match="object"):
            box.publish([packet(1)])
        with pytest.raises(TypeError, match="object"):
            await box.stop(0.0)

    asyncio.run(scenario())
