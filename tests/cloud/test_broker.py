"""The embedded broker does for a network of boxes what mosquitto does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cloud.broker import EmbeddedBroker
from uplink.connection import BrokerAddress, UplinkError
from uplink.outbox import Outbox, Packet
from uplink.packets import Presence
from uplink.session import Session

PATIENCE_S = 20.0


def session(url: str, station_id: str, folder: Path) -> Session:
    return Session(
        BrokerAddress.parse(url),
        station_id,
        Outbox(folder / f"{station_id}.sqlite"),
        birth=Presence(online=True, session=0),
        now_ns=lambda: 0,
    )


def test_every_pick_of_25_boxes_arrives_once_and_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stations = [f"XX.S{n:02}" for n in range(25)]

    async def scenario() -> dict[str, list[int]]:
        heard: dict[str, list[int]] = {f"diting/v1/XX/{s[3:]}/pick": [] for s in stations}
        async with (
            EmbeddedBroker() as broker,
            BrokerAddress.parse(broker.url).client("cloud") as client,
        ):
            await client.subscribe("diting/v1/+/+/pick", qos=1)
            boxes = [session(broker.url, s, tmp_path) for s in stations]
            for box, name in zip(boxes, heard, strict=True):
                box.start()
                box.publish(Packet(name, b"%d" % n) for n in range(40))
            left = await asyncio.gather(*(box.stop(PATIENCE_S) for box in boxes))
            assert left == [0] * 25
            while sum(map(len, heard.values())) < 1000:
                message = await asyncio.wait_for(anext(client.messages), PATIENCE_S)
                heard[message.topic.value].append(int(message.payload))
        return heard

    heard = asyncio.run(scenario())
    assert all(numbers == list(range(40)) for numbers in heard.values())
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_a_birth_is_kept_for_whoever_subscribes_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with EmbeddedBroker() as broker, session(broker.url, "XX.AAA", tmp_path) as box:
            await box.first_connection(PATIENCE_S)
            async with BrokerAddress.parse(broker.url).client("late") as client:
                await client.subscribe("diting/v1/+/+/presence", qos=1)
                message = await asyncio.wait_for(anext(client.messages), PATIENCE_S)
                assert message.retain
                assert b'"online":true' in message.payload

    asyncio.run(scenario())


def test_the_broker_is_gone_when_it_is_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with EmbeddedBroker() as broker:
            pass
        async with session(broker.url, "XX.AAA", tmp_path) as box:
            with pytest.raises(UplinkError, match="refused"):
                await box.first_connection(0.2)

    asyncio.run(scenario())


def test_a_port_in_use_is_an_os_error() -> None:
    async def scenario() -> None:
        async with EmbeddedBroker() as broker:
            with pytest.raises(OSError, match="in use"):
                async with EmbeddedBroker(broker.port):
                    pass

    asyncio.run(scenario())
