"""One SeedLink session as a client, of protocol 3 or 4, without the socket.

Bytes that came go in, packets and bytes to be sent come out. Protocol 4 is that of the FDSN,
protocol 3 what servers of before speak:

    HELLO, [SLPROTO 4.0, USERAGENT, AUTH,] {STATION, {SELECT}, DATA or TIME}, END, packets …
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from box.sources.live import SourceLost
from ringbuffer.segment import NS

Protocol = Literal[3, 4]
_Handshake = Generator[str | None, str, None]  # yields commands, gets the line that answers each
LONGEST_LINE = 8192
LARGEST_PAYLOAD = 1 << 20
_RECORD = 512  # bytes of every record in protocol 3
_HEADER_3 = re.compile(rb"SL([0-9A-F]{6})")
_HEADER_4 = struct.Struct("<2s2sIQB")  # signature, format, payload, sequence, bytes of station id
_USER_AGENT = "diting-smart-box"


class Packet(NamedTuple):
    """A record as the server sent it, and its place in the station's sequence."""

    sequence: int
    payload: bytes  # one miniSEED record


@dataclass(frozen=True)
class Wanted:
    """A station, what of it, and from where on: behind a sequence number of this server, from a
    time (ns since 1970), or from now, whichever of them is known and accepted first."""

    station: str  # NET.STA
    streams: tuple[str, ...]  # LOC.CHA
    after: int | None = None
    since_ns: int | None = None


@dataclass(frozen=True)
class Credentials:
    """For AUTH, which exists in protocol 4 alone. In no `repr`."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def command(self) -> str | None:
        if self.token is not None:
            return f"AUTH JWT {self.token}"
        if self.user is not None:
            return f"AUTH USERPASS {self.user} {self.password or ''}"
        return None


class Session:
    """One connection's state. `protocol`: what is spoken, None until that is settled.

    Raises SourceLost where the server refuses, or says what is not in the protocol.
    """

    def __init__(
        self,
        wanted: list[Wanted],
        protocol: Protocol | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """protocol: the only one to be spoken; None takes 4 where the server has it, else 3."""
        self.protocol: Protocol | None = None
        self.streaming = False
        self.refused: list[str] = []  # what of the wanted the server would not give
        self._wanted = wanted
        self._only = protocol
        self._credentials = credentials or Credentials()
        self._buffer = bytearray()
        self._outgoing = bytearray()
        self._handshake = self._shake_hands()
        self._command(next(self._handshake))

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def keep_alive(self) -> None:
        """Ask for something small; before the data flow, nothing can be asked."""
        if self.streaming:
            self._command("INFO ID")

    def receive(self, data: bytes) -> None:
        """Take bytes in; `outgoing` and `packets` have what becomes of them."""
        self._buffer += data
        while not self.streaming and (line := self._line()) is not None:
            try:
                self._command(self._handshake.send(line))
            except StopIteration:
                self._command("END")  # to which there is no answer but the data
                self.streaming = True

    def packets(self) -> Iterator[Packet]:
        """The packets that have come completely, once each."""
        buffer = self._buffer
        while self.streaming and len(buffer) >= 8:
            packet, length = self._packet_4() if self.protocol == 4 else self._packet_3()
            if not length:
                return
            del buffer[:length]
            if packet is not None:
                yield packet
        if self.streaming and bytes(buffer) == b"END":
            raise SourceLost("has sent all that it has")

    def _command(self, command: str | None) -> None:
        if command is not None:
            self._outgoing += f"{command}\r\n".encode()

    def _line(self) -> str | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > LONGEST_LINE:
                raise SourceLost("does not speak SeedLink: a line without an end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.decode("ascii", "replace").strip()

    def _shake_hands(self) -> _Handshake:
        hello = yield "HELLO"
        if not hello.upper().startswith("SEEDLINK"):
            raise SourceLost(f"does not speak SeedLink: {hello[:80]!r}")
        yield None  # the second line names the data centre
        offers_4 = re.search(r"SLPROTO:4\.", hello) is not None
        if self._only == 4 and not offers_4:
            raise SourceLost("does not speak SeedLink 4")
        self.protocol = 4 if offers_4 and self._only != 3 else 3
        if self.protocol == 4:
            yield from self._insist("SLPROTO 4.0")
            yield from self._insist(f"USERAGENT {_USER_AGENT}")
        if (auth := self._credentials.command()) is not None:
            if self.protocol == 3:
                raise SourceLost("credentials are configured, but SeedLink 3 has no AUTH")
            yield from self._insist(auth)
        accepted = 0
        for wanted in self._wanted:
            accepted += yield from self._ask_for(wanted)
        if not accepted:
            raise SourceLost(f"gives nothing: {'; '.join(self.refused)}")

    def _insist(self, command: str) -> _Handshake:
        answer = yield command
        if not _is_ok(answer):
            # The name of the command alone: the rest may be a password.
            raise SourceLost(f"refuses {command.split()[0]}: {answer[:200]}")

    def _ask_for(self, wanted: Wanted) -> Generator[str | None, str, bool]:
        network, station = wanted.station.split(".")
        name = f"{network}_{station}" if self.protocol == 4 else f"{station} {network}"
        if not (yield from self._accepts(f"STATION {name}")):
            return False
        selected = 0
        for stream in wanted.streams:
            selected += yield from self._accepts(f"SELECT {self._selector(stream)}")
        if not selected:  # without a selector that was accepted, everything would come
            return False
        for request in self._requests(wanted):
            if (yield from self._accepts(request)):
                return True
        return False

    def _accepts(self, command: str) -> Generator[str | None, str, bool]:
        answer = yield command
        if not _is_ok(answer):
            self.refused.append(f"{command}: {answer[:200]}")
        return _is_ok(answer)

    def _selector(self, stream: str) -> str:
        location, code = stream.split(".")
        if self.protocol == 4:
            return f"{location}_{code[0]}_{code[1]}_{code[2:]}"
        # An empty location has no spelling that every server knows: any, and ours is filtered out.
        return f"{location}{code}.D"

    def _requests(self, wanted: Wanted) -> Iterator[str]:
        four = self.protocol == 4
        if wanted.after is not None:
            following = wanted.after + 1
            yield f"DATA {following}" if four else f"DATA {following & 0xFFFFFF:06X}"
        if wanted.since_ns is not None:
            since = datetime.fromtimestamp(wanted.since_ns // NS, UTC)  # a second that has begun
            yield (
                f"DATA ALL {since:%Y-%m-%dT%H:%M:%SZ}"
                if four
                else f"TIME {since:%Y,%m,%d,%H,%M,%S}"
            )
        yield "DATA"

    def _packet_3(self) -> tuple[Packet | None, int]:
        """A packet, None for information, and its length, 0 while it is not complete."""
        header = bytes(self._buffer[:8])
        match = _HEADER_3.fullmatch(header)
        if match is None and not header.startswith(b"SLINFO"):
            raise SourceLost(f"sends what is no packet: {header!r}")
        if len(self._buffer) < 8 + _RECORD:
            return None, 0
        record = bytes(self._buffer[8 : 8 + _RECORD])
        return (Packet(int(match[1], 16), record) if match else None), 8 + _RECORD

    def _packet_4(self) -> tuple[Packet | None, int]:
        if not self._buffer.startswith(b"SE"):
            raise SourceLost(f"sends what is no packet: {bytes(self._buffer[:8])!r}")
        if len(self._buffer) < _HEADER_4.size:
            return None, 0
        _, kind, payload, sequence, name = _HEADER_4.unpack_from(self._buffer)
        if payload > LARGEST_PAYLOAD:
            raise SourceLost(f"sends a packet of {payload} bytes")
        begin = _HEADER_4.size + name
        if len(self._buffer) < begin + payload:
            return None, 0
        if kind[:1] not in (b"2", b"3"):  # an answer to INFO, say
            return None, begin + payload
        return Packet(sequence, bytes(self._buffer[begin : begin + payload])), begin + payload


def _is_ok(answer: str) -> bool:
    return answer.upper().split(" ", 1)[0] == "OK"
