"""The newest watermark reaches the cloud, and never waits behind anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING

from box.station_box import Box
from uplink.connection import BrokerAddress
from uplink.outbox import Kind, Outbox, Packet
from uplink.packets import Presence, Watermark, decode_watermark
from uplink.sending import Pace
from uplink.session import Session

if TYPE_CHECKING:
    from conftest import Mosquitto

NOW_NS = 1_562_328_000_000_000_000
S = 10**9


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


def test_only_the_newest_watermark_goes_and_says_what_still_waits(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    heard: list[Watermark] = []
    pipeline = SimpleNamespace(data_until_ns=0, station=SimpleNamespace(station_id="XX.AAA"))

    async def scenario() -> None:
        address = BrokerAddress.parse(mosquitto.url)
        outbox = Outbox(tmp_path / "o.sqlite")
        old = [Packet("diting/v1/XX/AAA/pick", b"%d" % n, Kind.PICK, n) for n in range(500)]
        outbox.put(old)
        session = Session(
            address,
            "XX.AAA",
            outbox,
            birth=Presence(online=True, session=0),
            now_ns=lambda: NOW_NS,
            pace=Pace(backlog_per_s=1.0),
            random=Random(1),
            sleep=lambda _: asyncio.sleep(0.01),
            seconds=lambda: 0.0,
        )
        box = Box(pipeline, session, lambda: NOW_NS)  # type: ignore[arg-type]
        box.tell_watermark()  # nothing is judged yet
        for second in range(100):
            pipeline.data_until_ns = NOW_NS + second * S
            box.tell_watermark()
        async with address.client("listener") as listener:
            await listener.subscribe("diting/v1/XX/AAA/watermark", qos=1)

            async def listen() -> None:
                async for message in listener.messages:
                    heard.append(decode_watermark(bytes(message.payload)))

            listening = asyncio.create_task(listen())
            async with session:
                await until(lambda: len(heard) == 1)  # before the backlog: that has to wait
                assert heard == [Watermark(NOW_NS + 99 * S, 500)]
                await until(lambda: len(outbox) == 499)
                pipeline.data_until_ns = NOW_NS + 160 * S
                box.tell_watermark()
                await until(lambda: len(heard) == 2)
                assert heard[1] == Watermark(NOW_NS + 160 * S, 499)
                await session.stop(0)  # the backlog can wait
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        assert all(p.topic.endswith("/pick") for p in outbox.pending(limit=1000))

    asyncio.run(scenario())
