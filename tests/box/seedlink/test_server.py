"""The SeedLink server over real sockets: sessions by hand, and clients that are slow or rude."""

from __future__ import annotations

import asyncio
import io
import socket
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from obspy import UTCDateTime, read

import box.seedlink.server
from bench.emulators.recorder import CHANNELS, START, STATIONS, Recorder, Session, by_channel, until
from box.seedlink.server import BATCH, BUFFER
from ringbuffer.records import RECORD
from ringbuffer.segment import NS


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
            [trace] = read(io.BytesIO(b"".join(raws)))
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
    monkeypatch.setattr(box.seedlink.server, "DIRECT", 8)

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
    monkeypatch.setattr(box.seedlink.server, "RETRY_S", 0.01)

    async def run() -> None:
        occupant = socket.create_server(("127.0.0.1", 0))
        port = occupant.getsockname()[1]
        async with Recorder(tmp_path, port=port) as recorder:
            assert recorder.server.problems == [
                f"seedlink server: 127.0.0.1:{port}: Address already in use"
            ]
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
