"""One SeedLink session as a server, of protocol 3 or 4, without the socket.

Bytes that came go in, bytes to be sent come out, and, when the client has said what it wants, the
requests that are to be served. Protocol 4 is that of the FDSN, protocol 3 what SeisComP's server
and ringserver agree on. A client begins in 3 and goes to 4 by `SLPROTO 4.0`.

    HELLO, {STATION, {SELECT}, DATA | FETCH | TIME}, END, packets …       multi-station
    HELLO, {SELECT}, DATA | FETCH | TIME, packets …                       protocol 3, uni-station

Uni-station mode is that of the first station. Where DATA names no packet, it is the next one; FETCH
without a number gives all that there is, and so does `DATA ALL` of protocol 4.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal, Protocol

from box.seedlink.selectors import (
    SelectorError,
    Selectors,
    glob,
    parse_time,
    station_pattern,
    stream_id,
)

LONGEST_LINE = 2048  # bytes, without its end
MOST_REQUESTS = 100  # STATION commands of a client
MOST_SELECTORS = 100  # of a request
MOST_BAD = 100  # lines that are no command
CAPABILITIES = ("SLPROTO:3.1", "SLPROTO:4.0", "NSWILDCARD", "BATCH", "TIME")
SOFTWARE = f"SeedLink v4.0 (diting-smart-box/{version('diting-smart-box')})"
_HEADER_4 = struct.Struct("<2s2sIQB")  # signature, format, payload, sequence, bytes of station id
_END_OF_LINE = re.compile(rb"[\r\n]")
_24_BITS = 0xFFFFFF

Code = Literal["UNSUPPORTED", "UNEXPECTED", "LIMIT", "ARGUMENTS"]


@dataclass
class Request:
    """What a client wants of some stations.

    after: sequence number behind which to begin, by station; a station that is not in it: with the
        next record
    start_ns, end_ns: of the window that a record must touch, None where it is open
    dialup: end when all that there is has been given
    """

    stations: list[str]  # NET.STA
    selectors: Selectors = field(default_factory=Selectors)
    after: dict[str, int] = field(default_factory=dict)
    start_ns: int | None = None
    end_ns: int | None = None
    dialup: bool = False
    exact: bool = True  # the station was named without a wildcard


class Catalogue(Protocol):
    """What there is, as a session needs to know it."""

    organization: str

    @property
    def stations(self) -> Sequence[str]:
        """NET.STA of those that are served."""
        ...

    def newest(self, station_id: str) -> int:
        """Sequence number of its newest record."""
        ...

    def oldest(self, station_id: str) -> int:
        """Sequence number before which there is none."""
        ...

    def info(
        self, protocol: int, item: str, wants: StationFilter, trusted: bool
    ) -> tuple[bytes, bool]:
        """The packets that answer INFO, and whether it could be answered."""
        ...


@dataclass(frozen=True)
class StationFilter:
    """Of INFO in protocol 4."""

    station: str = "*"
    stream: str = "*"

    def has(self, station_id: str) -> bool:
        return glob(self.station).fullmatch(station_id.replace(".", "_")) is not None

    def has_channel(self, channel: str) -> bool:
        return glob(self.stream).fullmatch(stream_id(channel)) is not None


class Refused(Exception):
    """A command that is not carried out: its code, and a few words."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class ServerSession:
    """One client's session.

    streaming: it has said what it wants: `requests` are to be served
    closed: what is to be sent is sent, then the connection is closed
    bad: lines that were no command, or one out of place
    """

    def __init__(self, catalogue: Catalogue, trusted: bool = False) -> None:
        """trusted: may know who else is connected"""
        self.protocol = 3
        self.requests: list[Request] = []
        self.streaming = False
        self.closed = False
        self.bad = 0
        self.agent = ""
        self._catalogue = catalogue
        self._trusted = trusted
        self._buffer = bytearray()
        self._uni = Request([])  # what SELECT says before any STATION
        self._station: Request | None = None  # the last one that was accepted
        self._ignoring = False  # what belongs to a STATION that was not
        self._batch = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes in; returns the replies."""
        self._buffer += data
        replies = bytearray()
        while not self.closed and (end := _END_OF_LINE.search(self._buffer)):
            line = bytes(self._buffer[: end.start()])
            del self._buffer[: end.end()]
            if len(line) > LONGEST_LINE:
                replies += self._too_long()
            elif words := line.decode("ascii", "replace").split():
                replies += self._obey(words)
        if not self.closed and len(self._buffer) > LONGEST_LINE:
            replies += self._too_long()
        return bytes(replies)

    def _too_long(self) -> bytes:
        self.bad += 1
        self.closed = True
        self._buffer.clear()
        return self._error(Refused("LIMIT", "line too long"))

    def _obey(self, words: list[str]) -> bytes:
        reply = self._carry_out(words)
        self.closed |= self.bad > MOST_BAD
        return reply

    def _carry_out(self, words: list[str]) -> bytes:
        name, arguments = words[0].upper(), words[1:]
        if name == "INFO":
            return self._info(arguments)
        if name == "BYE":
            self.closed = True
            return b""
        if self.streaming:  # nothing else may be said now, and there is no answer to it
            self.bad += 1
            return b""
        command = (_COMMANDS_4 if self.protocol == 4 else _COMMANDS_3).get(name)
        try:
            if command is None:
                raise Refused("UNSUPPORTED", f"{name[:20]}: no such command")
            reply = command(self, arguments)
        except Refused as refusal:
            self.bad += refusal.code != "LIMIT"
            return self._error(refusal)
        except SelectorError as error:
            return self._error(Refused("ARGUMENTS", str(error)))
        if reply is not None:
            return reply
        return b"" if self._batch else b"OK\r\n"

    def _error(self, refusal: Refused) -> bytes:
        if self._batch or self.streaming:
            return b""
        return (
            f"ERROR {refusal.code} {refusal}\r\n".encode() if self.protocol == 4 else b"ERROR\r\n"
        )

    # Each command returns its reply, None for OK. Raises Refused, SelectorError.

    def _hello(self, arguments: list[str]) -> bytes:
        line = f"{SOFTWARE} :: {' '.join(CAPABILITIES)}"
        return f"{line}\r\n{self._catalogue.organization}\r\n".encode()

    def _slproto(self, arguments: list[str]) -> None:
        if self.requests:
            raise Refused("UNEXPECTED", "stations are requested already")
        if arguments in (["4.0"], ["4"]):
            self.protocol = 4
        elif arguments in (["3.0"], ["3.1"], ["3"]):
            self.protocol = 3
        else:
            raise Refused("UNSUPPORTED", "no such protocol version")

    def _useragent(self, arguments: list[str]) -> None:
        self.agent = "".join(c for c in " ".join(arguments) if c.isprintable())[:100]

    def _auth(self, arguments: list[str]) -> bytes:
        raise Refused("UNSUPPORTED", "no authentication here")

    def _capabilities(self, arguments: list[str]) -> None:
        """What the client can, of which nothing follows."""

    def _getcapabilities(self, arguments: list[str]) -> bytes:
        return f"{' '.join(CAPABILITIES)}\r\n".encode()

    def _start_batch(self, arguments: list[str]) -> bytes:
        self._batch = True
        return b"OK\r\n"

    def _cat(self, arguments: list[str]) -> bytes:
        lines = (" ".join(station.split(".")) for station in self._catalogue.stations)
        return "".join(f"{line}\r\n" for line in lines).encode() + b"END"

    def _request(self, arguments: list[str]) -> None:
        """STATION"""
        self._station, self._ignoring = None, True
        if self.protocol == 4:
            if len(arguments) != 1:
                raise Refused("ARGUMENTS", "STATION takes one argument")
            name = arguments[0]
        else:
            if len(arguments) not in (1, 2):
                raise Refused("ARGUMENTS", "STATION takes one or two arguments")
            name = "_".join(
                [*arguments[1:], arguments[0]] if len(arguments) > 1 else ["*", *arguments]
            )
        if len(self.requests) >= MOST_REQUESTS:
            raise Refused("LIMIT", "too many stations")
        pattern = station_pattern(name)
        taken = {station for request in self.requests for station in request.stations}
        found = [
            station
            for station in self._catalogue.stations
            if pattern.fullmatch(station.replace(".", "_"))
        ]
        if not found:
            raise Refused("ARGUMENTS", "no such station")
        exact = not set("*?") & set(name)
        wanted = [station for station in found if station not in taken]
        self._station = Request(wanted, exact=exact)
        self._ignoring = False
        self.requests.append(self._station)

    def _current(self) -> Request:
        if self._ignoring:
            raise Refused("UNEXPECTED", "the station was not accepted")
        if self._station is None and self.protocol == 4:
            raise Refused("UNEXPECTED", "no station is requested")
        return self._station or self._uni

    def _select(self, arguments: list[str]) -> None:
        request = self._current()
        if not arguments and self.protocol == 3:
            request.selectors = Selectors()
            return
        if len(arguments) != 1:
            raise Refused("ARGUMENTS", "SELECT takes one argument")
        if len(request.selectors) >= MOST_SELECTORS:
            raise Refused("LIMIT", "too many selectors")
        request.selectors.add(arguments[0], self.protocol)

    def _data(self, arguments: list[str]) -> bytes | None:
        return self._action(arguments[:1], arguments[1:], dialup=False)

    def _fetch(self, arguments: list[str]) -> bytes | None:
        return self._action(arguments[:1] or ["ALL"], arguments[1:], dialup=True)

    def _time(self, arguments: list[str]) -> bytes | None:
        """`TIME begin [end]`, or with a comma between the two."""
        if len(arguments) == 1 and arguments[0].count(",") == 11:
            fields = arguments[0].split(",")
            arguments = [",".join(fields[:6]), ",".join(fields[6:])]
        if not arguments:
            raise Refused("ARGUMENTS", "TIME takes one or two arguments")
        return self._action(["ALL"], arguments, dialup=False)

    def _action(self, number: list[str], window: list[str], dialup: bool) -> bytes | None:
        """Where to begin, and from when to when; in uni-station mode packets follow at once."""
        request = self._current()
        if len(window) > 2:
            raise Refused("ARGUMENTS", "too many arguments")
        times = [parse_time(text) for text in window]
        if request is self._uni:
            request.stations = list(self._catalogue.stations[:1])
        request.after = self._begin(request, number[0] if number else "-1")
        request.start_ns, request.end_ns = [*times, None, None][:2]
        request.dialup = dialup
        if request is not self._uni:
            return None
        if not request.stations:
            raise Refused("UNEXPECTED", "no station is served")
        self.requests = [request]
        self.streaming = True
        return b""

    def _begin(self, request: Request, number: str) -> dict[str, int]:
        """Station -> sequence number behind which to begin."""
        catalogue = self._catalogue
        if number == "-1":
            return {station: catalogue.newest(station) for station in request.stations}
        if number.upper() == "ALL":
            return {station: catalogue.oldest(station) - 1 for station in request.stations}
        digits = r"\d{1,20}" if self.protocol == 4 else r"(0x)?[0-9a-f]{1,8}"
        if not re.fullmatch(digits, number, re.ASCII | re.IGNORECASE):
            raise Refused("ARGUMENTS", "not a sequence number")
        if not request.exact:
            raise Refused("ARGUMENTS", "a sequence number needs a station without wildcards")
        if self.protocol == 4:
            first = int(number)
            return {s: min(first - 1, catalogue.newest(s)) for s in request.stations}
        low = int(number, 16) & _24_BITS
        return {s: _widened(low, catalogue.newest(s) + 1) - 1 for s in request.stations}

    def _end(self, arguments: list[str]) -> bytes:
        if not self.requests:
            raise Refused("UNEXPECTED", "no station is requested")
        for request in self.requests:
            for station in request.stations:
                request.after.setdefault(station, self._catalogue.newest(station))
        self.streaming = True
        return b""

    def _endfetch(self, arguments: list[str]) -> bytes:
        reply = self._end(arguments)
        for request in self.requests:
            request.dialup = True
        return reply

    def _info(self, arguments: list[str]) -> bytes:
        item = arguments[0].upper() if arguments else ""
        wants = StationFilter(*(a.split(".")[0] for a in arguments[1:3]))
        answer, good = self._catalogue.info(self.protocol, item, wants, self._trusted)
        self.bad += not good
        return answer


_COMMON = {
    "HELLO": ServerSession._hello,
    "SLPROTO": ServerSession._slproto,
    "USERAGENT": ServerSession._useragent,
    "AUTH": ServerSession._auth,
    "STATION": ServerSession._request,
    "SELECT": ServerSession._select,
    "DATA": ServerSession._data,
    "FETCH": ServerSession._fetch,
    "END": ServerSession._end,
}
_COMMANDS_3 = _COMMON | {
    "TIME": ServerSession._time,
    "CAPABILITIES": ServerSession._capabilities,
    "BATCH": ServerSession._start_batch,
    "CAT": ServerSession._cat,
}
_COMMANDS_4 = _COMMON | {
    "ENDFETCH": ServerSession._endfetch,
    "GETCAPABILITIES": ServerSession._getcapabilities,
}


def _widened(low: int, limit: int) -> int:
    """The largest number up to a limit with these 24 bits at its end."""
    number = (limit & ~_24_BITS) | low
    return number if number <= limit else number - _24_BITS - 1


def packet(protocol: int, station_id: str, sequence: int, record: bytes) -> bytes:
    """A record as the client gets it."""
    if protocol == 4:
        return packet_4(b"2D", station_id, sequence, record)
    return b"SL%06X" % (sequence & _24_BITS) + record


def packet_4(kind: bytes, station_id: str, sequence: int, payload: bytes) -> bytes:
    """kind: format and subformat"""
    name = station_id.replace(".", "_").encode()
    return _HEADER_4.pack(b"SE", kind, len(payload), sequence, len(name)) + name + payload
