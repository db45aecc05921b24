"""A small SeedLink server of protocols 3 and 4, over real sockets."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.emulators.miniseed import miniseed
from box.sources.record import read_record
from ringbuffer.segment import NS, Segment


@dataclass
class Held:
    """A record in the server's buffer."""

    sequence: int
    channel: str
    end_ns: int
    payload: bytes


@dataclass
class Server:
    """What a SeedLink server is, as far as a client can tell.

    held: what it has of its stations, in the order in which it came
    cuts: hang up after so many packets of the first, the second … connection
    sent: sequence number -> how often it was sent
    answers: to commands that it does not answer with OK
    """

    held: list[Held]
    protocols: tuple[int, ...] = (3,)
    cuts: list[int] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    answers_info: bool = True
    context: ssl.SSLContext | None = None
    heard: list[str] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)
    connections: int = 0
    told_all: bool = False  # on the connection that is not cut any more
    port: int = 1

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        protocol = 3
        wanted: dict[str, tuple[set[str], list[Held]]] = {}
        station = ""
        try:
            while line := (await reader.readline()).decode().strip():
                self.heard.append(line)
                word, *rest = line.split()
                if word == "HELLO":
                    offers = " ".join(f"SLPROTO:{p}.0" for p in self.protocols)
                    writer.write(f"SeedLink v3.1 (test) :: {offers}\r\nnowhere\r\n".encode())
                    continue
                if word == "INFO":
                    if self.answers_info:
                        info = b"SLINFO *" + bytes(512)
                        writer.write(info if protocol == 3 else _packet_4(0, b"JI", b"", b"{}"))
                    continue
                if word == "END":
                    await self._send(writer, protocol, wanted)
                    continue
                if line not in self.answers:
                    if word == "SLPROTO":
                        protocol = int(rest[0][0])
                    elif word == "STATION":
                        parts = rest[0].split("_") if protocol == 4 else rest[::-1]
                        station = ".".join(parts)
                        wanted[station] = set(), []
                    elif word == "SELECT":
                        code = rest[0].removesuffix(".D").replace("_", "")
                        wanted[station][0].add(code)
                    elif word in ("DATA", "TIME"):
                        held = [h for h in self.held if h.channel.startswith(station + ".")]
                        wanted[station] = wanted[station][0], self._from(held, protocol, word, rest)
                writer.write(f"{self.answers.get(line, 'OK')}\r\n".encode())
        except ConnectionError:
            pass
        finally:
            writer.close()

    @staticmethod
    def _from(held: list[Held], protocol: int, word: str, rest: list[str]) -> list[Held]:
        """From which packet on: by sequence, in hexadecimal before protocol 4, or by time."""
        if word == "TIME" or rest[:1] == ["ALL"]:
            kind = "%Y,%m,%d,%H,%M,%S" if word == "TIME" else "%Y-%m-%dT%H:%M:%SZ"
            since = datetime.strptime(rest[-1], kind).replace(tzinfo=UTC).timestamp()
            return [h for h in held if h.end_ns > since * NS]
        if not rest:
            return held
        first = int(rest[0], 10 if protocol == 4 else 16)
        if protocol == 4:
            return [h for h in held if h.sequence >= first]
        behind = [(h.sequence - first) % 0x1000000 < 0x800000 for h in held]  # they wrap
        return held[behind.index(True) :] if True in behind else []

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        protocol: int,
        wanted: dict[str, tuple[set[str], list[Held]]],
    ) -> None:
        chosen = [
            (station, h)
            for station, (codes, held) in wanted.items()
            for h in held
            if {h.channel[-3:], "".join(h.channel.split(".")[2:])} & codes
        ]
        cut = self.cuts.pop(0) if self.cuts else None
        for number, (station, h) in enumerate(chosen):
            if number == cut:
                raise ConnectionResetError
            self.sent[h.sequence] += 1
            if protocol == 4:
                kind = b"3D" if h.payload.startswith(b"MS") else b"2D"
                name = station.replace(".", "_").encode()
                writer.write(_packet_4(h.sequence, kind, name, h.payload))
            else:
                writer.write(b"SL%06X" % (h.sequence & 0xFFFFFF) + h.payload)
            await writer.drain()
        self.told_all = True


def _packet_4(sequence: int, kind: bytes, name: bytes, payload: bytes) -> bytes:
    return struct.pack("<2s2sIQB", b"SE", kind, len(payload), sequence, len(name)) + name + payload


def hold(traces: list[Segment], first: int = 0xFFFFF8, version: int = 2) -> list[Held]:
    """What a server holds of segments, in the order of the records' ends. first: sequence number"""
    found = []
    for trace in traces:
        begin = 0
        for record in miniseed(trace, version):
            content = read_record(record)
            assert content is not None
            begin += len(content[1])
            found.append((trace.time_ns(begin), trace.channel, record))
    found.sort()
    return [Held(first + n, channel, end, r) for n, (end, channel, r) in enumerate(found)]
