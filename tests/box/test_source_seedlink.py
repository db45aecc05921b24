"""The SeedLink client against a small server that speaks protocols 3 and 4 over real sockets."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest

from bench.emulators.seedlink import Server, hold
from box.clock import ReplayClock, SystemClock
from box.config import SeedLinkConfig, ShakeConfig
from box.sources.positions import Positions
from box.sources.seedlink import SeedLinkSource
from box.sources.shake import ShakeSource
from ringbuffer.segment import NS, Flag, Segment

START = 1_562_259_000 * NS
CHANNELS = [f"CI.CLC..HH{c}" for c in "ZNE"]


@pytest.fixture
def traces() -> list[Segment]:
    """Half a minute of three channels."""
    rng = np.random.default_rng(7)
    return [
        Segment(name, START, Fraction(100), rng.integers(-9000, 9000, 3000).astype(np.int32))
        for name in CHANNELS
    ]


def client(server: Server, folder: Path, **config: object) -> SeedLinkSource:
    async def at_once(delay_s: float) -> None:
        await asyncio.sleep(0)

    config = {"host": "127.0.0.1", "port": server.port, "channels": CHANNELS} | config
    positions = Positions(folder / "seedlink.json")
    return SeedLinkSource(SeedLinkConfig(**config), positions, ReplayClock(), Random(1), at_once)


def assert_whole(segments: list[Segment], traces: list[Segment]) -> None:
    """Every sample once, in order, at its time."""
    for trace in traces:
        parts = [s for s in segments if s.channel == trace.channel]
        assert np.array_equal(np.concatenate([p.samples for p in parts]), trace.samples)
        assert parts[0].start_ns == trace.start_ns
        for before, after in pairwise(parts):
            assert abs(after.start_ns - before.end_ns) < 1000


@pytest.mark.parametrize(("protocols", "version"), [((3,), 2), ((3, 4), 2), ((4,), 3)])
def test_a_connection_that_is_cut_is_resumed_without_loss_or_repeat(
    listening, traces, tmp_path: Path, protocols: tuple[int, ...], version: int
) -> None:
    """Protocol 3's sequence numbers wrap on the way."""

    async def run() -> None:
        held = hold(traces, version=version)
        async with Server(held, protocols, cuts=[13]) as server:
            source = client(server, tmp_path)
            async with listening(source) as heard:
                await heard.until(lambda: len(heard.segments) == len(held))
            assert_whole(heard.segments, traces)
            assert server.connections == 2
            following = held[13].sequence
            resumed = f"DATA {following}" if 4 in protocols else f"DATA {following & 0xFFFFFF:06X}"
            assert [line for line in server.heard if line[:4] == "DATA"] == ["DATA", resumed]
            assert source.counters.frames == len(held)
            assert (source.counters.bad, source.counters.gaps) == (0, 0)

    asyncio.run(run())


def test_a_new_process_goes_on_where_the_old_one_was(listening, traces, tmp_path: Path) -> None:
    async def run() -> None:
        held = hold(traces)
        async with Server(held[:10]) as server:
            async with listening(client(server, tmp_path)) as first:
                await first.until(lambda: len(first.segments) == 10)
            server.held = held
            async with listening(client(server, tmp_path)) as second:
                await second.until(lambda: len(second.segments) == len(held) - 10)
            assert_whole(first.segments + second.segments, traces)

    asyncio.run(run())


@pytest.mark.parametrize("protocols", [(3,), (4,)])
def test_another_server_is_asked_by_time_since_its_numbers_are_its_own(
    listening, traces, tmp_path: Path, protocols: tuple[int, ...]
) -> None:
    async def run() -> None:
        async with (
            Server(hold(traces)[:10], protocols) as server,
            listening(client(server, tmp_path)) as first,
        ):
            await first.until(lambda: len(first.segments) == 10)
        async with Server(hold(traces, first=5), protocols) as other:
            source = client(other, tmp_path)
            since = source._positions.since_ns("CI.CLC")
            assert since is not None
            async with listening(source) as second:
                wanted = [h for h in other.held if h.end_ns > since // NS * NS]
                assert 0 < len(wanted) < len(other.held)
                await second.until(lambda: len(second.segments) == len(wanted))
        [asked] = [line for line in other.heard if line[:4] in ("TIME", "DATA")]
        assert asked.startswith("DATA ALL 2019-" if 4 in protocols else "TIME 2019,")
        for trace in traces:  # nothing is missing between the two
            parts = [s for s in first.segments + second.segments if s.channel == trace.channel]
            assert {int(i) for p in parts for i in _indices(trace, p)} == set(range(3000))

    asyncio.run(run())


def _indices(trace: Segment, part: Segment) -> range:
    first = round((part.start_ns - trace.start_ns) * trace.rate / NS)
    return range(first, first + len(part.samples))


def test_a_sequence_that_the_server_refuses_falls_back_and_is_told(
    listening, traces, tmp_path: Path
) -> None:
    async def run() -> None:
        held = hold(traces)
        async with Server(held[:10]) as server:
            async with listening(client(server, tmp_path)) as first:
                await first.until(lambda: len(first.segments) == 10)
            refused = f"DATA {held[10].sequence & 0xFFFFFF:06X}"
            server.answers[refused] = "ERROR"
            source = client(server, tmp_path)
            async with listening(source) as second:
                await second.until(lambda: source.counters.connections == 1)
                await second.until(lambda: len(second.segments) > 0)
            assert server.heard[-2].startswith("TIME ")
            assert f"{source.name}: refuses {refused}: ERROR" in source.problems

    asyncio.run(run())


def test_a_file_of_positions_that_is_damaged_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "seedlink.json"
    for content in (b'{"servers": {"a:1": {"CI.CLC": {"seq', b"[]", b"\xff", b'{"servers": 5}'):
        path.write_bytes(content)
        positions = Positions(path)
        assert positions.sequence("a:1", "CI.CLC") is None
        assert positions.since_ns("CI.CLC") is None
        assert (tmp_path / "seedlink.corrupt").read_bytes() == content
        positions.note("a:1", "CI.CLC..HHZ", 5, 7 * NS)
        positions.save()
        assert Positions(path).sequence("a:1", "CI.CLC") == 5
        assert Positions(path).sequence("b:1", "CI.CLC") is None


def test_what_a_power_cut_took_out_of_the_ring_is_asked_for_again(
    listening, traces, tmp_path: Path
) -> None:
    """The positions are on disk, the last seconds of the ring are not."""

    async def run() -> None:
        async with Server(hold(traces)) as server:
            async with listening(client(server, tmp_path)) as first:
                await first.until(lambda: len(first.segments) == len(server.held))
            kept = {trace.channel: trace.time_ns(1500) for trace in traces}
            source = client(server, tmp_path)
            source.skip(kept)
            async with listening(source) as second:
                await second.until(lambda: source.counters.connections == 1)
                missing = [h for h in server.held if h.end_ns > START + 15 * NS]
                await second.until(lambda: len(second.segments) == len(missing))
            assert server.heard[-2] == "TIME 2019,07,04,16,50,15"
            whole = client(server, tmp_path)
            whole.skip({trace.channel: trace.end_ns for trace in traces})
            async with listening(whole) as third:
                await third.until(lambda: whole.counters.connections == 1)
            assert server.heard[-2].startswith("DATA 0")

    asyncio.run(run())


def test_a_channel_that_died_long_ago_does_not_hold_back_the_others(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "seedlink.json")
    positions.note("a:1", "CI.CLC..HHZ", 1, 1000 * NS)
    positions.note("a:1", "CI.CLC..HHE", 2, 990 * NS)
    assert positions.since_ns("CI.CLC") == 990 * NS
    positions.note("a:1", "CI.CLC..HHZ", 3, 90_000 * NS)
    assert positions.since_ns("CI.CLC") == (90_000 - 120) * NS


def test_a_file_that_cannot_be_written_does_not_stop_the_data(
    listening, traces, tmp_path: Path
) -> None:
    async def run() -> None:
        async with Server(hold(traces)) as server:
            source = client(server, tmp_path / "nowhere")
            async with listening(source) as heard:
                await heard.until(lambda: len(heard.segments) == len(server.held))

    asyncio.run(run())


def test_a_silent_line_is_asked_for_a_sign_of_life_and_kept(
    listening, traces, tmp_path: Path
) -> None:
    async def run() -> None:
        async with Server(hold(traces), (3, 4)) as server:
            source = client(server, tmp_path, keepalive_s=0.01, timeout_s=60)
            async with listening(source) as heard:
                await heard.until(lambda: server.heard.count("INFO ID") == 5)
            assert server.connections == 1
            assert source.problems == []

    asyncio.run(run())


def test_a_line_that_is_dead_is_given_up_and_made_again(listening, traces, tmp_path: Path) -> None:
    async def run() -> None:
        async with Server(hold(traces), answers_info=False) as server:
            source = client(server, tmp_path, keepalive_s=0.01, timeout_s=0.05)
            async with listening(source) as heard:
                await heard.until(lambda: server.connections >= 3 and "INFO ID" in server.heard)

    asyncio.run(run())


def test_a_source_ends_when_told_to_even_as_data_come(
    listening, traces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio.wait_for of Python 3.11 loses a cancellation that comes together with the data."""
    opened: list[asyncio.StreamReader] = []
    connect = asyncio.open_connection

    async def remembered(*args: object, **options: object) -> object:
        reader, writer = await connect(*args, **options)
        opened.append(reader)
        return reader, writer

    monkeypatch.setattr(asyncio, "open_connection", remembered)

    async def run() -> None:
        async with (
            Server(hold(traces)) as server,
            listening(client(server, tmp_path, keepalive_s=60.0)) as heard,
        ):
            await heard.connected()
            await heard.until(lambda: opened[0]._waiter is not None)  # it has read all there is
            opened[0].feed_data(b"S")
            heard.task.cancel()
            done, _ = await asyncio.wait({heard.task}, timeout=10)
            assert done, "the cancellation was lost"

    asyncio.run(run())


def test_a_server_that_never_answers_keeps_no_other_source_waiting(
    listening, tmp_path: Path
) -> None:
    """It accepts the connection and says nothing; meanwhile another source delivers."""

    async def run() -> None:
        accepted = asyncio.Event()

        async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set()

        mute = await asyncio.start_server(never, "127.0.0.1", 0)
        server = Server([])
        server.port = mute.sockets[0].getsockname()[1]
        config = ShakeConfig(channels=["EHZ"], host="127.0.0.1", port=0)
        shake = ShakeSource(config, "AM.R1234", SystemClock())
        async with listening(client(server, tmp_path)), listening(shake) as alive:
            await accepted.wait()
            await alive.connected()
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=("127.0.0.1", shake.port)
            )
            transport.sendto(b"{'EHZ', 1582315130.292, 14168, 14927}")
            await alive.until(lambda: len(alive.segments) == 1)
            transport.close()
        mute.close()

    asyncio.run(run())


def test_a_backlog_leaves_other_tasks_their_turn(listening, traces, tmp_path: Path) -> None:
    async def run() -> None:
        async with Server(hold(traces)) as server, listening(client(server, tmp_path)) as heard:
            seen = set()
            while len(heard.segments) < len(server.held):
                seen.add(len(heard.segments))
                await asyncio.sleep(0)
            assert seen == set(range(len(server.held)))

    asyncio.run(run())


def test_a_host_that_cannot_be_one_is_a_problem_not_the_end(listening, tmp_path: Path) -> None:
    async def run() -> None:
        source = client(Server([]), tmp_path, host="a..b", port=1)
        async with listening(source) as heard:
            await heard.until(lambda: source.problems != [])
            assert "\n" not in source.problems[0]

    asyncio.run(run())


def test_damaged_records_are_counted_and_cost_only_themselves(
    listening, traces, tmp_path: Path
) -> None:
    async def run() -> None:
        held = hold(traces)
        held[4].payload = b"\xff" * 512
        held[9].payload = held[9].payload[:64] + b"\xff" * 448
        async with Server(held) as server:
            source = client(server, tmp_path)
            async with listening(source) as heard:
                await heard.until(lambda: len(heard.segments) == len(held) - 2)
            assert source.counters.bad == 2
            assert source.counters.gaps == 2
            assert source.counters.connections == 1

    asyncio.run(run())


def test_channels_that_nobody_asked_for_are_not_handed_on(
    listening, traces, tmp_path: Path
) -> None:
    """A server that knows no empty location sends all of them."""

    async def run() -> None:
        twin = Segment("CI.CLC.10.HHZ", START, Fraction(100), traces[0].samples)
        async with (
            Server(hold([*traces, twin])) as server,
            listening(client(server, tmp_path)) as heard,
        ):
            await heard.until(lambda: len(heard.segments) >= len(hold(traces)))
            assert_whole(heard.segments, traces)

    asyncio.run(run())


def test_backfill_is_marked_so_that_it_raises_no_alarm(listening, traces, tmp_path: Path) -> None:
    class Now(ReplayClock):
        def now_ns(self) -> int:
            return START + 310 * NS

    async def run() -> None:
        async with Server(hold(traces)) as server:
            source = client(server, tmp_path)
            source._clock = Now()
            async with listening(source) as heard:
                await heard.until(lambda: len(heard.segments) == len(server.held))
            old = [s for s in heard.segments if s.end_ns < START + 10 * NS]
            assert all((Flag.HISTORICAL in s.flags) == (s in old) for s in heard.segments)
            assert 0 < len(old) < len(heard.segments)

    asyncio.run(run())


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, its key beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subject = ["-subj", "/CN=box", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", tmp_path / "key.pem", "-out", path]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return path


def test_a_password_travels_over_tls_and_a_wrong_one_is_never_shown(
    listening, traces, tmp_path: Path, certificate: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, tmp_path / "key.pem")

    async def run() -> None:
        refusal = {"AUTH USERPASS me wr0ng": "ERROR AUTH no"}
        async with Server(hold(traces), (4,), answers=refusal, context=context) as server:
            config = {"tls": True, "ca_file": str(certificate), "user": "me"}
            good = client(server, tmp_path, password="right", **config)
            async with listening(good) as heard:
                await heard.until(lambda: len(heard.segments) == len(server.held))
            assert "AUTH USERPASS me right" in server.heard
            bad = client(server, tmp_path, password="wr0ng", **config)
            async with listening(bad) as heard:
                await heard.until(lambda: bad.problems != [])
                assert bad.problems == [f"{bad.name}: refuses AUTH: ERROR AUTH no"]
            stranger = client(server, tmp_path, tls=True)
            async with listening(stranger) as heard:
                await heard.until(lambda: stranger.problems != [])
                assert "CERTIFICATE_VERIFY_FAILED" in stranger.problems[0]

    asyncio.run(run())


def test_positions_are_readable_by_people(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "seedlink.json")
    positions.note("a:1", "CI.CLC..HHZ", 5, 7)
    positions.save()
    assert json.loads((tmp_path / "seedlink.json").read_text()) == {
        "servers": {"a:1": {"CI.CLC": {"sequence": 5, "until_ns": {"CI.CLC..HHZ": 7}}}}
    }
