"""SeedLink client: the stations and channels of one server, resumed where they broke off."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from random import Random

from box.clock import Clock
from box.config import SeedLinkConfig
from box.sources.live import LiveSource, Take
from box.sources.positions import Positions
from box.sources.record import RecordError, read_record
from box.sources.seedlink_session import Credentials, Packet, Session, Wanted
from ringbuffer.segment import NS, Flag

_log = logging.getLogger(__name__)
SAVE_EVERY_S = 10.0
HISTORICAL_NS = 300 * NS  # older than that on arrival: backfill, no cause for an alarm


class SeedLinkSource(LiveSource):
    """One server. Channels that nobody has asked for are not handed on.

    Where the line is silent for `keepalive_s` the server is asked for a sign of life; without any
    byte for `timeout_s` the connection is given up.
    """

    def __init__(
        self,
        config: SeedLinkConfig,
        positions: Positions,
        clock: Clock,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        name = f"seedlink {config.host}:{config.port}"
        super().__init__(name, list(config.channels), clock, random, sleep)
        self._config = config
        self._positions = positions
        self._server = f"{config.host}:{config.port}"
        self._refused: list[str] = []
        # Channels of which a record has said "clock locked", and where the last such one ended.
        self._locked_ns: dict[str, int] = {}

    @property
    def problems(self) -> list[str]:
        return [*super().problems, *(f"{self.name}: refuses {line}" for line in self._refused)]

    def skip(self, held: Mapping[str, int]) -> None:
        """Go on behind what is held: channel -> its end (ns), which a power cut may have set back
        behind what was read."""
        self._positions.go_back(held)

    async def run(self, take: Take) -> None:
        saving = asyncio.create_task(self._positions.keep_saving(SAVE_EVERY_S))
        try:
            await super().run(take)
        finally:
            saving.cancel()
            with suppress(OSError):  # a full disk costs some repetition, no more
                self._positions.save()

    async def connection(self, take: Take) -> None:
        config = self._config
        context = ssl.create_default_context(cafile=config.ca_file) if config.tls else None
        async with asyncio.timeout(config.timeout_s):
            reader, writer = await asyncio.open_connection(config.host, config.port, ssl=context)
        credentials = Credentials(config.user, config.password, config.token)
        session = Session(self._wanted(), config.protocol, credentials)
        try:
            await self._converse(reader, writer, session, take)
        finally:
            self._refused = session.refused
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    def _wanted(self) -> list[Wanted]:
        streams: dict[str, list[str]] = defaultdict(list)
        for channel in self.channels:
            network, station, stream = channel.split(".", 2)
            streams[f"{network}.{station}"].append(stream)
        return [
            Wanted(
                station_id,
                tuple(names),
                self._positions.sequence(self._server, station_id),
                self._positions.since_ns(station_id),
            )
            for station_id, names in streams.items()
        ]

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        session: Session,
        take: Take,
    ) -> None:
        """Until the server closes the connection. Raises OSError, TimeoutError, SourceLost."""
        config = self._config
        heard_ns = self._clock.monotonic_ns()
        while True:
            writer.write(session.outgoing())
            try:
                async with asyncio.timeout(config.keepalive_s):
                    data = await reader.read(1 << 16)
            except TimeoutError:
                if self._clock.monotonic_ns() - heard_ns > config.timeout_s * NS:
                    raise TimeoutError(f"silent for {config.timeout_s:g} s") from None
                session.keep_alive()
                continue
            if not data:
                return
            heard_ns = self._clock.monotonic_ns()
            self.counters.bytes += len(data)
            was_streaming = session.streaming
            session.receive(data)
            if session.streaming and not was_streaming:
                self.established()
            for packet in session.packets():
                self._digest(packet, take)
                await asyncio.sleep(0)  # a backlog leaves the others their turn

    def _digest(self, packet: Packet, take: Take) -> None:
        try:
            content = read_record(packet.payload)
        except RecordError as error:
            self.counters.bad += 1
            _log.info("%s: packet %d: %s", self.name, packet.sequence, error)
            return
        if content is None:
            return
        header, samples = content
        if header.channel not in self.channels:
            return
        locked_ns = self._locked_ns.get(header.channel)
        segment = header.segment(samples, locked_ns is not None, locked_ns)
        if header.locked:
            self._locked_ns[header.channel] = segment.end_ns
        if self._clock.now_ns() - segment.end_ns > HISTORICAL_NS:
            segment = replace(segment, flags=segment.flags | Flag.HISTORICAL)
        self.counters.frames += 1
        if self.deliver(segment, take):
            # Only now: what was not handed on is asked for again.
            self._positions.note(self._server, segment.channel, packet.sequence, segment.end_ns)
