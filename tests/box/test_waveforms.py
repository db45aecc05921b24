"""A cut of the ring comes to whoever asked for it: once, whole, limited, and behind the picks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymseed import MS3Record

from box.cli import main
from box.clock import ReplayClock
from box.config import WaveformsConfig
from box.journal import Journal
from box.sources.miniseed import MiniSeedSource
from box.waveforms import Waveforms, cut, pack
from ringbuffer.segment import NS, Segment
from uplink import waveforms as wire
from uplink.connection import BrokerAddress
from uplink.outbox import Outbox
from uplink.packets import Event, PacketError, Presence
from uplink.sending import Pace
from uplink.session import Session
from uplink.waveforms import BadRequest, WaveformPart, WaveformRequest, decode_part, decode_request

if TYPE_CHECKING:
    from conftest import Mosquitto

START = 1_562_328_000_000_000_000  # 2019-07-05T12:00:00Z
CHANNELS = ("XX.AAA.00.HHE", "XX.AAA.00.HHN", "XX.AAA.00.HHZ")
REQUEST = "diting/v1/XX/AAA/waveform/request"
NOISE = np.random.default_rng(5).integers(-2000, 2000, 100_000).astype(np.int32)


class Clock:
    """Data time is that of the journal; nothing moves but by hand."""

    def __init__(self) -> None:
        self.ns = START + 600 * NS

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


def second(number: int, channel: str) -> Segment:
    samples = NOISE[100 * number : 100 * number + 100] + CHANNELS.index(channel)
    return Segment(channel, START + number * NS, Fraction(100), samples)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Ten minutes of three channels; the 100th second came late, the 200th is missing."""
    journal = Journal(tmp_path / "XX.AAA.ring", 2 << 20)
    order = [n for n in range(600) if n not in (100, 200)]
    for number in [*order[:150], 100, *order[150:]]:
        for channel in CHANNELS:
            journal.keep(second(number, channel), START + (number + 1) * NS)
    return journal


def request(first_s: float, last_s: float, id: str = "a", **more: Any) -> bytes:
    times = (np.datetime64(START + round(s * NS), "ns") for s in (first_s, last_s))
    start, end = (f"{time}"[:26] + "Z" for time in times)
    return json.dumps({"id": id, "start": start, "end": end} | more).encode()


def samples(records: list[bytes], channel: str) -> list[tuple[int, int]]:
    """Time (ms behind START) and value of each."""
    found = []
    for raw in records:
        record = MS3Record.parse(raw, unpack_data=True)
        name = record.sourceid.removeprefix("FDSN:").split("_")
        if ".".join((*name[:3], "".join(name[3:]))) == channel:
            begin = (record.starttime - START) // 1_000_000
            found += [(begin + 10 * i, int(v)) for i, v in enumerate(record.datasamples)]
    return found


def expected(first_ms: int, last_ms: int, channel: str) -> list[tuple[int, int]]:
    shift = CHANNELS.index(channel)
    return [
        (ms, int(NOISE[ms // 10]) + shift)
        for ms in range(-(-first_ms // 10) * 10, last_ms, 10)
        if ms // 1000 != 200
    ]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 599_999).flatmap(lambda a: st.tuples(st.just(a), st.integers(a + 1, 600_000)))
)
def test_a_cut_has_each_sample_of_its_span_and_no_other(
    span: tuple[int, int],
) -> None:
    first_ms, last_ms = max(span[0], span[1] - 20_000), span[1]
    segments = [second(n, c) for n in range(first_ms // 1000, 600) if n != 200 for c in CHANNELS]
    ring = FakeJournal(segments)
    wanted = decode_request(request(first_ms / 1000, last_ms / 1000))
    records = cut(ring, wanted)  # type: ignore[arg-type]
    for channel in CHANNELS:
        assert samples(records, channel) == expected(first_ms, last_ms, channel)


class FakeJournal:
    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments

    def between(self, start_ns: int, end_ns: int) -> list[Segment]:
        return [s for s in self.segments if s.start_ns < end_ns and s.end_ns > start_ns]


def test_a_cut_from_the_ring_is_whole_where_packets_came_late_or_not_at_all(
    journal: Journal,
) -> None:
    records = cut(journal, decode_request(request(90.005, 210, channels=["HHZ", "00.HHE"])))
    assert all(len(raw) == 512 for raw in records)
    for channel in (CHANNELS[0], CHANNELS[2]):
        assert samples(records, channel) == expected(90_005, 210_000, channel)
    assert samples(records, CHANNELS[1]) == []


def test_packets_that_come_twice_are_packed_once() -> None:
    segments = [second(n, CHANNELS[0]) for n in (3, 1, 2, 1, 2, 3)]
    assert samples(pack(segments), CHANNELS[0]) == expected(1000, 4000, CHANNELS[0])


class Rig:
    """A box's waveforms, and somebody at the broker who listens to what comes of requests."""

    def __init__(self, waveforms: Waveforms, outbox: Outbox, clock: Clock) -> None:
        self.waveforms, self.outbox, self.clock = waveforms, outbox, clock
        self.until_ns = START + 600 * NS
        self.heard: list[WaveformPart] = []

    def records(self, id: str) -> list[bytes]:
        parts = sorted((p for p in self.heard if p.id == id), key=lambda p: p.part)
        whole = b"".join(part.records for part in parts)
        return [whole[i : i + 512] for i in range(0, len(whole), 512)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.002)

    async def answer(self, id: str) -> list[WaveformPart]:
        def whole() -> bool:
            mine = [part for part in self.heard if part.id == id]
            return bool(mine) and len(mine) >= mine[0].parts

        await self.until(whole)
        return [part for part in self.heard if part.id == id]


@asynccontextmanager
async def running(
    url: str, path: Path, journal: Journal, clock: Clock | None = None, **config: Any
) -> AsyncIterator[Rig]:
    clock = clock or Clock()
    address = BrokerAddress.parse(url)
    outbox = Outbox(path / "o.sqlite")
    session = Session(
        address,
        "XX.AAA",
        outbox,
        birth=Presence(online=True, session=0),
        now_ns=clock.now_ns,
        pace=Pace(waveform_bytes_per_s=1e7),
        random=Random(1),
        sleep=lambda _: asyncio.sleep(0.01),
    )
    rig: Rig
    waveforms = Waveforms(
        "XX.AAA", session, journal, lambda: rig.until_ns, clock, WaveformsConfig(**config)
    )
    rig = Rig(waveforms, outbox, clock)
    async with address.client("listener") as listener:
        await listener.subscribe("diting/v1/XX/AAA/waveform/data", qos=1)

        async def listen() -> None:
            async for message in listener.messages:
                rig.heard.append(decode_part(bytes(message.payload)))

        tasks = [asyncio.create_task(listen()), asyncio.create_task(waveforms.run())]
        async with session:
            await session.first_connection(20)
            yield rig
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    outbox.close()


def test_a_request_over_a_broker_is_answered_in_parts_once(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal
) -> None:
    async def scenario() -> None:
        address = BrokerAddress.parse(mosquitto.url)
        async with address.client("operator") as operator:
            async with running(mosquitto.url, tmp_path, journal) as rig:
                await operator.publish(REQUEST, request(10, 130), qos=1, retain=True)
                parts = await rig.answer("a")
                assert len(parts) > 5
                assert max(len(part.records) for part in parts) <= 16 << 10
                for channel in CHANNELS:
                    found = samples(rig.records("a"), channel)
                    assert found == expected(10_000, 130_000, channel)
                await operator.publish(REQUEST, request(10, 130), qos=1)
                await operator.publish(REQUEST, request(0, 1, "b"), qos=1)
                await rig.answer("b")
                assert rig.waveforms.counters["repeats"] == 1
                assert len([p for p in rig.heard if p.id == "a"]) == len(parts)
            # the box starts again, and the retained request comes again
            await operator.publish(REQUEST, request(10, 130), qos=1, retain=True)
            async with running(mosquitto.url, tmp_path, journal) as rig:
                await operator.publish(REQUEST, request(0, 1, "c"), qos=1)
                await rig.answer("c")
                assert {part.id for part in rig.heard} == {"c"}
                assert rig.waveforms.counters["repeats"] == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (request(10, 10), "end: not behind the start"),
        (request(0, 601), "end: a cut of 601 s is longer than 600 s"),
        (request(5000, 5001), "end: more than an hour ahead"),
        (request(-500, -400), "no samples: they are not in the ring, or never came"),
        (request(0, 1, channels=["BHZ"]), "no samples: they are not in the ring, or never came"),
        (request(0, 1, channels=["../x"]), "Expected `str` matching regex"),
        (request(0, 1, filter="x"), "Object contains unknown field `filter`"),
        (b'{"id": "a", "start": "2019-07-05T12:00:00"}', "Expected `datetime` with a timezone"),
    ],
)
def test_what_cannot_be_followed_is_answered_with_the_reason_once(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal, payload: bytes, reason: str
) -> None:
    async def scenario() -> None:
        address = BrokerAddress.parse(mosquitto.url)
        async with (
            running(mosquitto.url, tmp_path, journal) as rig,
            address.client("operator") as operator,
        ):
            for _ in range(2):
                await operator.publish(REQUEST, payload, qos=1)
            await operator.publish(REQUEST, request(0, 1, "last"), qos=1)
            await rig.answer("last")
            [refusal] = [part for part in rig.heard if part.id == "a"]
            assert (refusal.parts, refusal.records) == (0, b"")
            assert refusal.reason.startswith(reason)
            assert rig.waveforms.counters["refused"] == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("payload", [b"", b"noise", b"{}", b'{"id": ""}', b'{"id": "\xff"}', b"[]"])
def test_what_has_no_id_is_nobodys_request(payload: bytes) -> None:
    with pytest.raises(PacketError, match=r"^waveform/request: "):
        decode_request(payload)


@given(st.binary(max_size=200))
def test_noise_is_a_request_or_one_of_two_errors(noise: bytes) -> None:
    for payload in (noise, b'{"id":"a",' + noise):
        with contextlib.suppress(PacketError, BadRequest):
            assert isinstance(decode_request(payload), WaveformRequest)


@given(st.binary(max_size=200))
def test_noise_is_no_part(noise: bytes) -> None:
    with pytest.raises(PacketError):
        decode_part(noise)


def test_a_part_holds_whole_records_and_a_place_in_the_whole() -> None:
    for part in (
        WaveformPart("a", 0, 1, bytes(511)),
        WaveformPart("a", 1, 1, bytes(512)),
        WaveformPart("a", 0, 1),
        WaveformPart("a", 0, 0, bytes(512)),
        WaveformPart("a", 0, 1, bytes(512 * 32)),
    ):
        with pytest.raises(PacketError):
            decode_part(wire._encode_part(part))


def test_parts_are_small_where_the_line_is_slow() -> None:
    records = [bytes(512)] * 20
    for bytes_per_s, sizes in ((4000, [8, 8, 4]), (600, [2] * 10), (100, [1] * 20)):
        parts = [decode_part(raw) for raw in wire.encode_answer("a", records, bytes_per_s)]
        assert [len(part.records) // 512 for part in parts] == sizes
        assert {part.parts for part in parts} == {len(sizes)}


def test_requests_that_wait_are_bounded_and_cut_when_their_samples_have_come(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal
) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with running(mosquitto.url, tmp_path, journal, clock, most_pending=2) as rig:
            rig.until_ns = START + 500 * NS
            for number in range(3):
                rig.waveforms.take(request(490, 505 + number, f"r{number}"))
            [refusal] = await rig.answer("r2")
            assert refusal.reason == "2 requests wait already"
            rig.until_ns = START + 505 * NS
            await rig.answer("r0")
            assert {part.id for part in rig.heard} == {"r0", "r2"}
            clock.ns += 11 * NS  # no more samples come: what there is, is sent
            await rig.answer("r1")
            found = samples(rig.records("r1"), CHANNELS[2])
            assert found == expected(490_000, 506_000, CHANNELS[2])

    asyncio.run(scenario())


def test_a_trigger_sends_a_cut_by_itself_and_once(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal
) -> None:
    async def scenario() -> None:
        config = {"at_trigger": True, "before_s": 10.0, "after_s": 20.0}
        on_ns = START + 300 * NS
        async with running(mosquitto.url, tmp_path, journal, **config) as rig:
            rig.waveforms.triggered(Event(on_ns, 0, 0, 90, on_ns, 0))
            rig.waveforms.triggered(Event(on_ns, 0, 0, 90, on_ns, 0))  # told again after a kill
            rig.waveforms.triggered(Event(on_ns, 1, on_ns + NS, 90, on_ns, 0))
            await rig.answer(f"trigger:{on_ns}")
            found = samples(rig.records(f"trigger:{on_ns}"), CHANNELS[0])
            assert found == expected(290_000, 320_000, CHANNELS[0])
            assert rig.waveforms.counters["repeats"] == 1

    asyncio.run(scenario())


def test_a_disk_that_cannot_be_read_is_told_and_the_next_request_answered(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = Journal.between

    def broken(self: Journal, start_ns: int, end_ns: int) -> Iterator[Segment]:
        if start_ns == START:
            raise OSError(5, "Input/output error")
        return between(self, start_ns, end_ns)

    async def scenario() -> None:
        async with running(mosquitto.url, tmp_path, journal) as rig:
            monkeypatch.setattr(Journal, "between", broken)
            rig.waveforms.take(request(0, 1, "bad"))
            rig.waveforms.take(request(1, 2, "good"))
            [refusal] = await rig.answer("bad")
            assert refusal.reason == "cannot be cut: [Errno 5] Input/output error"
            assert (await rig.answer("good"))[0].parts == 1

    asyncio.run(scenario())


def test_nothing_is_cut_at_a_trigger_unless_configured(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal
) -> None:
    async def scenario() -> None:
        async with running(mosquitto.url, tmp_path, journal) as rig:
            rig.waveforms.triggered(Event(START, 0, 0, 90, START, 0))
            assert not rig.waveforms.counters

    asyncio.run(scenario())


def command(url: str, out: Path, *more: str) -> list[str]:
    times = ("2019-07-05T12:00:10Z", "2019-07-05T14:00:40+02:00")
    return ["waveform", "XX.AAA", *times, "--broker", url, "--out", str(out), *more]


def test_the_command_writes_a_file_that_others_read(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cut.mseed"

    async def scenario() -> int:
        async with running(mosquitto.url, tmp_path, journal):
            words = command(mosquitto.url, out, "--channels", "HHZ,HHN", "--json")
            return await asyncio.to_thread(main, words)

    assert asyncio.run(scenario()) == 0
    told = json.loads(capsys.readouterr().out)
    content = out.read_bytes()
    assert (told["records"], told["trouble"]) == (len(content) // 512, "")
    records = [content[i : i + 512] for i in range(0, len(content), 512)]
    assert samples(records, CHANNELS[2]) == expected(10_000, 40_000, CHANNELS[2])
    packets = MiniSeedSource(out, ReplayClock(None)).packets()
    assert {packet.channel for packet in packets} == set(CHANNELS[1:])
    assert not list(tmp_path.glob("*.part"))


def test_the_command_asks_again_when_the_box_comes_back(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal
) -> None:
    out = tmp_path / "cut.mseed"

    async def scenario() -> int:
        async with BrokerAddress.parse(mosquitto.url).client("listener") as listener:
            await listener.subscribe(REQUEST, qos=1)
            asking = asyncio.create_task(asyncio.to_thread(main, command(mosquitto.url, out)))
            await anext(aiter(listener.messages))  # which nobody hears but we
            async with running(mosquitto.url, tmp_path, journal):
                return await asking

    assert asyncio.run(scenario()) == 0
    assert out.stat().st_size > 0


def test_a_refusal_and_a_silence_are_told_in_a_line_and_leave_no_file(
    tmp_path: Path, mosquitto: Mosquitto, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cut.mseed"

    async def scenario() -> int:
        async with running(mosquitto.url, tmp_path, journal, longest_s=20.0):
            return await asyncio.to_thread(main, command(mosquitto.url, out))

    assert asyncio.run(scenario()) == 1
    assert main(command(mosquitto.url, out, "--timeout", "0.3")) == 1
    assert capsys.readouterr().err.splitlines() == [
        "diting: XX.AAA: end: a cut of 30 s is longer than 20 s",
        "diting: XX.AAA: no answer within 0.3 s; the box is offline",
    ]
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["XX", "2019-07-05T12:00:00Z", "2019-07-05T12:00:01Z"], "station_id: 'XX' is not NET.STA"),
        (["XX.AAA", "noon", "2019-07-05T12:00:01Z"], "START: 'noon' is not ISO 8601"),
        (["XX.AAA", "2019-07-05T12:00:00", "2019-07-05T12:00:01Z"], "has no zone; UTC ends in Z"),
        (["XX.AAA", "2019-07-05T12:00:01Z", "2019-07-05T12:00:01Z"], "END: not behind START"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    rest = ["--broker", "mqtt://127.0.0.1:9", "--out", str(tmp_path / "cut.mseed")]
    assert main(["waveform", *words, *rest]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


def test_a_broker_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "mqtt://user:s3cret@127.0.0.1:9"
    assert main(command(url, tmp_path / "cut.mseed", "--timeout", "0.2")) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("diting: broker mqtt://127.0.0.1:9: ")
    assert "s3cret" not in said
