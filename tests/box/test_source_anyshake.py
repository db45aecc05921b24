"""AnyShake Explorer: its frames, and an emulator of it on a pseudo-terminal."""

from __future__ import annotations

import asyncio
import struct
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.emulators.anyshake import Explorer, frame_1, frame_3, frames_3
from box.clock import ReplayClock
from box.config import AnyShakeConfig
from box.sources.anyshake import AnyShakeSource, StamperV3
from box.sources.anyshake_frames import DeframerV1, DeframerV3, Frame
from box.sources.live import Counters
from ringbuffer.segment import NS, Flag, Segment, samples_to_ns

MS = 1_000_000
START_MS = 1_735_689_600_000


def noise(seconds: int = 30) -> list[Segment]:
    """Three channels full of headers and tails."""
    rng = np.random.default_rng(11)
    words = np.frombuffer(b"\x01\xfe\xef\x10\xfc\x1b\x01\xfe", "<i4")
    return [
        Segment(
            f"XX.ABC.00.EH{c}",
            START_MS * MS,
            Fraction(100),
            np.where(
                rng.random(100 * seconds) < 0.2,
                rng.choice(words, 100 * seconds),
                rng.integers(-9000, 9000, 100 * seconds),
            ).astype(np.int32),
        )
        for c in "ZEN"
    ]


def feed(deframer: DeframerV3 | DeframerV1, stream: bytes, seed: int) -> list[Frame]:
    """Feed a stream in pieces of all sizes."""
    random = Random(seed)
    frames = []
    while stream:
        size = random.choice((1, 2, 13, 140, 700))
        frames += deframer.feed(stream[:size])
        stream = stream[size:]
    return frames


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize(("interval_ms", "rate"), [(100, 10), (200, 250), (500, 50), (1000, 1000)])
def test_every_type_rate_and_interval_is_read(width: int, interval_ms: int, rate: int) -> None:
    count = interval_ms * rate // 1000
    limit = 2 ** (8 * width - 1)
    rng = np.random.default_rng(width)
    channels = {n: rng.integers(-limit, limit, count).astype(np.int32) for n in (1, 3, 8)}
    channels[1][0], channels[3][0] = -limit, limit - 1
    raw = frame_3(channels, START_MS, interval_ms, rate, width=width)
    [frame] = DeframerV3(Counters()).feed(raw)
    assert (frame.timestamp_ms, frame.rate, frame.gnss) == (START_MS, rate, True)
    assert frame.size == len(raw)
    assert frame.samples.keys() == channels.keys()
    assert all(np.array_equal(frame.samples[n], channels[n]) for n in channels)


@pytest.mark.parametrize("seed", range(4))
def test_torn_frames_come_out_whole_though_their_data_are_full_of_headers(seed: int) -> None:
    traces = noise(6)
    counters = Counters()
    frames = feed(DeframerV3(counters), b"".join(frames_3(traces)), seed)
    for n, trace in enumerate(traces, 1):
        assert np.array_equal(np.concatenate([f.samples[n] for f in frames]), trace.samples)
    assert (counters.frames, counters.bad, counters.resyncs) == (60, 0, 0)


def damaged(frames: list[bytes], share: float, seed: int) -> tuple[bytes, set[int]]:
    """A stream in which so many frames were hit: a byte changed, lost, or doubled."""
    random = Random(seed)
    hit: set[int] = set()
    parts = []
    for number, frame in enumerate(frames):
        if 0 < number < len(frames) - 1 and random.random() < share and number - 1 not in hit:
            hit.add(number)
            at = random.randrange(len(frame) - 2)  # a v1 frame may end with its checksum twice
            changed = bytes([frame[at] ^ random.randrange(1, 256)])
            frame = (
                frame[:at] + random.choice((changed, b"", frame[at : at + 1] * 2)) + frame[at + 1 :]
            )
        parts.append(frame)
    return b"".join(parts), hit


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("protocol", [1, 3])
def test_damage_costs_the_frame_that_it_hits_and_is_counted(protocol: int, seed: int) -> None:
    traces = noise(60)
    counters = Counters()
    if protocol == 3:
        frames = frames_3(traces)
        deframer: DeframerV3 | DeframerV1 = DeframerV3(counters)
    else:
        frames = [
            frame_1([t.samples[first : first + 5] for t in traces]) for first in range(0, 6000, 5)
        ]
        deframer = DeframerV1(counters)
    stream, hit = damaged(frames, 0.05, seed)
    received = feed(deframer, stream, seed)
    expected = [n for n in range(len(frames)) if n not in hit]
    block = 10 if protocol == 3 else 5
    sent = [traces[0].samples[n * block : (n + 1) * block] for n in expected]
    assert len(received) == len(sent)
    assert all(np.array_equal(f.samples[1], s) for f, s in zip(received, sent, strict=True))
    assert counters.bad == counters.resyncs == len(hit) > 10
    assert [n for n, f in zip(expected, received, strict=True) if f.after_loss] == [
        n for n in expected if n - 1 in hit
    ]


def test_a_header_in_rubbish_does_not_hold_up_the_good_frames_behind_it() -> None:
    """What follows it says that the frame has 32 kB."""
    false = b"\x01\xfe" + bytes(8) + struct.pack("<I", 0b11 << 30 | 0b111 << 27 | 0x3FFFC00)
    deframer = DeframerV3(Counters())
    frames = deframer.feed(false + b"".join(frames_3(noise(1))))
    assert len(frames) == 10


@given(
    st.lists(
        st.binary(max_size=200)
        | st.sampled_from([b"\x01\xfe", b"\xfc\x1b", b"\xef\x10", frames_3(noise(1))[0]])
    )
)
def test_no_bytes_raise_and_no_more_are_kept_than_a_frame_has(pieces: list[bytes]) -> None:
    for deframer in (DeframerV1(Counters()), DeframerV3(Counters())):
        for piece in pieces:
            for frame in deframer.feed(piece):
                assert all(s.dtype == np.int32 and len(s) for s in frame.samples.values())
        assert len(deframer._buffer) <= 32_021


def decoded(raw: bytes) -> Frame:
    return DeframerV3(Counters()).feed(raw)[0]


def test_gnss_time_is_taken_from_the_frame_and_nonsense_is_not() -> None:
    ten = {1: np.zeros(10, np.int32)}
    stamper = StamperV3()
    [stamped] = stamper.stamp(decoded(frame_3(ten, START_MS)), 5 * NS)
    assert (stamped.start_ns, stamped.flags) == ((START_MS - 100) * MS, Flag.NONE)
    assert list(stamper.stamp(decoded(frame_3(ten, 4711)), 5 * NS)) == []
    [stamped] = stamper.flush()
    assert (stamped.start_ns, stamped.flags) == (5 * NS - 100 * MS, Flag.CLOCK_UNLOCKED)


@pytest.mark.parametrize("restart_ms", [0, 3_600_000])
def test_a_device_that_restarts_without_gnss_begins_a_new_stretch(restart_ms: int) -> None:
    """Its clock begins again, or leaps; the host's says how long it was away."""
    ten = {1: np.zeros(10, np.int32)}
    stamper = StamperV3()
    stamped = []
    host_ns = START_MS * MS
    for begin_ms in (50_000, restart_ms):
        for number in range(1, 101):
            raw = frame_3(ten, begin_ms + 100 * number, gnss=False)
            stamped += stamper.stamp(decoded(raw), host_ns + 100 * MS * number)
        host_ns += 60 * NS
    stamped += stamper.flush()
    assert len(stamped) == 200
    expected = [START_MS * MS + later + 100 * MS * n for later in (0, 60 * NS) for n in range(100)]
    assert [s.start_ns for s in stamped] == expected


class HostClock(ReplayClock):
    """A clock that is set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.at_ns = 0

    def now_ns(self) -> int:
        return self.at_ns


async def play(heard, explorer: Explorer, stream: bytes, seed: int = 1) -> None:
    """Send a stream in pieces, each when the one before has been read."""
    random = Random(seed)
    sent = heard.source.counters.bytes
    while stream:
        piece = stream[: random.randrange(1, 4000)]
        explorer.write(piece)
        sent += len(piece)
        await heard.until(lambda n=sent: heard.source.counters.bytes == n)
        stream = stream[len(piece) :]


async def at_once(delay_s: float) -> None:
    await asyncio.sleep(0)


def source(path: Path, clock: ReplayClock | None = None, **config: object) -> AnyShakeSource:
    settings = AnyShakeConfig(device=str(path), **config)
    return AnyShakeSource(settings, "XX.ABC", clock or ReplayClock(), Random(1), at_once)


def test_a_device_that_is_torn_damaged_and_unplugged_comes_back(listening, tmp_path: Path) -> None:
    traces = noise(30)
    frames = frames_3(traces)
    stream, hit = damaged(frames[:200], 0.05, seed=2)

    async def run() -> None:
        explorer = Explorer(tmp_path / "tty")
        explorer.write(frames[0])  # stale: nobody was listening
        async with listening(source(explorer.path)) as heard:
            await heard.connected()
            await play(heard, explorer, stream)
            await play(heard, explorer, frames[200][:50])
            explorer.unplug()
            await heard.until(lambda: heard.source.problems != [])
            explorer.plug_in()
            await heard.until(lambda: heard.source.counters.connections == 2)
            assert heard.source.problems == []
            await play(heard, explorer, frames[200][50:] + b"".join(frames[201:]))
            await heard.until(lambda: len(heard.segments) == 3 * (299 - len(hit)))
            explorer.unplug()
        counters = heard.source.counters
        assert counters.bad == len(hit) + 1
        assert counters.gaps == 3 * (len(hit) + 1)
        lost = {*hit, 200}
        expected = np.isin(np.arange(3000) // 10, list(lost), invert=True)
        for trace in traces:
            parts = [s for s in heard.segments if s.channel == trace.channel]
            received = np.concatenate([part.samples for part in parts])
            assert np.array_equal(received, trace.samples[expected])
            assert all(
                np.array_equal(p.samples, trace.samples[i : i + 10])
                for p in parts
                for i in [round((p.start_ns - trace.start_ns) * trace.rate / NS)]
            )
            assert {part.flags for part in parts} == {Flag.NONE}

    asyncio.run(run())


def test_frames_without_time_are_stamped_by_the_host(listening, tmp_path: Path) -> None:
    """Protocol 1, of which a frame is sent when its last sample has been taken."""
    traces = noise(12)

    async def run() -> None:
        explorer = Explorer(tmp_path / "tty")
        clock = HostClock()
        shaking = source(explorer.path, clock, protocol=1, rate=100.0, baud_rate=115_200)
        async with listening(shaking) as heard:
            await heard.connected()
            for first in range(0, 1200, 5):
                frame = frame_1([t.samples[first : first + 5] for t in traces])
                transfer_ns = len(frame) * 10 * NS // 115_200
                clock.at_ns = traces[0].time_ns(first + 4) + transfer_ns
                await play(heard, explorer, frame)
            await heard.until(lambda: len(heard.segments) == 3 * 240)
            explorer.unplug()
        for trace in traces:
            parts = [s for s in heard.segments if s.channel == trace.channel]
            received = np.concatenate([part.samples for part in parts])
            assert np.array_equal(received, trace.samples)
            starts = [trace.start_ns + samples_to_ns(n, trace.rate) for n in range(0, 1200, 5)]
            assert [part.start_ns for part in parts] == starts
            assert {part.flags for part in parts} == {Flag.CLOCK_UNLOCKED}

    asyncio.run(run())


def test_a_line_that_falls_silent_is_opened_anew(listening, tmp_path: Path) -> None:
    async def run() -> None:
        explorer = Explorer(tmp_path / "tty")
        async with listening(source(explorer.path, timeout_s=0.02)) as heard:
            await heard.until(lambda: heard.source.counters.connections == 3)
        explorer.unplug()

    asyncio.run(run())


def test_a_device_that_is_not_there_or_no_terminal_is_waited_for(listening, tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "tty"
        async with listening(source(path)) as heard:
            await heard.until(lambda: heard.source.problems != [])
            assert "No such file or directory" in heard.source.problems[0]
            path.write_bytes(b"no terminal")
            await heard.until(lambda: "No such" not in "".join(heard.source.problems))
            assert "\n" not in heard.source.problems[0]
            path.unlink()
            explorer = Explorer(path)
            await heard.connected()
        explorer.unplug()

    asyncio.run(run())
