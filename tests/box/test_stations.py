from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from box.response import Response
from box.stations import Station, StationError, load_stations, simple_station

NOW_NS = 1_562_259_000_000_000_000

CHANNEL = """<Channel code="{code}" locationCode="{location}" {dates}>
<Latitude>35.8</Latitude><Longitude>-117.6</Longitude><Elevation>775</Elevation>
<Depth>0</Depth><Azimuth>{azimuth}</Azimuth><Dip>{dip}</Dip><SampleRate>100</SampleRate>
{response}</Channel>"""
RESPONSE = """<Response><InstrumentSensitivity>
<Value>{value}</Value><Frequency>{frequency}</Frequency>
<InputUnits><Name>{units}</Name></InputUnits><OutputUnits><Name>COUNTS</Name></OutputUnits>
</InstrumentSensitivity><Stage number="1"><PolesZeros>
<PzTransferFunctionType>LAPLACE ({kind})</PzTransferFunctionType>
<Zero number="0"><Real>0</Real><Imaginary>0</Imaginary></Zero>
<Pole number="0"><Real>-1.5</Real><Imaginary>0.5</Imaginary></Pole>
</PolesZeros></Stage></Response>"""


def channel(
    code: str = "HHZ",
    response: str = "",
    location: str = "",
    dip: float = -90,
    azimuth: float = 0,
    dates: str = "",
) -> str:
    return CHANNEL.format(
        code=code, response=response, location=location, dip=dip, azimuth=azimuth, dates=dates
    )


def response(
    value: object = "6.3E8",
    units: str = "M/S",
    frequency: object = 1.0,
    kind: str = "RADIANS/SECOND",
) -> str:
    return RESPONSE.format(value=value, units=units, frequency=frequency, kind=kind)


def station(
    channels: str = "",
    code: str = "CLC",
    latitude: object = 35.81574,
    longitude: object = -117.59751,
    elevation: object = 775,
    dates: str = "",
) -> str:
    return (
        f'<Station code="{code}" {dates}><Latitude>{latitude}</Latitude>'
        f"<Longitude>{longitude}</Longitude><Elevation>{elevation}</Elevation>{channels}</Station>"
    )


def xml(*stations: str, version: int = 1) -> str:
    return (
        f'<?xml version="1.0"?><FDSNStationXML xmlns="http://www.fdsn.org/xml/station/{version}">'
        f'<Network code="CI">{"".join(stations)}</Network></FDSNStationXML>'
    )


def load(tmp_path: Path, content: str, name: str = "s.xml") -> tuple[dict[str, Station], list[str]]:
    (tmp_path / name).write_text(content)
    return load_stations(tmp_path / name)


def one(tmp_path: Path, content: str) -> Station:
    stations, problems = load(tmp_path, content)
    assert problems == []
    return stations["CI.CLC"]


def fails(tmp_path: Path, content: str, match: str, name: str = "s.xml") -> None:
    with pytest.raises(StationError, match=match) as caught:
        load(tmp_path, content, name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_position_and_channels_are_read(tmp_path: Path) -> None:
    found = one(tmp_path, xml(station(channel("HHE", response(), azimuth=90, dip=0))))
    assert (found.latitude, found.longitude, found.elevation_m) == (35.81574, -117.59751, 775)
    (east,) = found.channels
    assert (east.azimuth_deg, east.dip_deg, east.rate) == (90, 0, 100)
    assert east.response is not None
    assert east.response.sensitivity == 6.3e8
    assert (east.response.zeros, east.response.poles) == ((0j,), (-1.5 + 0.5j,))


def test_poles_in_hertz_are_not_taken_for_radians(tmp_path: Path) -> None:
    found = one(tmp_path, xml(station(channel(response=response(kind="HERTZ")))))
    instrument = found.response("CI.CLC..HHZ", NOW_NS)
    assert instrument is not None
    assert instrument.poles[0] == pytest.approx((-1.5 + 0.5j) * 2 * 3.141592653589793)


def test_the_epoch_of_the_time_counts(tmp_path: Path) -> None:
    before = channel(response=response(1), dates='endDate="2019-07-04T00:00:00Z"')
    after = channel(
        response=response(2), dates='startDate="2019-07-04T00:00:00" endDate="3000-01-01T00:00:00"'
    )
    found = one(tmp_path, xml(station(before + after)))
    for time_ns, value in ((1_562_198_399_999_999_999, 1), (1_562_198_400_000_000_000, 2)):
        instrument = found.response("CI.CLC..HHZ", time_ns)
        assert instrument is not None
        assert instrument.sensitivity == value


def test_a_channel_that_is_not_described_has_no_response(tmp_path: Path) -> None:
    found = one(tmp_path, xml(station(channel("EHZ", response()) + channel("HHZ"))))
    assert found.response("CI.CLC..HNZ", NOW_NS) is None
    assert found.response("CI.CLC.10.EHZ", NOW_NS) is None
    assert found.response("CI.CLC..HHZ", NOW_NS) is None
    assert found.response("CI.CLC..EHZ", NOW_NS) is not None


@pytest.mark.parametrize(
    ("dip", "value", "sign"),
    [(-90, 1, 1), (90, 1, -1), (-90, -1, -1), (90, -1, 1), (0, 1, 0), (-60, 1, 1)],
)
def test_reversed_verticals_are_known(tmp_path: Path, dip: float, value: float, sign: int) -> None:
    found = one(tmp_path, xml(station(channel(response=response(value), dip=dip))))
    assert found.channels[0].vertical_sign == sign
    assert found.vertical_sign("CI.CLC..HHZ", NOW_NS) == sign


def test_vertical_signs_without_metadata_follow_the_name() -> None:
    bare = Station("CI.CLC", 35.8, -117.6)
    assert bare.vertical_sign("CI.CLC..HNZ", NOW_NS) == 1
    assert bare.vertical_sign("CI.CLC..HNE", NOW_NS) == 0


@pytest.mark.parametrize(
    ("written", "meant"), [("m/s", "M/S"), ("M/S**2", "M/S**2"), ("m/s^2", "M/S**2"), ("M", "M")]
)
def test_units_are_never_mixed_up(tmp_path: Path, written: str, meant: str) -> None:
    found = one(tmp_path, xml(station(channel(response=response(units=written)))))
    instrument = found.response("CI.CLC..HHZ", NOW_NS)
    assert instrument is not None
    assert instrument.units == meant


def test_a_pressure_gauge_measures_no_ground_motion(tmp_path: Path) -> None:
    found = one(tmp_path, xml(station(channel("HDF", response(units="PA")))))
    assert found.response("CI.CLC..HDF", NOW_NS) is None


def test_any_version_of_the_namespace_and_none_are_read(tmp_path: Path) -> None:
    assert one(tmp_path, xml(station(), version=2))
    assert one(tmp_path, xml(station()).replace(' xmlns="http://www.fdsn.org/xml/station/1"', ""))


def test_a_folder_is_read_and_channels_of_a_station_put_together(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(xml(station(channel("HHZ", response()))))
    (tmp_path / "b.xml").write_text(xml(station(channel("HNZ", response())), station(code="DTP")))
    (tmp_path / "README").write_text("not read")
    stations, problems = load_stations(tmp_path)
    assert problems == []
    assert sorted(stations) == ["CI.CLC", "CI.DTP"]
    assert [c.code for c in stations["CI.CLC"].channels] == ["HHZ", "HNZ"]


def test_a_station_that_moved_is_where_it_was_last(tmp_path: Path) -> None:
    old = station(latitude=34, dates='startDate="1990-01-01T00:00:00"')
    new = station(latitude=35, dates='startDate="2010-01-01T00:00:00"')
    for order in ((old, new), (new, old)):
        assert one(tmp_path, xml(*order)).latitude == 35


def test_a_station_that_contradicts_itself_is_named(tmp_path: Path) -> None:
    stations, problems = load(tmp_path, xml(station(), station(latitude=36)))
    assert stations["CI.CLC"].latitude == 35.81574
    assert [line.removeprefix(f"{tmp_path / 's.xml'}: ") for line in problems] == [
        "station CI.CLC: Latitude, Longitude: differ from what was read before"
    ]


def test_all_mistakes_of_a_file_are_said_at_once_and_the_rest_is_used(tmp_path: Path) -> None:
    stations, problems = load(
        tmp_path,
        xml(
            station(code="A", latitude=""),
            station(code="B", longitude=200),
            station(code="C", elevation="high"),
            station(code="D", dates='startDate="someday"'),
            station(channel("HHZ", response(value="much")), code="E"),
            station(channel("HHZ", response(frequency=0)), code="F"),
            station(code="no dots. please"),
            station(),
        ),
    )
    assert sorted(stations) == ["CI.CLC", "CI.E", "CI.F"]  # the last two without these channels
    assert not stations["CI.E"].channels
    assert [line.removeprefix(f"{tmp_path / 's.xml'}: station ") for line in problems] == [
        "CI.A: Latitude: missing",
        "CI.B: Longitude: 200 is not between -180 and 180",
        "CI.C: Elevation: 'high' is not a number",
        "CI.D: startDate: 'someday' is not a time",
        "CI.E: channel .HHZ: InstrumentSensitivity/Value: 'much' is not a number",
        "CI.F: channel .HHZ: InstrumentSensitivity/Frequency: 0 Hz is a pole or zero",
        "CI.no dots. please: station_id: 'CI.no dots. please' is not NET.STA",
    ]


def test_files_that_are_not_stationxml_say_so(tmp_path: Path) -> None:
    fails(tmp_path, "<FDSNStationXML><Network", "not XML: ")
    fails(tmp_path, "<quakeml></quakeml>", "not StationXML: its root is 'quakeml'")
    fails(tmp_path, "", "no column station_id")
    with pytest.raises(StationError, match="no station in it"):
        load(tmp_path, xml())
    with pytest.raises(StationError, match="no such file"):
        load_stations(tmp_path / "nowhere")
    (tmp_path / "binary.csv").write_bytes(b"\xff\x00\x01" * 100)
    with pytest.raises(StationError, match=r"binary\.csv: neither StationXML nor CSV"):
        load_stations(tmp_path / "binary.csv")


def test_an_entity_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    layers = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    bomb = f'<!DOCTYPE b [<!ENTITY l0 "lol">{layers}]><b>&l9;</b>'
    fails(tmp_path, bomb, r"a document type \(DTD\) is not allowed")
    fails(
        tmp_path,
        '<!DOCTYPE b SYSTEM "file:///etc/passwd"><b/>',
        r"a document type \(DTD\) is not allowed",
    )


def test_csv_gives_positions_and_sensitivities_of_seismometers(tmp_path: Path) -> None:
    stations, problems = load(
        tmp_path,
        "station_id,latitude,longitude,elevation_m,sensitivity_counts_per_m_s,note\n"
        "CI.CLC,35.8,-117.6,775,6.3e8,ours\nPB.B916,35.7,-117.7,1800.5,,\n",
        "s.csv",
    )
    assert problems == []
    assert stations["PB.B916"].elevation_m == 1800.5
    assert stations["PB.B916"].response("PB.B916..EHZ", NOW_NS) is None
    assert stations["CI.CLC"].response("CI.CLC..HHZ", NOW_NS) == Response(6.3e8)
    assert stations["CI.CLC"].response("CI.CLC..HNZ", NOW_NS) is None  # an accelerometer


def test_a_csv_without_coordinates_names_file_line_and_field(tmp_path: Path) -> None:
    fails(
        tmp_path,
        "station_id,name\nCI.CLC,China Lake\n",
        "line 1: no column latitude, longitude, elevation_m",
        "s.csv",
    )
    stations, problems = load(
        tmp_path,
        "station_id,latitude,longitude,elevation_m\n"
        "CI.A,,-117.6,775\nCI.B,35.8\nCI.C,95,-117.6,775\nCI.D,x,-117.6,775\n"
        "CLC,35.8,-117.6,775\nCI.CLC,35.8,-117.6,775\nCI.CLC,35.8,-117.6,775\nCI.E,nan,0,0\n",
        "s.csv",
    )
    assert list(stations) == ["CI.CLC"]
    assert [line.removeprefix(f"{tmp_path / 's.csv'}: ") for line in problems] == [
        "line 2: latitude: missing",
        "line 3: longitude: missing",
        "line 4: latitude: 95 is not between -90 and 90",
        "line 5: latitude: 'x' is not a number",
        "line 6: station_id: 'CLC' is not NET.STA",
        "line 8: station_id: CI.CLC a second time",
        "line 9: latitude: 'nan' is not a number",
    ]


@dataclass
class Pier:
    station_id: str = "XX.S01"
    latitude: float = 1.0
    longitude: float = 2.0
    elevation_m: float = 3.0


def test_a_simulated_station_has_what_a_real_one_has() -> None:
    made = simple_station(Pier(), {"XX.S01..HHZ": 1e9, "XX.S01..HHE": 2e9, "XX.S01..HH1": 3e9})
    assert made.response("XX.S01..HHE", NOW_NS) == Response(2e9)
    assert made.vertical_sign("XX.S01..HHZ", NOW_NS) == 1
    assert made.response("XX.S01..HHN", NOW_NS) is None


def test_real_stations_are_read_and_those_without_response_known(data_dir: Path) -> None:
    folder = data_dir / "ridgecrest_foreshocks"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    stations, problems = load_stations(folder / "stationxml")
    by_csv, csv_problems = load_stations(folder / "stations.csv")
    assert problems == csv_problems == []
    assert len(stations) == 21
    assert set(stations) <= set(by_csv)
    for name in ("CI.WNM", "CI.WRV2", "CI.WVP2"):
        assert stations[name].response(f"{name}..HNZ", NOW_NS) is None
        assert stations[name].response(f"{name}..EHZ", NOW_NS) is not None
    for name, found in stations.items():
        assert found.latitude == pytest.approx(by_csv[name].latitude, abs=1e-4)
        assert {c.vertical_sign for c in found.channels if c.code.endswith("Z")} == {1}
