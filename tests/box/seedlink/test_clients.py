"""obspy's SeedLink clients and ours follow the server, are cut off, and resume."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from contextlib import suppress
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

from bench.emulators.recorder import CHANNELS, NOISE, START, Recorder, by_channel, until
from box.clock import SystemClock
from box.config import SeedLinkConfig
from box.packer import Packer
from box.sources.positions import Positions
from box.sources.seedlink import SeedLinkSource
from ringbuffer.segment import NS, Segment


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
