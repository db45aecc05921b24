"""Answers to SeedLink's INFO: XML in miniSEED log records (protocol 3), or JSON (protocol 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import msgspec
from pymseed import DataEncoding, MS3Record

from box.record_store import Stream
from box.seedlink.protocol import CAPABILITIES, SOFTWARE, packet_4
from box.seedlink.selectors import stream_id
from ringbuffer.records import RECORD
from ringbuffer.segment import NS

ITEMS_3 = ("ID", "CAPABILITIES", "STATIONS", "STREAMS", "GAPS", "CONNECTIONS")
ITEMS_4 = ("ID", "FORMATS", "CAPABILITIES", "STATIONS", "STREAMS", "CONNECTIONS")
_CAPABILITIES_3 = (
    "dialup",
    "multistation",
    "window-extraction",
    *(f"info:{item.lower()}" for item in ITEMS_3),
)
_FORMATS = {
    "2": {"mimetype": "application/vnd.fdsn.mseed", "subformat": {"D": "data"}},
    "J": {"mimetype": "application/json", "subformat": {"I": "info", "E": "error"}},
}


@dataclass(frozen=True)
class Station:
    """What a station has; sequence numbers of its oldest record and of the next one."""

    station_id: str  # NET.STA
    oldest: int
    next: int
    streams: dict[str, Stream]  # NET.STA.LOC.CHA -> what there is of it


@dataclass(frozen=True)
class Client:
    """Somebody who is connected."""

    host: str
    port: int
    since_ns: int
    agent: str
    sent: int  # packets
    bytes: int


@dataclass(frozen=True)
class Info:
    """What is to be told. clients: None where that is nobody's business"""

    organization: str
    began_ns: int
    now_ns: int
    stations: Sequence[Station]
    clients: Sequence[Client] | None

    def packets(self, protocol: int, item: str) -> tuple[bytes, bool]:
        """The packets of the answer, and whether there is one."""
        refused = item == "CONNECTIONS" and self.clients is None
        if protocol == 4:
            good = item in ITEMS_4 and not refused
            document = self._json(item) if good else self._json("ID") | _refusal(refused)
            payload = msgspec.json.encode(document)
            return packet_4(b"JI" if good else b"JE", "", 0, payload), good
        good = item in ITEMS_3 and not refused
        return _log_records(self._xml(item if good else "ID"), good, self.now_ns), good

    def _json(self, item: str) -> dict[str, Any]:
        document: dict[str, Any] = {"software": SOFTWARE, "organization": self.organization}
        if item == "FORMATS":
            document["format"] = _FORMATS
            document["filter"] = {"native": "as recorded"}
        elif item == "CAPABILITIES":
            document["capability"] = list(CAPABILITIES)
        elif item in ("STATIONS", "STREAMS"):
            document["station"] = [_station_4(s, item == "STREAMS") for s in self.stations]
        elif item == "CONNECTIONS":
            document["connections"] = {"client": [_client_4(c) for c in self.clients or ()]}
        return document

    def _xml(self, item: str) -> bytes:
        root = Element(
            "seedlink",
            software=SOFTWARE,
            organization=self.organization,
            started=_slashed(self.began_ns),
        )
        if item == "CAPABILITIES":
            for name in _CAPABILITIES_3:
                SubElement(root, "capability", name=name)
        elif item in ("STATIONS", "STREAMS", "GAPS", "CONNECTIONS"):
            for station in self.stations:
                self._station_3(root, station, item)
        return b'<?xml version="1.0"?>' + tostring(root)

    def _station_3(self, root: Element, station: Station, item: str) -> None:
        network, code = station.station_id.split(".")
        empty = station.next == station.oldest
        node = SubElement(
            root,
            "station",
            name=code,
            network=network,
            description=station.station_id,
            begin_seq="000000" if empty else f"{station.oldest & 0xFFFFFF:06X}",
            end_seq="000000" if empty else f"{station.next & 0xFFFFFF:06X}",
            stream_check="enabled",
        )
        if item == "CONNECTIONS":
            for client in self.clients or ():
                SubElement(
                    node,
                    "connection",
                    host=client.host,
                    port=str(client.port),
                    ctime=_slashed(client.since_ns),
                    begin_seq="0",
                    current_seq="0",
                    sequence_gaps="0",
                    txcount=str(client.sent),
                    totBytes=str(client.bytes),
                    begin_seq_valid="no",
                    realtime="yes",
                    end_of_data="no",
                )
        elif item in ("STREAMS", "GAPS"):
            for channel, stream in station.streams.items():
                _stream_3(node, channel, stream, item == "GAPS")


def _stream_3(node: Element, channel: str, stream: Stream, with_gaps: bool) -> None:
    _, _, location, code = channel.split(".")
    child = SubElement(
        node,
        "stream",
        seedname=code,
        location=location,
        type="D",
        begin_time=_slashed(stream.begin_ns),
        end_time=_slashed(stream.end_ns),
        begin_recno="0",
        end_recno="0",
        gap_check="enabled",
        gap_treshold="1",  # in the spelling that clients know
    )
    if with_gaps:
        for begin_ns, end_ns in stream.gaps:
            SubElement(child, "gap", begin_time=_slashed(begin_ns), end_time=_slashed(end_ns))


def _station_4(station: Station, with_streams: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": station.station_id.replace(".", "_"),
        "description": station.station_id,
        "start_seq": station.oldest,
        "end_seq": station.next,
        "backfill": -1,
    }
    if with_streams:
        told["stream"] = [
            {
                "id": stream_id(channel),
                "format": "2",
                "subformat": "D",
                "origin": "native",
                "start_time": _iso(stream.begin_ns),
                "end_time": _iso(stream.end_ns),
            }
            for channel, stream in station.streams.items()
        ]
    return told


def _client_4(client: Client) -> dict[str, Any]:
    return {
        "host": client.host,
        "port": client.port,
        "connect_time": _iso(client.since_ns),
        "client_id": client.agent,
        "transmit_packets": client.sent,
        "transmit_bytes": client.bytes,
    }


def _refusal(unauthorized: bool) -> dict[str, Any]:
    code = "UNAUTHORIZED" if unauthorized else "ARGUMENTS"
    message = "for clients on this machine only" if unauthorized else "no such item"
    return {"error": {"code": code, "message": message}}


def _log_records(text: bytes, good: bool, now_ns: int) -> bytes:
    """As packets: an asterisk in the header of all but the last."""
    record = MS3Record(reclen=RECORD, encoding=DataEncoding.TEXT)
    record.sourceid = "FDSN:XX_INFO__I_N_F" if good else "FDSN:XX_INFO__E_R_R"
    record.formatversion = 2
    record.starttime = now_ns
    raws: Iterable[bytes] = record.generate(text, "t")
    *more, last = raws
    return b"".join(b"SLINFO *" + raw for raw in more) + b"SLINFO  " + last


def _iso(time_ns: int) -> str:
    return (
        f"{datetime.fromtimestamp(time_ns // NS, UTC):%Y-%m-%dT%H:%M:%S}.{time_ns % NS // 1000:06}Z"
    )


def _slashed(time_ns: int) -> str:
    """As SeisComP's server writes it."""
    time = datetime.fromtimestamp(time_ns // NS, UTC)
    return f"{time:%Y/%m/%d %H:%M:%S}.{time_ns % NS // 100_000:04}"
