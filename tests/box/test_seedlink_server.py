"""The SeedLink server over real sockets: obspy's clients, ours, and sessions by hand."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from obspy import UTCDateTime, read
from obspy.clients.seedlink.basic_client import Client
from obspy.clients.seedlink.easyseedlink import EasySeedLinkClient
from obspy.clients.seedlink.slclient import SLClient
from obspy.clients.seedlink.slpacket import SLPacket

import box.seedlink_server
from box.archive import Archive
from box.clock import SystemClock
from box.config import SeedLinkConfig, SeedLinkServerConfig
from box.packer import Packer
from box.record_store import RecordStore
from box.seedlink_server import BATCH, BUFFER, SeedLinkServer
from box.sources.positions import Positions
from box.sources.seedlink import SeedLinkSource
from ringbuffer.records import RECORD
from ringbuffer.segment import NS, Segment

STATIONS = ["XX.ABC", "XX.DEF"]
CHANNELS = [f"{station}.00.HH{c}" for station in STATIONS for c in "ZN"]
START = 1_562_259_000 * NS
NOISE = np.random.default_rng(8).integers(-2000, 2000, 400_000).astype(np.int32)


def packet(number: int, channel: str) -> Segment:
    first = 100 * number + 1000 * CHANNELS.index(channel)
    return Segment(channel, START + number * NS, Fraction(100), NOISE[first : first + 100])


class Recorder:
    """A server over what two stations record, and the archive of it."""

    def __init__(self, folder: Path, ring: int = 1 << 20, **config: Any) -> None:
        self.archive = Archive(folder / "sds", 100, 100, lambda: 2 * START)
        self.store = RecordStore(folder, STATIONS, ring, 0)
        self.packer = Packer([self.store, self.archive], 1e6, time.monotonic_ns)
        config = {"port": 0} | config
        self.server = SeedLinkServer(SeedLinkServerConfig(**config), self.store, SystemClock())
        self.seconds = 0

    async def __aenter__(self) -> Recorder:
        self._task = asyncio.create_task(self.server.run())
        await until(lambda: self.server.port != 0 or bool(self.server.problems))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.store.close()

    def record(self, seconds: int) -> None:
        for number in range(self.seconds, self.seconds + seconds):
            for channel in CHANNELS:
                self.packer.take(packet(number, channel))
        self.seconds += seconds

    def archived(self, channels: Iterable[str]) -> dict[str, bytes]:
        """What the archive has of channels."""
        return {c: b"".join(self.archive.last_of_day(c, START, 1 << 20)) for c in channels}

    async def record_until(self, true: Callable[[], bool]) -> None:
        """Second by second, until something is so."""

        def step() -> bool:
            if not true():
                self.record(1)
            return true()

        await until(step)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def by_channel(raws: Iterable[bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for raw in raws:
        name = f"{raw[18:20].decode()}.{raw[8:13].decode().strip()}.{raw[13:15].decode()}.HH"
        name += raw[17:18].decode()
        found[name] = found.get(name, b"") + raw
    return found


class Session:
    """By hand, as with telnet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, recorder: Recorder, *lines: str) -> Session:
        """Connected, and through with commands that are answered by OK."""
        session = cls(*await asyncio.open_connection("127.0.0.1", recorder.server.port))
        for line in lines:
            assert await session.say(line) == b"OK", line
        return session

    async def say(self, line: str) -> bytes:
        self.writer.write(f"{line}\r\n".encode())
        async with asyncio.timeout(30):
            return (await self.reader.readline()).strip()

    def start(self, line: str = "END") -> None:
        self.writer.write(f"{line}\r\n".encode())

    async def packets(self, count: int, protocol: int) -> list[tuple[int, bytes]]:
        """Sequence numbers and records; fewer, where END comes first."""
        found = []
        async with asyncio.timeout(30):
            while len(found) < count:
                head = await self.reader.readexactly(3)
                if head == b"END":
                    assert await self._is_silent()
                    return found
                if protocol == 3:
                    head += await self.reader.readexactly(5)
                    found.append((int(head[2:], 16), await self.reader.readexactly(RECORD)))
                    continue
                head += await self.reader.readexactly(14)
                _, kind, length, sequence, name = struct.unpack("<2s2sIQB", head)
                station = await self.reader.readexactly(name)
                payload = await self.reader.readexactly(length)
                assert (kind, length) == (b"2D", RECORD)
                assert station == payload[18:20] + b"_" + payload[8:13].strip()
                found.append((sequence, payload))
        return found

    async def _is_silent(self) -> bool:
        """Nothing comes behind END, and the connection is left to the client to close."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                return not await self.reader.read(1)
        return True

    def close(self) -> None:
        self.writer.transport.abort()


class Following(EasySeedLinkClient):
    """obspy's, with a deadline; keeps the bytes of what it gets."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__(f"127.0.0.1:{port}", autoconnect=False)
        self.conn.timeout = 30  # connecting without one fails in obspy 1.4 and 1.5
        self.count = count
        self.raws: list[bytes] = []
        self.samples = 0
        collect = self.conn.collect

        def remember() -> Any:
            found = collect()
            if isinstance(found, SLPacket) and found.get_type() > 0:
                self.raws.append(bytes(found.msrecord))
            return found

        self.conn.collect = remember
        self.connect()

    def on_data(self, trace: Any) -> None:
        self.samples += trace.stats.npts
        if len(self.raws) == self.count:
            raise StopIteration


def test_obspys_easy_client_follows_and_has_the_bytes_of_the_archive(tmp_path: Path) -> None:
    started: list[Following] = []

    def follow(port: int) -> Following:
        client = Following(port, 60)
        assert client.has_info_capability("streams")
        assert 'name="DEF"' in client.get_info("STATIONS")
        client.select_stream("XX", "ABC", "HHZ")
        client.select_stream("XX", "DEF", "HH?.D")
        started.append(client)
        with suppress(StopIteration):
            client.run()
        client.close()
        return client

    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            recorder.record(30)
            following = asyncio.create_task(asyncio.to_thread(follow, recorder.server.port))
            await until(lambda: recorder.server.clients == 1)
            await recorder.record_until(following.done)
            client = await following
            got = by_channel(client.raws)
            archived = recorder.archived(CHANNELS)
            assert set(got) == {"XX.ABC.00.HHZ", "XX.DEF.00.HHZ", "XX.DEF.00.HHN"}
            for channel, raw in got.items():
                assert raw in archived[channel]  # one after the other
            assert client.samples == sum(trace.stats.npts for trace in read_all(got.values()))

    asyncio.run(run())


def read_all(raws: Iterable[bytes]) -> list[Any]:
    import io

    return [trace for raw in raws for trace in read(io.BytesIO(raw))]


@pytest.mark.parametrize("seed", range(3))
def test_obspys_client_with_a_state_file_loses_and_repeats_nothing(
    tmp_path: Path, seed: int
) -> None:
    """It is stopped and started again, and so is the server."""
    rng = Random(seed)
    raws: list[bytes] = []
    state = tmp_path / "state"

    def follow(port: int, count: int) -> None:
        client = SLClient(timeout=30)
        client.slconn.set_sl_address(f"127.0.0.1:{port}")
        client.multiselect = "XX_ABC:00HH?.D"
        state.touch()
        client.statefile = str(state)
        client.initialize()

        def keep(number: int, found: Any) -> bool:
            raws.append(bytes(found.msrecord))
            return number == count

        client.run(packet_handler=keep)

    async def run() -> None:
        seconds = 0
        for _ in range(4):
            async with Recorder(tmp_path) as recorder:
                recorder.packer.resume(recorder.store.tails("XX.ABC"))
                recorder.seconds = seconds
                recorder.record(3)  # while nobody listens
                for _ in range(2):
                    count = rng.randrange(1, 12)
                    following = asyncio.create_task(
                        asyncio.to_thread(follow, recorder.server.port, count)
                    )
                    await recorder.record_until(following.done)
                    await following
                finish(recorder.packer)
                seconds = recorder.seconds
                held, _ = recorder.store.rings["XX.ABC"].read(0, 1 << 20)
        numbered = [record.raw for _, record in held]
        begin = numbered.index(raws[0])
        assert raws == numbered[begin : begin + len(raws)]
        assert len(raws) > 10

    asyncio.run(run())


def finish(packer: Packer) -> None:
    """What waits goes into short records, as when the process ends in order."""
    for name, channel in packer._channels.items():
        packer._pack(name, channel, everything=True)


def test_obspys_basic_client_gets_a_window_of_the_past(tmp_path: Path) -> None:
    begin, end = UTCDateTime(START / NS + 100), UTCDateTime(START / NS + 160)

    def ask(port: int) -> tuple[Any, Any]:
        client = Client("127.0.0.1", port, timeout=30)
        return client.get_waveforms("XX", "ABC", "00", "HH?", begin, end), client.get_info(
            level="channel"
        )

    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            recorder.record(300)
            stream, channels = await asyncio.to_thread(ask, recorder.server.port)
            archived = recorder.archived(c for c in CHANNELS if ".ABC." in c)
            assert sorted(channels) == sorted(tuple(c.split(".")) for c in CHANNELS)
            assert sorted(trace.id for trace in stream) == sorted(archived)
            for trace in stream:
                [whole] = read_all([archived[trace.id]])
                whole.trim(begin, end)
                assert np.array_equal(trace.data, whole.data)
                assert trace.stats.starttime == begin

    asyncio.run(run())


class Cutting:
    """Between client and server: hangs up after so many bytes of each connection."""

    def __init__(self, port: int, cuts: Iterable[int]) -> None:
        self._to = port
        self._cuts = iter(cuts)
        self.connections = 0

    async def __aenter__(self) -> Cutting:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        left = next(self._cuts, 1 << 40)
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        upwards = asyncio.create_task(self._pump(reader, back))
        try:
            while left > 0 and (data := await there.read(1 << 16)):
                writer.write(data[:left])
                left -= len(data)
        finally:
            upwards.cancel()
            back.transport.abort()
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)


@pytest.mark.parametrize("protocol", [3, 4])
def test_our_client_loses_and_repeats_nothing_wherever_it_is_cut_off(
    listening, tmp_path: Path, protocol: int
) -> None:
    """In the handshake, in a header, in a record, between two."""
    rng = Random(protocol)
    cuts = [10, 100, 140, 1500, 1501, 1508, 1520, 2000, *(rng.randrange(4000) for _ in range(12))]

    async def at_once(delay_s: float) -> None:
        await asyncio.sleep(0)

    async def run() -> None:
        async with (
            Recorder(tmp_path) as recorder,
            Cutting(recorder.server.port, cuts) as between,
        ):
            config = SeedLinkConfig(
                host="127.0.0.1", port=between.port, protocol=protocol, channels=CHANNELS
            )
            positions = Positions(tmp_path / "seedlink.json")
            source = SeedLinkSource(config, positions, SystemClock(), Random(1), at_once)
            async with listening(source) as heard:
                await recorder.record_until(
                    lambda: (
                        between.connections > len(cuts)
                        and {s.channel for s in heard.segments} == set(CHANNELS)
                    )
                )
                recorder.record(5)
                await until(lambda: len(heard.segments) >= sent(recorder, heard.segments))
            for channel in CHANNELS:
                parts = [s for s in heard.segments if s.channel == channel]
                first = (parts[0].start_ns - START) * 100 // NS + 1000 * CHANNELS.index(channel)
                got = np.concatenate([part.samples for part in parts])
                assert np.array_equal(got, NOISE[first : first + len(got)])
                assert parts[-1].end_ns == recorder.store.ends(channel.rsplit(".", 2)[0])[channel]
            assert source.counters.gaps == 0

    asyncio.run(run())


def sent(recorder: Recorder, segments: list[Segment]) -> int:
    """Records from the first that came, of all channels."""
    count = 0
    for station, ring in recorder.store.rings.items():
        records = [record for _, record in ring.read(0, 1 << 20)[0]]
        mine = [s for s in segments if s.channel.startswith(station)]
        if not mine:
            return 1 << 40
        starts = [(r.channel, r.start_ns) for r in records]
        count += len(records) - min(starts.index((s.channel, s.start_ns)) for s in mine[:1])
    return count


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_session_by_hand_over_two_stations_has_the_bytes_of_the_archive(
    tmp_path: Path, protocol: int
) -> None:
    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            recorder.record(100)
            if protocol == 3:
                commands = [
                    command
                    for station in STATIONS
                    for command in (f"STATION {station[3:]} XX", "SELECT HHZ", "FETCH")
                ]
                end = "END"
            else:
                commands = ["SLPROTO 4.0", "STATION XX_*", "SELECT *_Z", "DATA ALL"]
                end = "ENDFETCH"
            session = await Session.open(recorder, *commands)
            session.start(end)
            packets = await session.packets(1 << 20, protocol)
            wanted = recorder.archived(c for c in CHANNELS if c.endswith("Z"))
            assert by_channel(raw for _, raw in packets) == wanted
            session.close()

    asyncio.run(run())


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_session_is_resumed_at_every_record(tmp_path: Path, protocol: int) -> None:
    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            recorder.record(20)
            station = "STATION ABC XX" if protocol == 3 else "STATION XX_ABC"
            before = ["SLPROTO 4.0"] if protocol == 4 else []
            held, _ = recorder.store.rings["XX.ABC"].read(0, 1 << 20)
            for seq, _ in [*held, (held[-1][0] + 1, None)]:
                number = f"{seq:06X}" if protocol == 3 else str(seq)
                session = await Session.open(recorder, *before, station, f"DATA {number}")
                session.start()
                recorder.record(1)
                expected = recorder.store.rings["XX.ABC"].read(seq - 1, 3)[0]
                packets = await session.packets(len(expected), protocol)
                assert packets == [(n, record.raw) for n, record in expected]
                session.close()

    asyncio.run(run())


def test_a_window_that_is_still_to_come_ends_when_it_has(tmp_path: Path, monkeypatch) -> None:
    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            monkeypatch.setattr(recorder.server._clock, "now_ns", lambda: START + 100 * NS)
            recorder.record(100)
            session = await Session.open(
                recorder,
                "SLPROTO 4.0",
                "STATION XX_ABC",
                "SELECT *_Z",
                "DATA ALL 2019-07-04T16:51:10Z 2019-07-04T16:52:00Z",
            )
            session.start()
            receiving = asyncio.create_task(session.packets(1 << 20, 4))
            await recorder.record_until(receiving.done)
            raws = [raw for _, raw in await receiving]
            whole = recorder.archived(["XX.ABC.00.HHZ"])["XX.ABC.00.HHZ"]
            assert b"".join(raws) in whole
            [trace] = read_all([b"".join(raws)])
            assert trace.stats.starttime <= UTCDateTime(START / NS + 70) + 0.001
            assert trace.stats.endtime >= UTCDateTime(START / NS + 120) - 0.011
            assert trace.stats.npts < 5000 + 2 * 700
            session.close()

    asyncio.run(run())


def test_a_window_of_a_station_that_is_dead_ends_by_the_clock(tmp_path: Path) -> None:
    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            recorder.record(10)  # and then nothing; it is much later now
            session = await Session.open(
                recorder, "STATION ABC XX", "TIME 2019,7,4,16,50,0 2019,7,4,17,50,0"
            )
            session.start()
            held, _ = recorder.store.rings["XX.ABC"].read(0, 1 << 20)
            assert [raw for _, raw in await session.packets(1 << 20, 3)] == [
                record.raw for _, record in held
            ]

    asyncio.run(run())


def test_uni_station_mode_gives_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            recorder.record(20)
            session = await Session.open(recorder, "SELECT 00HHN.D")
            session.start("FETCH")
            packets = await session.packets(1 << 20, 3)
            channel = "XX.ABC.00.HHN"
            assert by_channel(raw for _, raw in packets) == recorder.archived([channel])

    asyncio.run(run())


def test_info_comes_between_packets_and_bye_ends_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            recorder.record(20)
            session = await Session.open(recorder, "STATION ABC XX", "DATA 1")
            session.start()
            first = await session.packets(3, 3)
            assert [seq for seq, _ in first] == [1, 2, 3]
            session.start("INFO ID")
            session.start("BYE")
            rest = await session.reader.read()
            heads = [rest[i : i + 8] for i in range(0, len(rest), 8 + RECORD)]
            assert len(rest) % (8 + RECORD) == 0
            assert heads.count(b"SLINFO  ") == 1
            assert recorder.server.clients == 0

    asyncio.run(run())


def test_a_client_that_does_not_read_holds_no_memory_and_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the ring has overtaken it: it goes on with the oldest, and that is counted."""
    monkeypatch.setattr(box.seedlink_server, "DIRECT", 8)

    async def run() -> None:
        async with Recorder(tmp_path, ring=1 << 17) as recorder:
            slow = await Session.open(recorder, "STATION ABC XX", "DATA")
            stop_reading(recorder, slow)
            slow.start()
            quick = await Session.open(recorder, "SLPROTO 4.0", "STATION XX_ABC", "DATA")
            quick.start()
            await until(lambda: all(c.session.streaming for c in connections(recorder)))
            ring = recorder.store.rings["XX.ABC"]
            got = []
            for _ in range(25):
                recorder.record(20)
                got += await quick.packets(ring.newest - len(got), 4)
                transports = [c.writer.transport for c in connections(recorder)]
                sizes = [t.get_write_buffer_size() for t in transports]
                assert max(sizes) <= BUFFER + BATCH * (8 + RECORD)
            assert [seq for seq, _ in got] == list(range(1, ring.newest + 1))
            assert recorder.server.counters["behind"] == 0  # it stands still
            slow.reader._limit = 1 << 16
            numbers = [0]
            while numbers[-1] < ring.newest:
                numbers += [seq for seq, _ in await slow.packets(1, 3)]
            assert recorder.server.counters["behind"] == 1
            jumps = [b for a, b in pairwise(numbers) if b != a + 1]
            assert jumps == [ring.oldest]

    asyncio.run(run())


def stop_reading(recorder: Recorder, session: Session) -> None:
    """No kernel's buffer hides that the client of the newest connection takes nothing."""
    connection = connections(recorder)[-1]
    for writer, option in (
        (connection.writer, socket.SO_SNDBUF),
        (session.writer, socket.SO_RCVBUF),
    ):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 4096)
    session.reader._limit = 1  # asyncio stops reading at twice that


def connections(recorder: Recorder) -> list[Any]:
    return list(recorder.server._clients.values())


def test_a_client_that_takes_nothing_is_left_after_a_while(tmp_path: Path) -> None:
    async def run() -> None:
        async with Recorder(tmp_path, idle_s=0.2) as recorder:
            recorder.record(100)
            session = await Session.open(recorder, "STATION ABC XX", "FETCH")
            stop_reading(recorder, session)
            session.start()
            while not recorder.server.counters["idle"]:
                recorder.record(10)
                await asyncio.sleep(0)
            await until(lambda: recorder.server.clients == 0)

    asyncio.run(run())


def test_a_client_that_does_not_say_what_it_wants_is_left(tmp_path: Path) -> None:
    async def run() -> None:
        async with Recorder(tmp_path, idle_s=0.05) as recorder:
            session = await Session.open(recorder, "STATION ABC XX")
            await until(lambda: recorder.server.counters["idle"] == 1)
            with suppress(ConnectionError):
                assert await session.reader.read() == b""

    asyncio.run(run())


def test_a_client_that_follows_in_silence_is_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with Recorder(tmp_path, idle_s=0.02) as recorder:
            session = await Session.open(recorder, "STATION ABC XX", "DATA")
            session.start()
            await asyncio.sleep(0.1)
            recorder.record(20)
            assert len(await session.packets(3, 3)) == 3

    asyncio.run(run())


@pytest.mark.parametrize(
    ("allow", "served"),
    [
        (["127.0.0.0/8"], True),
        (["192.0.2.0/24", "127.0.0.1"], True),
        (["192.0.2.0/24"], False),
        ([], False),
    ],
)
def test_only_those_on_the_list_are_served(tmp_path: Path, allow: list[str], served: bool) -> None:
    async def run() -> None:
        async with Recorder(tmp_path, allow=allow) as recorder:
            session = Session(*await asyncio.open_connection("127.0.0.1", recorder.server.port))
            with suppress(ConnectionError):
                hello = await session.say("HELLO")
                assert hello.startswith(b"SeedLink") == served
            assert recorder.server.counters["turned_away"] == (not served)

    asyncio.run(run())


def test_mapped_addresses_are_those_of_ipv4(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, allow=["192.0.2.0/24", "2001:db8::/32"])
    allowed = recorder.server._is_allowed
    assert allowed("::ffff:192.0.2.7")
    assert allowed("2001:db8::1%eth0")
    assert not allowed("::ffff:198.51.100.7")


def test_there_are_no_more_clients_than_may_be(tmp_path: Path) -> None:
    async def run() -> None:
        async with Recorder(tmp_path, max_clients=2) as recorder:
            sessions = [await Session.open(recorder, "STATION ABC XX") for _ in range(2)]
            third = Session(*await asyncio.open_connection("127.0.0.1", recorder.server.port))
            with suppress(ConnectionError):
                assert await third.say("HELLO") == b""
            sessions[0].close()
            await until(lambda: recorder.server.clients == 1)
            await Session.open(recorder, "STATION ABC XX")
            assert recorder.server.counters["turned_away"] == 1

    asyncio.run(run())


def test_a_port_that_is_taken_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box.seedlink_server, "RETRY_S", 0.01)

    async def run() -> None:
        occupant = socket.create_server(("127.0.0.1", 0))
        port = occupant.getsockname()[1]
        async with Recorder(tmp_path, port=port) as recorder:
            assert f"127.0.0.1:{port}: " in recorder.server.problems[0]
            occupant.close()
            await until(lambda: not recorder.server.problems)
            await Session.open(recorder, "STATION ABC XX")

    asyncio.run(run())


def test_rubbish_and_floods_cost_the_one_that_sends_them(tmp_path: Path) -> None:
    async def run() -> None:
        async with Recorder(tmp_path) as recorder:
            recorder.record(20)
            rubbish = Session(*await asyncio.open_connection("127.0.0.1", recorder.server.port))
            rubbish.writer.write(b"\x16\x03\x01" + bytes(range(256)) * 40)  # as of TLS
            flood = await Session.open(recorder)
            flood.writer.write(b"INFO STREAMS\r\n" * 20_000)  # and takes no answer
            session = await Session.open(recorder, "STATION ABC XX", "FETCH")
            session.start()
            assert len(await session.packets(1 << 20, 3)) == recorder.server.newest("XX.ABC")
            await until(lambda: recorder.server.counters["bad"] > 0)
            sizes = [c.writer.transport.get_write_buffer_size() for c in connections(recorder)]
            assert max(sizes) <= BUFFER + 40 * 10 * (8 + RECORD)

    asyncio.run(run())
