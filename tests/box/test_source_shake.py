"""Raspberry Shake data cast: its datagrams, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.emulators.shake import cast
from box.clock import ReplayClock, SystemClock
from box.config import ShakeConfig
from box.sources.shake import ShakeSource, parse
from ringbuffer.ring import ChannelRing, Outcome
from ringbuffer.segment import NS, Segment

EXAMPLE = b"{'EHZ', 1582315130.292, 14168, 14927, 16112, 17537}"


def source(**config: object) -> ShakeSource:
    config = {"channels": ["EHZ"], "host": "127.0.0.1", "port": 0} | config
    return ShakeSource(ShakeConfig(**config), "AM.R1234", SystemClock())


class Sender:
    """An instrument's socket."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._to = ("127.0.0.1", port)

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self._socket.sendto(datagram, self._to)

    def close(self) -> None:
        self._socket.close()


def test_a_datagram_is_read_to_the_nanosecond() -> None:
    packet = parse(EXAMPLE)
    assert packet is not None
    assert (packet.code, packet.start_ns) == ("EHZ", 1_582_315_130_292_000_000)
    assert packet.samples.tolist() == [14168, 14927, 16112, 17537]
    assert packet.samples.dtype == np.int32
    exact = parse(b"{'EHZ',1582315130.123456789,-1}")
    assert exact is not None
    assert exact.start_ns == 1_582_315_130_123_456_789


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"{}",
        b"{'EHZ'}",
        b"{'EHZ', 1582315130.292}",
        b"{'EHZ', 1582315130.292, }",
        b"{'EHZ', 1582315130.292, 1,}",
        b"{'EHZ', 1582315130.292, 1, 2.5}",
        b"{'EHZ', 1582315130.292, 1, nan}",
        b"{'EHZ', 1582315130.292, 1, 2147483648}",
        b"{'EHZ', 1582315130.292, 1, -2147483649}",
        b"{'EHZ', 1582315130.292, 1, " + b"9" * 5000 + b"}",
        b"{'EHZ', nan, 1}",
        b"{'EHZ', 1e300, 1}",
        b"{'EHZ', -1, 1}",
        b"{'EHZ', 99999999999, 1}",
        b"{'ehz', 1582315130.292, 1}",
        b"{'EHZZ', 1582315130.292, 1}",
        b"{'EHZ', 1582315130.292, 1",
        EXAMPLE + b"x",
        EXAMPLE[:-9],
        b"\xff\xfe",
    ],
)
def test_what_is_no_datagram_of_the_cast_is_refused(datagram: bytes) -> None:
    assert parse(datagram) is None


@given(st.binary(max_size=200), st.integers(0, len(EXAMPLE)), st.integers(0, len(EXAMPLE)))
def test_no_bytes_raise(noise: bytes, first: int, last: int) -> None:
    for datagram in (noise, EXAMPLE[:first] + noise + EXAMPLE[last:]):
        packet = parse(datagram)
        assert packet is None or (packet.samples.dtype == np.int32 and len(packet.samples))


def test_channels_arrive_over_a_socket_and_everything_is_counted(listening) -> None:
    trace = Segment("AM.R1234.00.EHZ", 1582315130 * NS, Fraction(100), np.arange(100, dtype="i4"))
    other = EXAMPLE.replace(b"EHZ", b"EN1")

    async def run() -> None:
        async with listening(source()) as heard:
            await heard.connected()
            sender = Sender(heard.source.port)
            sender.send(*cast(trace), b"rubbish", other, EXAMPLE)
            await heard.until(lambda: len(heard.segments) == 5)
            sender.close()
        counters = heard.source.counters
        assert (counters.frames, counters.bad, counters.gaps) == (5, 1, 1)
        assert counters.bytes == sum(map(len, [*cast(trace), b"rubbish", other, EXAMPLE]))
        assert {s.channel for s in heard.segments} == {"AM.R1234.00.EHZ"}
        assert {s.rate for s in heard.segments} == {Fraction(100)}
        assert np.array_equal(
            np.concatenate([s.samples for s in heard.segments[:4]]), trace.samples
        )
        assert heard.segments[1].start_ns == trace.start_ns + NS // 4
        assert heard.source.problems == []

    asyncio.run(run())


def test_lost_repeated_and_reordered_datagrams_leave_the_samples_in_their_places(listening) -> None:
    rng = np.random.default_rng(5)
    samples = rng.integers(-5000, 5000, 3000).astype(np.int32)
    trace = Segment("AM.R1234.00.EHZ", 1582315130 * NS, Fraction(100), samples)
    datagrams = cast(trace)
    lost = {7, 30, 31}
    order = [n for n in range(len(datagrams)) if n not in lost]
    order = [*sorted(order, key=lambda n: n + rng.uniform(-2, 2)), 3, 3, 50]

    async def run() -> list[Segment]:
        async with listening(source()) as heard:
            await heard.connected()
            sender = Sender(heard.source.port)
            for number, index in enumerate(order, 1):
                sender.send(datagrams[index])
                await heard.until(lambda n=number: len(heard.segments) == n)
            sender.close()
            return heard.segments

    ring = ChannelRing(trace.channel, trace.rate, 60, reorder_s=30)
    for segment in asyncio.run(run()):
        ring.append(segment)
    window = ring.read(trace.start_ns, 3000)
    expected = np.isin(np.arange(3000) // 25, list(lost), invert=True)
    assert np.array_equal(window.mask, expected)
    assert np.array_equal(window.samples[window.mask], samples[expected])
    assert ring.counts[Outcome.DUPLICATE] == 3


def test_datagrams_of_another_sender_are_not_taken(listening) -> None:
    async def run() -> None:
        async with listening(source(sender="127.0.0.2")) as heard:
            await heard.connected()
            stranger = Sender(heard.source.port)
            friend = Sender(heard.source.port, "127.0.0.2")
            stranger.send(EXAMPLE.replace(b"14168", b"666"))
            friend.send(EXAMPLE)
            await heard.until(lambda: len(heard.segments) == 1)
            stranger.close()
            friend.close()
        assert heard.segments[0].samples[0] == 14168

    asyncio.run(run())


def test_a_port_that_is_taken_is_tried_again_until_it_is_free(listening) -> None:
    async def run() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as occupant:
            occupant.bind(("127.0.0.1", 0))
            port = occupant.getsockname()[1]
            delays: list[float] = []
            freed = asyncio.Event()

            async def sleep(delay_s: float) -> None:
                delays.append(delay_s)
                if len(delays) == 8:
                    await freed.wait()

            config = ShakeConfig(channels=["EHZ"], host="127.0.0.1", port=port)
            shake = ShakeSource(config, "AM.R1234", ReplayClock(), Random(1), sleep)
            async with listening(shake) as heard:
                await heard.until(lambda: len(delays) == 8)
                assert shake.problems == [f"shake 127.0.0.1:{port}: Address already in use"]
                assert max(delays) > 2  # it grows
                occupant.close()
                freed.set()
                await heard.connected()
                assert shake.problems == []
                sender = Sender(port)
                sender.send(EXAMPLE)
                await heard.until(lambda: len(heard.segments) == 1)
                sender.close()

    asyncio.run(run())


def test_a_flood_of_datagrams_leaves_other_tasks_their_turn(listening) -> None:
    """Datagrams that lie in the socket are read without waiting."""

    async def run() -> None:
        async with listening(source()) as heard:
            await heard.connected()
            sender = Sender(heard.source.port)
            seen = set()
            sender.send(*[EXAMPLE] * 100)
            while len(heard.segments) < 100:
                seen.add(len(heard.segments))
                await asyncio.sleep(0)
            sender.close()
        assert len(seen) >= 100

    asyncio.run(run())


def test_trouble_of_the_box_is_not_taken_for_trouble_of_the_source() -> None:
    """A full disk is an OSError too, and connecting again does not help against it."""

    def take(segment: Segment) -> None:
        raise OSError(28, "No space left on device")

    async def run() -> None:
        shake = source()
        running = asyncio.create_task(shake.run(take))
        while not shake.counters.connections:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0)
        sender = Sender(shake.port)
        sender.send(EXAMPLE)
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(running, 30)
        sender.close()

    asyncio.run(run())


def test_silence_is_a_problem_that_health_tells() -> None:
    """A datagram that does not come breaks no connection."""

    class Clock(ReplayClock):
        at_ns = 0

        def monotonic_ns(self) -> int:
            return self.at_ns

    clock = Clock()
    shake = ShakeSource(ShakeConfig(channels=["EHZ"]), "AM.R1234", clock)
    clock.at_ns = 59 * NS
    assert shake.problems == []
    clock.at_ns = 61 * NS
    assert shake.problems == ["shake 0.0.0.0:8888: no samples for 61 s"]
    samples = np.zeros(5, np.int32)
    segment = Segment("AM.R1234.00.EHZ", 1_735_689_600 * NS, Fraction(100), samples)
    shake.deliver(segment, lambda _: None)
    assert shake.problems == []
