"""Files on their way to a box in parts, and what a broker holds for it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from uplink.connection import BrokerAddress
from uplink.outbox import Outbox
from uplink.packets import Presence
from uplink.parts import PART, PartsError, cut, fetch
from uplink.session import Session
from uplink.topics import model_part

if TYPE_CHECKING:
    from conftest import Mosquitto

STATION = "XX.AAA"
CONTENT = Random(1).randbytes(3 * PART + 100)
NAME = hashlib.sha256(CONTENT).hexdigest()
PATIENCE_S = 20.0


async def publish(url: str, parts: list[tuple[str, bytes]]) -> None:
    async with BrokerAddress.parse(url).client("operator") as client:
        for name, part in parts:
            await client.publish(name, part, qos=1, retain=True)


async def get(url: str, patience_s: float = PATIENCE_S) -> bytes:
    return await fetch(BrokerAddress.parse(url), STATION, NAME, len(CONTENT), patience_s)


def test_parts_in_any_order_make_the_file_and_what_is_none_is_passed_over(
    mosquitto: Mosquitto,
) -> None:
    async def scenario() -> None:
        parts = list(cut(STATION, CONTENT))
        assert len(parts) == 4
        foreign = [
            (model_part(STATION, NAME, 4), b"one too many"),
            (model_part(STATION, NAME, "x"), b"not a number"),
            (model_part(STATION, "0" * 64, 0), b"of another file"),
            (model_part("XX.BBB", NAME, 0), b"for another station"),
        ]
        await publish(mosquitto.url, foreign + parts[::-1])
        assert await get(mosquitto.url) == CONTENT

    asyncio.run(scenario())


def test_parts_that_come_late_and_over_two_connections_make_the_file(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        parts = list(cut(STATION, CONTENT))
        await publish(mosquitto.url, parts[:2])
        fetching = asyncio.create_task(get(mosquitto.url))
        mosquitto.stop()
        mosquitto.start()
        await publish(mosquitto.url, parts[2:])
        assert await fetching == CONTENT

    monkeypatch.setattr("uplink.parts._AGAIN_S", 0.05)
    asyncio.run(scenario())


def test_a_file_that_is_another_or_does_not_come_is_refused_in_a_line(
    mosquitto: Mosquitto,
) -> None:
    async def scenario() -> None:
        parts = list(cut(STATION, CONTENT))
        await publish(mosquitto.url, parts[:3])
        with pytest.raises(PartsError, match=r"3 of 4 parts of .* came, and none for 0\.5 s"):
            await get(mosquitto.url, 0.5)
        await publish(mosquitto.url, [(parts[3][0], b"short")])
        with pytest.raises(PartsError, match="bytes came, the document says"):
            await get(mosquitto.url)
        await publish(mosquitto.url, [(parts[3][0], bytes(100))])
        with pytest.raises(PartsError, match="sha256 is "):
            await get(mosquitto.url)

    asyncio.run(scenario())


def test_a_statement_is_held_by_the_broker_and_told_anew_to_one_that_has_forgotten(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """Only the newest: what a box reported an hour ago is of no use to anybody."""

    async def heard(url: str) -> aiomqtt.Message:
        async with BrokerAddress.parse(url).client("operator") as client:
            await client.subscribe("diting/v1/XX/AAA/config/reported", qos=1)
            async with asyncio.timeout(PATIENCE_S):
                return await anext(aiter(client.messages))

    async def scenario() -> None:
        outbox = Outbox(tmp_path / "outbox.sqlite")
        session = Session(
            BrokerAddress.parse(mosquitto.url),
            STATION,
            outbox,
            birth=Presence(online=True, session=0),
            now_ns=lambda: 100_000_000_000,
            random=Random(1),
        )
        for text in (b"old", b"new"):
            session.state_retained("config/reported", text)
        async with session:
            assert (await heard(mosquitto.url)).payload == b"new"
            session.state_retained("config/reported", b"newer")
            while (message := await heard(mosquitto.url)).payload != b"newer":
                assert message.payload == b"new"
            mosquitto.stop()
            (tmp_path / "mosquitto" / "mosquitto.db").unlink()
            mosquitto.start()
            message = await heard(mosquitto.url)
            assert (message.payload, len(outbox)) == (b"newer", 0)

    asyncio.run(scenario())
