"""In which order and how fast an outbox is emptied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from uplink.connection import BrokerAddress
from uplink.outbox import Kind, Outbox, Packet
from uplink.packets import Presence
from uplink.sending import Dispatcher, Pace, TokenBucket
from uplink.session import Session

if TYPE_CHECKING:
    from conftest import Mosquitto

S = 10**9
NOW_NS = 1_700_000_000 * S
PATIENCE_S = 20.0


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def seconds(self) -> float:
        return self.s

    def now_ns(self) -> int:
        return NOW_NS + round(self.s * S)


def packet(kind: Kind, age_s: float, size: int = 4) -> Packet:
    name = {Kind.PICK: "pick", Kind.EVENT: "event", Kind.HEALTH: "health"}.get(kind, "waveform")
    return Packet(name, bytes(size), kind, NOW_NS - round(age_s * S))


class Rig:
    """An outbox, its dispatcher and a clock."""

    def __init__(self, path: Path, in_flight: int = 16, **pace: float) -> None:
        self.clock = Clock()
        self.outbox = Outbox(path / "o.sqlite")
        self.dispatcher = Dispatcher(
            self.outbox, Pace(**pace), in_flight, self.clock.now_ns, self.clock.seconds
        )

    def put(self, *packets: Packet) -> None:
        self.outbox.put(packets)

    def send(self, ending: bool = False) -> list[tuple[str, int]]:
        """What goes now, by topic and age at the beginning (s); all of it is acknowledged."""
        taken = self.dispatcher.take(ending)
        self.acknowledge(taken)
        return [(p.topic, round((NOW_NS - p.created_ns) / S)) for p in taken]

    def acknowledge(self, packets: list[Packet]) -> None:
        self.dispatcher.landed({p.seq for p in packets})
        self.outbox.acknowledge(p.seq for p in packets)

    def drain(self) -> list[tuple[float, str, int]]:
        """All there is, with the time at which it goes."""
        gone = []
        while len(self.outbox):
            gone += [(self.clock.s, *what) for what in self.send()]
            self.clock.s += self.dispatcher.wait_s or 0.0
        return gone


def test_live_goes_before_backlog_and_the_backlog_the_newest_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.put(*(packet(Kind.PICK, age) for age in (500, 400, 300)))
    rig.put(packet(Kind.HEALTH, 2), packet(Kind.PICK, 2), packet(Kind.PICK, 1))
    assert rig.send() == [
        *[("pick", 2), ("pick", 1), ("health", 2)],
        *[("pick/backlog", 300), ("pick/backlog", 400), ("pick/backlog", 500)],
    ]


def test_a_backlog_goes_by_importance_and_only_what_alarms_changes_its_topic(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.put(*(packet(kind, 100 - kind) for kind in (Kind.HEALTH, Kind.EVENT, Kind.PICK)))
    assert rig.send() == [("pick/backlog", 100), ("event/backlog", 99), ("health", 98)]


def test_the_backlog_keeps_its_pace_while_what_is_live_goes_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path, backlog_per_s=10.0)
    rig.put(*(packet(Kind.PICK, 1000 + n) for n in range(200)))
    gone = []
    while len(rig.outbox):
        gone += [(rig.clock.s, topic) for topic, _ in rig.send()]
        rig.clock.s += rig.dispatcher.wait_s or 0.0
        if len(gone) == 100:
            rig.put(Packet("pick", b"live", Kind.PICK, rig.clock.now_ns()))
    live = [i for i, (_, topic) in enumerate(gone) if topic == "pick"]
    assert live == [100]
    last_s = gone[-1][0]
    assert 18.0 < last_s < 20.1  # 200 at 10 per second, the first ten or so at once
    for begin in range(10):
        assert sum(begin <= s < begin + 1 for s, _ in gone[15:]) <= 11


def test_live_packets_without_end_do_not_starve_the_backlog(tmp_path: Path) -> None:
    rig = Rig(tmp_path, in_flight=4, backlog_per_s=1.0)
    rig.put(*(packet(Kind.PICK, 100 + n) for n in range(20)))
    late = 0
    for second in range(30):
        rig.clock.s = float(second)
        rig.put(*(Packet("pick", b"", Kind.PICK, rig.clock.now_ns()) for _ in range(50)))
        taken = rig.dispatcher.take()
        late += sum(p.topic.endswith("backlog") for p in taken)
        assert len(taken) <= 4
        rig.acknowledge(taken)
    assert late == 20


def test_nothing_goes_twice_while_it_is_on_its_way_and_all_again_on_a_new_connection(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, in_flight=8)
    rig.put(*(packet(Kind.PICK, age) for age in (1, 2, 300, 400)), packet(Kind.WAVEFORM, 5))
    first = rig.dispatcher.take()
    assert len(first) == 4  # two live, and two places for the rest
    assert rig.dispatcher.take() == []
    rig.clock.s = 60.0  # what was live is old by now, and still on its way
    assert rig.dispatcher.take() == []
    rig.dispatcher.restart()
    again = rig.dispatcher.take()
    assert {p.seq for p in again} <= {p.seq for p in first}
    assert all(p.topic == "pick/backlog" for p in again)


def test_waveforms_go_one_by_one_behind_everything_live_at_their_own_rate(tmp_path: Path) -> None:
    rig = Rig(tmp_path, in_flight=8, waveform_bytes_per_s=1000.0)
    rig.put(*(packet(Kind.WAVEFORM, 50 - n, 4000) for n in range(5)))
    rig.put(*(packet(Kind.PICK, 1) for _ in range(7)))
    assert [topic for topic, _ in rig.send()] == ["pick"] * 6  # one more waits: no waveform
    gone = rig.drain()
    assert [topic for _, topic, _ in gone] == ["pick"] + ["waveform"] * 5
    assert [age for _, topic, age in gone if topic == "waveform"] == [50, 49, 48, 47, 46]
    assert gone[-1][0] == pytest.approx(4 * 4000 / 1000 - 1.0, abs=0.05)  # a second's at once
    steps = [b - a for (a, *_), (b, *_) in pairwise(gone[1:])]
    assert min(steps) >= 2.9


def test_a_box_that_is_told_to_stop_begins_no_waveform(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.put(packet(Kind.PICK, 1), packet(Kind.PICK, 100), packet(Kind.WAVEFORM, 1))
    assert rig.send(ending=True) == [("pick", 1), ("pick/backlog", 100)]
    assert rig.dispatcher.wait_s is None


def test_a_bucket_is_full_after_a_pause_and_never_fuller(tmp_path: Path) -> None:
    clock = Clock()
    bucket = TokenBucket(2.0, clock.seconds, burst_s=3.0)
    clock.s = 1000.0
    taken = 0
    while not bucket.wait_s():
        bucket.take(1)
        taken += 1
    assert taken == 6
    assert bucket.wait_s() == pytest.approx(0.001)
    bucket.take(4)
    assert bucket.wait_s() == pytest.approx(2.0)
    clock.s += 2.01
    assert bucket.wait_s() == 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


def test_after_an_outage_live_picks_pass_the_backlog_over_a_real_broker(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    clock = Clock()
    heard: list[tuple[str, bytes]] = []

    async def scenario() -> None:
        address = BrokerAddress.parse(mosquitto.url)
        outbox = Outbox(tmp_path / "o.sqlite")
        outbox.put(
            Packet("diting/v1/XX/AAA/pick", b"%d" % n, Kind.PICK, NOW_NS - (1000 - n) * S)
            for n in range(100)
        )
        box = Session(
            address,
            "XX.AAA",
            outbox,
            birth=Presence(online=True, session=0),
            now_ns=clock.now_ns,
            pace=Pace(backlog_per_s=20.0),
            random=Random(1),
            seconds=clock.seconds,  # which stands still: after the first second's the backlog waits
        )
        async with address.client("listener") as client:
            await client.subscribe("diting/v1/XX/AAA/pick/#", qos=1)

            async def listen() -> None:
                async for message in client.messages:
                    kind = message.topic.value.split("/", 4)[4]
                    heard.append((kind, bytes(message.payload)))

            listening = asyncio.create_task(listen())
            async with box:
                await until(lambda: len(heard) == 20)
                box.publish([Packet("diting/v1/XX/AAA/pick", b"live")])
                await until(lambda: len(heard) == 21)
                clock.s = 10.0
                await until(lambda: len(heard) == 41)
                assert await box.stop(0.1) == 60
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        assert heard[:20] == [("pick/backlog", b"%d" % n) for n in range(99, 79, -1)]
        assert heard[20] == ("pick", b"live")
        assert heard[21:] == [("pick/backlog", b"%d" % n) for n in range(79, 59, -1)]

    asyncio.run(scenario())
