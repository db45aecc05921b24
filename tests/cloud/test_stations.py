from __future__ import annotations

from pathlib import Path

import pytest

from cloud.model import Station
from cloud.stations import StationFileError, read_stations

HEAD = "station_id,latitude,longitude,elevation_m\n"
XML = """<?xml version="1.0" encoding="UTF-8"?>
<FDSNStationXML xmlns="http://www.fdsn.org/xml/station/1" schemaVersion="1.1">
  <Source>test</Source><Created>2020-01-01T00:00:00Z</Created>
  <Network code="XX"><Station code="ONE">
    <Latitude>35.5</Latitude><Longitude>-117.5</Longitude><Elevation>670</Elevation>
    <Site><Name>one</Name></Site>
  </Station></Network>
</FDSNStationXML>"""


def test_a_csv_file_is_read_in_order_of_id(tmp_path: Path) -> None:
    path = tmp_path / "stations.csv"
    path.write_text(HEAD + "XX.B,35.5,-117.5,670\nXX.A,35,-117,-20.5\n")
    assert read_stations(path) == [
        Station("XX.A", 35, -117, -20.5),
        Station("XX.B", 35.5, -117.5, 670),
    ]


def test_stationxml_and_a_folder_of_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(XML)
    (tmp_path / "two.xml").write_text(XML.replace("ONE", "TWO"))
    assert read_stations(tmp_path / "one.xml") == [Station("XX.ONE", 35.5, -117.5, 670)]
    assert [station.station_id for station in read_stations(tmp_path)] == ["XX.ONE", "XX.TWO"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("station_id,latitude,longitude\nXX.A,35,-117\n", "column elevation_m is missing"),
        (HEAD + "XX.A,35,-117,\n", "s.csv:2: elevation_m: '' is not a number"),
        (HEAD + "XX.A,95,-117,0\n", "s.csv:2: latitude: 95 is not between -90 and 90"),
        (HEAD + "XX.A,nan,-117,0\n", "s.csv:2: latitude: nan is not between"),
        (HEAD + ",35,-117,0\n", "s.csv:2: station_id is empty"),
        (HEAD, "s.csv: holds no station"),
        ("", "column station_id is missing"),
    ],
)
def test_a_bad_csv_file_is_refused_with_file_and_field(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(StationFileError) as caught:
        read_stations(path)
    assert complaint in str(caught.value)


def test_what_is_no_stations_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_text("hello\nthere")
    for path in (tmp_path / "gone.xml", tmp_path / "bad.xml", tmp_path / "gone.csv"):
        with pytest.raises(StationFileError) as caught:
            read_stations(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StationFileError, match="empty"):
        read_stations(tmp_path / "empty")
