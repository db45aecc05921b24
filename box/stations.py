"""Stations, their channels and instruments, from FDSN StationXML or CSV."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, Protocol
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from box.response import UNITS, Response

ALWAYS_NS = 2**63 - 1
MAX_BYTES = 200_000_000  # of a metadata file; a larger one is refused
COLUMNS = ("station_id", "latitude", "longitude", "elevation_m")
SENSITIVITY = "sensitivity_counts_per_m_s"
MOVED_DEG = 0.01  # two positions of one station that differ by more contradict each other
_STATION_ID = re.compile(r"[A-Z0-9-]{1,8}\.[A-Z0-9-]{1,8}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIMITS = {"latitude": (-90.0, 90.0), "longitude": (-180.0, 180.0), "elevation": (-11e3, 9e3)}
_VELOCITY_INSTRUMENTS = "HLP"  # second letter of a channel code: seismometers and geophones


class StationError(Exception):
    """Station metadata that cannot be used; one clear line per mistake."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel during one epoch."""

    location: str
    code: str
    start_ns: int = 0
    end_ns: int = ALWAYS_NS
    azimuth_deg: float | None = None  # clockwise from north
    dip_deg: float | None = None  # down from the horizontal: -90 is a normal vertical
    rate: float | None = None
    response: Response | None = None

    @property
    def vertical_sign(self) -> int:
        """1 where counts grow as the ground rises, -1 on a reversed vertical, 0 for the rest.

        Either its dip says that it is reversed, or its sensitivity is negative.
        """
        if self.dip_deg is None or abs(self.dip_deg) < 45:
            return 0
        sign = -1 if self.dip_deg > 0 else 1
        return -sign if self.response and self.response.sensitivity < 0 else sign


@dataclass(frozen=True, slots=True)
class Station:
    """Where a station stands, and what its channels measure.

    sensitivity: counts per m/s of those seismometer channels that `channels` does not describe
    """

    station_id: str  # NET.STA
    latitude: float
    longitude: float
    elevation_m: float = 0.0
    channels: tuple[Channel, ...] = ()
    sensitivity: float | None = None

    def channel(self, channel_id: str, time_ns: int) -> Channel | None:
        """The epoch of a channel (NET.STA.LOC.CHA) at a time, None where none is described."""
        location, code = channel_id.split(".")[2:]
        for channel in self.channels:
            if (channel.location, channel.code) == (location, code) and (
                channel.start_ns <= time_ns < channel.end_ns
            ):
                return channel
        return None

    def response(self, channel_id: str, time_ns: int) -> Response | None:
        """The instrument of a channel at a time, None where it is not known."""
        channel = self.channel(channel_id, time_ns)
        if channel is not None:
            return channel.response
        code = channel_id.rsplit(".", 1)[1]
        if self.sensitivity is not None and code[1:2] and code[1] in _VELOCITY_INSTRUMENTS:
            return Response(self.sensitivity)
        return None

    def vertical_sign(self, channel_id: str, time_ns: int) -> int:
        """As `Channel.vertical_sign`; a Z that is not described is taken as a normal vertical."""
        channel = self.channel(channel_id, time_ns)
        if channel is None or channel.dip_deg is None:
            return 1 if channel_id.endswith("Z") else 0
        return channel.vertical_sign


class Site(Protocol):
    """Anything with a station id and coordinates."""

    @property
    def station_id(self) -> str: ...
    @property
    def latitude(self) -> float: ...
    @property
    def longitude(self) -> float: ...
    @property
    def elevation_m(self) -> float: ...


def simple_station(site: Site, sensitivities: Mapping[str, float]) -> Station:
    """A station of flat seismometers: NET.STA.LOC.CHA -> counts per m/s."""
    orientation = {"Z": (0.0, -90.0), "N": (0.0, 0.0), "E": (90.0, 0.0)}
    channels = []
    for channel_id, sensitivity in sensitivities.items():
        location, code = channel_id.split(".")[2:]
        azimuth, dip = orientation.get(code[-1:], (None, None))
        response = Response(sensitivity)
        channels.append(
            Channel(location, code, azimuth_deg=azimuth, dip_deg=dip, response=response)
        )
    return Station(
        site.station_id, site.latitude, site.longitude, site.elevation_m, tuple(channels)
    )


def load_stations(path: Path) -> tuple[dict[str, Station], list[str]]:
    """Read a StationXML or CSV file, or a folder of such -> stations by id, and problems.

    CSV: `station_id,latitude,longitude,elevation_m` and, optionally,
    `sensitivity_counts_per_m_s`. A problem is one line that names file and field; what it
    concerns is left out, the rest is returned. Of a station that occurs several times in
    StationXML the channels are put together, and the position of the latest epoch holds; one
    that contradicts itself within an epoch, or occurs twice in CSV, is a problem, and the first
    one stands. Raises StationError, with all problems, where no station is left.
    """
    reader = _Reader()
    if not path.exists():
        raise StationError(f"{path}: no such file or folder")
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in (".xml", ".csv"))
        if not files:
            raise StationError(f"{path}: no .xml or .csv file in it")
    else:
        files = [path]
    for file in files:
        try:
            reader.read(file)
        except StationError as error:
            reader.problems.append(f"{file}: {error}")
    if not reader.stations:
        raise StationError("\n".join(reader.problems) or f"{path}: no station in it")
    return reader.stations, reader.problems


class _Reader:
    """Collects stations and problems over several files."""

    def __init__(self) -> None:
        self.stations: dict[str, Station] = {}
        self.problems: list[str] = []
        self._since_ns: dict[str, int] = {}  # beginning of the epoch whose position holds

    def read(self, file: Path) -> None:
        """Raises StationError, without the file's name, where nothing of it can be used."""
        try:
            if file.stat().st_size > MAX_BYTES:
                raise StationError(f"more than {MAX_BYTES} bytes")
            content = file.read_bytes()
        except OSError as error:
            raise StationError(f"cannot be read: {error.strerror}") from None
        if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            self._read_xml(file, content)
        else:
            self._read_csv(file, content)

    def _read_csv(self, file: Path, content: bytes) -> None:
        try:
            rows = csv.DictReader(content.decode("utf-8-sig").splitlines(), skipinitialspace=True)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise StationError(f"line 1: no column {', '.join(missing)}")
            for row in rows:
                try:
                    self._add_row(row)
                except StationError as error:
                    self.problems.append(f"{file}: line {rows.line_num}: {error}")
        except (UnicodeDecodeError, csv.Error) as error:
            raise StationError(f"neither StationXML nor CSV: {error}") from None

    def _add_row(self, row: dict[str, str | None]) -> None:
        station_id = _checked_id((row["station_id"] or "").strip())
        if station_id in self.stations:
            raise StationError(f"station_id: {station_id} a second time")
        sensitivity = None
        if row.get(SENSITIVITY):
            sensitivity = _number(SENSITIVITY, row[SENSITIVITY])
            if sensitivity == 0:
                raise StationError(f"{SENSITIVITY}: 0")
        latitude, longitude, elevation = (_number(name, row[name]) for name in COLUMNS[1:])
        self.stations[station_id] = Station(
            station_id, latitude, longitude, elevation, sensitivity=sensitivity
        )

    def _read_xml(self, file: Path, content: bytes) -> None:
        root = _parse_xml(content)
        if root.tag != "FDSNStationXML":
            raise StationError(f"not StationXML: its root is {root.tag!r}")
        for network in root.iterfind("Network"):
            for element in network.iterfind("Station"):
                name = f"{network.get('code', '')}.{element.get('code', '')}"
                place = f"{file}: station {name}"
                try:
                    self._add_element(place, _checked_id(name), element)
                except StationError as error:
                    self.problems.append(f"{place}: {error}")

    def _add_element(self, place: str, station_id: str, element: Element) -> None:
        since_ns = _time_ns(element, "startDate", 0)
        latitude, longitude, elevation = (
            _number(tag, element.findtext(tag)) for tag in ("Latitude", "Longitude", "Elevation")
        )
        station = Station(station_id, latitude, longitude, elevation)
        channels = tuple(self._channels(place, element))
        known = self.stations.get(station_id)
        if known is not None:
            channels = known.channels + channels
            if since_ns == self._since_ns[station_id] and _differ(known, station):
                raise StationError("Latitude, Longitude: differ from what was read before")
            if since_ns < self._since_ns[station_id]:
                station, since_ns = known, self._since_ns[station_id]
        self._since_ns[station_id] = since_ns
        self.stations[station_id] = replace(station, channels=channels)

    def _channels(self, place: str, station: Element) -> Iterator[Channel]:
        for element in station.iterfind("Channel"):
            location = element.get("locationCode", "").strip().replace("--", "")
            code = element.get("code", "")
            try:
                yield Channel(
                    location,
                    code,
                    _time_ns(element, "startDate", 0),
                    _time_ns(element, "endDate", ALWAYS_NS),
                    _optional(element, "Azimuth"),
                    _optional(element, "Dip"),
                    _optional(element, "SampleRate"),
                    _response(element),
                )
            except StationError as error:
                self.problems.append(f"{place}: channel {location}.{code}: {error}")


def _parse_xml(content: bytes) -> Element:
    """An element tree without namespaces. Raises StationError, for any document type as well.

    A document type is where entities are declared that grow without limit, or name files.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True

    def refuse(*_: Any) -> NoReturn:
        raise StationError("a document type (DTD) is not allowed")

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag.rpartition("}")[2], attributes)

    def end(tag: str) -> None:
        builder.end(tag.rpartition("}")[2])

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise StationError(f"not XML: {error}") from None
    return builder.close()


def _response(channel: Element) -> Response | None:
    """The response of a channel, None where the file has none, or none for ground motion."""
    stated = channel.find("Response/InstrumentSensitivity")
    if stated is None:
        return None
    units = (stated.findtext("InputUnits/Name") or "").strip().upper().replace("^", "**")
    units = {"M/S/S": "M/S**2", "M/(S**2)": "M/S**2", "M/S2": "M/S**2"}.get(units, units)
    if units not in UNITS:
        return None
    sensitivity = _number("InstrumentSensitivity/Value", stated.findtext("Value"))
    if sensitivity == 0:
        raise StationError("InstrumentSensitivity/Value: 0")
    zeros: list[complex] = []
    poles: list[complex] = []
    for stage in channel.iterfind("Response/Stage/PolesZeros"):
        kind = stage.findtext("PzTransferFunctionType") or ""
        if kind.startswith("LAPLACE"):
            scale = 2 * math.pi if "HERTZ" in kind else 1.0
            zeros += [scale * _complex(z) for z in stage.iterfind("Zero")]
            poles += [scale * _complex(p) for p in stage.iterfind("Pole")]
    frequency = _number("InstrumentSensitivity/Frequency", stated.findtext("Frequency"))
    if any(abs(2j * math.pi * frequency - root) == 0 for root in zeros + poles):
        raise StationError(f"InstrumentSensitivity/Frequency: {frequency:g} Hz is a pole or zero")
    return Response(sensitivity, units, frequency, tuple(zeros), tuple(poles))


def _complex(root: Element) -> complex:
    name = f"PolesZeros/{root.tag}"
    return complex(
        _number(f"{name}/Real", root.findtext("Real")),
        _number(f"{name}/Imaginary", root.findtext("Imaginary")),
    )


def _checked_id(station_id: str) -> str:
    if not _STATION_ID.fullmatch(station_id):
        raise StationError(f"station_id: {station_id!r} is not NET.STA")
    return station_id


def _number(name: str, text: str | None) -> float:
    """A finite number, within the limits of a coordinate where it is one."""
    if text is None or not text.strip():
        raise StationError(f"{name}: missing")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise StationError(f"{name}: {text.strip()!r} is not a number")
    low, high = _LIMITS.get(name.lower().removesuffix("_m"), (-math.inf, math.inf))
    if not low <= value <= high:
        raise StationError(f"{name}: {value:g} is not between {low:g} and {high:g}")
    return value


def _optional(element: Element, tag: str) -> float | None:
    text = element.findtext(tag)
    return None if text is None else _number(tag, text)


def _time_ns(element: Element, attribute: str, default: int) -> int:
    text = element.get(attribute)
    if not text:
        return default
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise StationError(f"{attribute}: {text!r} is not a time") from None
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return min((utc - _EPOCH) // timedelta(microseconds=1) * 1000, ALWAYS_NS)


def _differ(a: Station, b: Station) -> bool:
    return max(abs(a.latitude - b.latitude), abs(a.longitude - b.longitude)) > MOVED_DEG
