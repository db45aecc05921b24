"""SeedLink server, of protocols 3 and 4: whoever may connect follows what the box records.

Nobody can write. What a client gets are the bytes of the archive, under numbers that outlive the
process (`ringbuffer/records.py`), so that one that was cut off goes on behind its last record.

A client costs a batch of records and `BUFFER` bytes, never more: the next batch is read when it has
taken the last. One that is so slow that the ring overtakes it goes on with the oldest record
(`behind`); one that takes nothing for `idle_s`, or does not say within that what it wants, is left.
Old records are read in a thread, so that a slow card holds up nobody but the client, and in batches
with a breath between them for all clients together, so that picking goes first.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from box.clock import Clock
from box.config import BoxConfig, SeedLinkServerConfig
from box.record_store import RecordStore
from box.seedlink.info import Client, Info, Station
from box.seedlink.protocol import Request, ServerSession, StationFilter, packet
from ringbuffer.records import Finished
from ringbuffer.segment import NS
from uplink.tasks import end

_log = logging.getLogger(__name__)
BATCH = 64  # records
BUFFER = 1 << 16  # bytes that wait for a client, beside the batch at hand
DIRECT = 64  # so many records behind the newest are in memory anyway
BREATH_S = 0.005  # between two batches of old records, whoever gets them: a day takes five seconds
READ = 512  # bytes of commands at once
GRACE_S = 60.0  # behind a window's end, until what has not come of it is not waited for
LOOK_S = 10.0  # how often a client with a window is looked at without anything new
RETRY_S = 10.0  # until an address that cannot be had is tried again
KEEP_ALIVE_S = (60, 15, 4)  # TCP's own: after so much silence, so often, so many times


@dataclass(slots=True)
class _Cursor:
    """Where a client is in a station's ring."""

    station_id: str
    request: Request
    after: int
    wants: dict[bytes, bool] = field(default_factory=dict)  # by a record's station and channel

    def pick(self, records: Sequence[tuple[int, Finished]]) -> list[tuple[int, bytes]]:
        """Those that the client wants."""
        return [(seq, record.raw) for seq, record in records if self._has(record)]

    def _has(self, record: Finished) -> bool:
        start_ns, end_ns = self.request.start_ns, self.request.end_ns
        if start_ns is not None and record.end_ns <= start_ns:
            return False
        if end_ns is not None and record.start_ns >= end_ns:
            return False
        key = record.raw[8:20]
        wanted = self.wants.get(key)
        if wanted is None:
            wanted = self.wants[key] = self.request.selectors.match(record.channel)
        return wanted


class _Connection:
    """A client, and what it has been given."""

    def __init__(self, session: ServerSession, writer: asyncio.StreamWriter, since_ns: int) -> None:
        self.session = session
        self.writer = writer
        self.since_ns = since_ns
        self.host, self.port = writer.get_extra_info("peername")[:2]
        self.news = asyncio.Event()  # there may be something to do
        self.ended = False  # it has been told that there is no more
        self.records = 0
        self.bytes = 0

    async def send(self, content: bytes, within_s: float) -> None:
        """Raises OSError, and TimeoutError where the client takes nothing."""
        self.writer.write(content)
        self.bytes += len(content)
        async with asyncio.timeout(within_s):
            await self.writer.drain()


class SeedLinkServer:
    """counters: `connections`, `turned_away` (not on the list, or too many), `records` and `bytes`
    sent, `behind` (times that records were overwritten before a client had them), `idle` (clients
    that were left), `bad` (lines that were no command, or one out of place)

    port: that it listens on, 0 while it does not
    """

    def __init__(
        self,
        config: SeedLinkServerConfig,
        store: RecordStore,
        clock: Clock,
        longest_record_s: float = 0.0,
    ) -> None:
        """longest_record_s: that samples wait for their record to be full"""
        self.counters: Counter[str] = Counter()
        self.organization = config.organization
        self.port = 0
        self._config = config
        self._allow = [ip_network(network) for network in config.allow]
        self._store = store
        self._clock = clock
        self._grace_ns = round((GRACE_S + longest_record_s) * NS)
        self._began_ns = clock.now_ns()
        self._trouble = ""
        self._clients: dict[asyncio.Task[None], _Connection] = {}
        self._turn = asyncio.Lock()  # to read old records

    @property
    def problems(self) -> list[str]:
        """What is wrong with it now, a line each."""
        return [f"seedlink server: {self._trouble}"] if self._trouble else []

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    async def run(self) -> None:
        """Serve until cancelled; an address that cannot be had is tried again and again."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            loop.call_soon_threadsafe(self._tell)

        self._store.listeners.append(tell)
        try:
            while True:
                await self._listen_and_serve()
                await asyncio.sleep(RETRY_S)
        finally:
            self._store.listeners.remove(tell)

    async def _listen_and_serve(self) -> None:
        host, port = self._config.host, self._config.port
        try:
            server = await asyncio.start_server(self._accept, host, port, limit=READ)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            self._trouble = f"{host}:{port}: {reason}"
            _log.warning("seedlink server: %s", self._trouble)
            return
        self._trouble = ""
        self.port = server.sockets[0].getsockname()[1]
        _log.info("seedlink server at %s:%d", host, self.port)
        try:
            await asyncio.Event().wait()  # until cancelled
        finally:
            self.port = 0
            server.close()
            await end(self._clients)

    def _tell(self) -> None:
        for connection in self._clients.values():
            connection.news.set()

    def _is_allowed(self, host: str) -> bool:
        return any(_address(host) in network for network in self._allow)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        full = len(self._clients) >= self._config.max_clients
        if peer is None or full or not self._is_allowed(peer[0]):
            self.counters["turned_away"] += 1
            _log.info("seedlink server: turned away %s", peer)
            writer.transport.abort()
            return
        # Who else is connected is told on this machine alone.
        session = ServerSession(self, trusted=_address(peer[0]).is_loopback)
        connection = _Connection(session, writer, self._clock.now_ns())
        task = asyncio.create_task(self._attend(connection, reader))
        self._clients[task] = connection
        task.add_done_callback(self._forget)
        self.counters["connections"] += 1

    def _forget(self, task: asyncio.Task[None]) -> None:
        connection = self._clients.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("seedlink server: %s", connection.host, exc_info=error)

    async def _attend(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        transport = connection.writer.transport
        try:
            await self._serve(connection, reader)
        except TimeoutError:
            self.counters["idle"] += 1
            transport.abort()
        except OSError as error:
            _log.info("seedlink server: %s: %s", connection.host, error)
            transport.abort()
        finally:
            transport.close()
            # What it has not taken by then, it will not take.
            asyncio.get_running_loop().call_later(self._config.idle_s, transport.abort)

    async def _serve(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        """Until either side has had enough. Raises OSError, TimeoutError."""
        connection.writer.transport.set_write_buffer_limits(high=BUFFER)
        _keep_alive(connection.writer.get_extra_info("socket"))
        tasks = {
            asyncio.create_task(self._listen(connection, reader)),
            asyncio.create_task(self._stream(connection)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(tasks)
        for task in done:
            task.result()

    async def _listen(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        """Obey until the client has closed the connection, or said goodbye."""
        session = connection.session
        while not session.closed:
            patient = session.streaming and not connection.ended
            async with asyncio.timeout(None if patient else self._config.idle_s):
                data = await reader.read(READ)
            if not data:
                return
            bad = session.bad
            replies = session.receive(data)
            self.counters["bad"] += session.bad - bad
            await connection.send(replies, self._config.idle_s)
            connection.news.set()
            await asyncio.sleep(0)

    async def _stream(self, connection: _Connection) -> None:
        """Give what is wanted as it comes, and say END where that has an end."""
        session = connection.session
        while not session.streaming:
            connection.news.clear()
            await connection.news.wait()
        cursors = [
            _Cursor(station_id, request, request.after[station_id])
            for request in session.requests
            for station_id in request.stations
        ]
        windows = any(cursor.request.end_ns is not None for cursor in cursors)
        while True:
            connection.news.clear()
            given = [await self._give(connection, cursor) for cursor in cursors]
            if any(given):
                continue
            if all(self._is_done(cursor) for cursor in cursors):
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if windows else None):
                    await connection.news.wait()
        connection.ended = True
        await connection.send(b"END", self._config.idle_s)
        await asyncio.sleep(self._config.idle_s)  # the client closes the connection

    async def _give(self, connection: _Connection, cursor: _Cursor) -> bool:
        """A batch, if there is one. False where the client has all that there is."""
        ring = self._store.rings[cursor.station_id]
        if cursor.after >= ring.newest:
            return False
        if cursor.after < ring.oldest - 1:
            self.counters["behind"] += 1
            cursor.after = ring.oldest - 1
        if ring.newest - cursor.after <= DIRECT:
            records, until = ring.read(cursor.after, BATCH)
        else:
            async with self._turn:
                records, until = await asyncio.to_thread(ring.read, cursor.after, BATCH)
                await asyncio.sleep(BREATH_S)
        cursor.after = until
        if wanted := cursor.pick(records):
            protocol, name = connection.session.protocol, cursor.station_id
            frames = [packet(protocol, name, seq, raw) for seq, raw in wanted]
            await connection.send(b"".join(frames), self._config.idle_s)
            connection.records += len(wanted)
            self.counters["records"] += len(wanted)
            self.counters["bytes"] += sum(map(len, frames))
        await asyncio.sleep(0)  # a backlog leaves the others their turn
        return True

    def _is_done(self, cursor: _Cursor) -> bool:
        """Will nothing more come of what has been given as far as it goes?"""
        end_ns = cursor.request.end_ns
        if cursor.request.dialup:
            return True
        if end_ns is None:
            return False
        ends = [
            until_ns
            for channel, until_ns in self._store.ends(cursor.station_id).items()
            if cursor.request.selectors.match(channel)
        ]
        come = bool(ends) and min(ends) >= end_ns
        return come or self._clock.now_ns() > end_ns + self._grace_ns

    # What a session asks

    @property
    def stations(self) -> list[str]:
        return list(self._store.rings)

    def newest(self, station_id: str) -> int:
        return self._store.rings[station_id].newest

    def oldest(self, station_id: str) -> int:
        return self._store.rings[station_id].oldest

    def info(
        self, protocol: int, item: str, wants: StationFilter, trusted: bool
    ) -> tuple[bytes, bool]:
        stations = []
        for station_id in filter(wants.has, self._store.rings):
            streams = {
                channel: stream
                for channel, stream in self._store.streams(station_id).items()
                if wants.has_channel(channel)
            }
            oldest, newest = self.oldest(station_id), self.newest(station_id)
            stations.append(Station(station_id, oldest, newest + 1, streams))
        clients = [
            Client(c.host, c.port, c.since_ns, c.session.agent, c.records, c.bytes)
            for c in self._clients.values()
        ]
        told = Info(
            self.organization,
            self._began_ns,
            self._clock.now_ns(),
            stations,
            clients if trusted else None,
        )
        return told.packets(protocol, item)


def _address(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _keep_alive(connected: socket.socket) -> None:
    """So that a client whose network is gone does not stay for ever."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    for option, value in zip(options, KEEP_ALIVE_S, strict=True):
        connected.setsockopt(socket.IPPROTO_TCP, option, value)


def port_problems(config: BoxConfig) -> list[str]:
    """Whether the address can be listened on; of a box that runs, it is its own."""
    server = config.seedlink_server
    if server is None or any(_is_in_use(config, station.id) for station in config.stations):
        return []
    try:
        kind = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        socket.create_server((server.host, server.port), family=kind).close()
    except OSError as error:
        return [f"seedlink_server.port: {server.host}:{server.port}: {error.strerror}"]
    return []


def _is_in_use(config: BoxConfig, station_id: str) -> bool:
    """Does a process hold the records of a station?"""
    try:
        with (Path(config.data_dir) / f"{station_id}.records").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
