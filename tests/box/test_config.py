from __future__ import annotations

import socket

import pytest

from box.clock import ReplayClock
from box.config import BoxConfig, MiniSeedConfig, ShakeConfig
from box.seedlink.server import port_problems
from box.sources.opening import open_sources, source_problems
from ringbuffer.records import RecordRing
from uplink.configuration import ConfigError, load_config

GOOD = """
station: {id: XX.ONE, latitude: 1, longitude: 2}
source: {path: waveforms}
broker: {url: "mqtt://localhost"}
"""


def load(tmp_path, text):
    path = tmp_path / "box.yaml"
    path.write_text(text)
    return load_config(path, BoxConfig)


def test_defaults_are_filled_in(tmp_path):
    config = load(tmp_path, GOOD)
    assert config.picking.merge == "median"
    assert config.trigger.on == 0.5


def test_three_mistakes_are_three_lines_each_naming_file_and_field(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            GOOD.replace("XX.ONE", "one") + "picking: {p_threshold: 2, merge: mode}\nringg: 3\n",
        )
    lines = caught.value.problems
    assert len(lines) == 4
    assert all("box.yaml: " in line for line in lines)
    fields = ("station.id", "picking.p_threshold", "picking.merge", "ringg")
    assert all(any(f": {field}: " in line for line in lines) for field in fields)


def test_a_missing_section_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"broker: is missing"):
        load(tmp_path, "station: {id: XX.ONE}\nsource: {path: x}\n")


def test_a_password_is_not_repeated_in_the_complaint(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace("mqtt://localhost", "http://me:secret@host"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "a: [", "\x00", "station: 5"])
def test_garbage_is_an_error_in_words(tmp_path, text):
    with pytest.raises(ConfigError, match=r"box\.yaml"):
        load(tmp_path, text)


def test_no_secret_is_repeated_in_the_complaint(tmp_path):
    source = (
        "{type: seedlink, host: a, channels: [XX.ONE..HHZ], tls: true, user: a, password: 'b c'}"
    )
    with pytest.raises(ConfigError, match=r"source\.password: ") as caught:
        load(tmp_path, GOOD.replace("{path: waveforms}", source))
    assert "b c" not in str(caught.value)


def test_a_missing_file_is_an_error_in_words(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml", BoxConfig)


def test_a_box_that_never_waits_for_late_packets_is_refused(tmp_path):
    """The ring needs a horizon; without this check it would say so in a traceback."""
    with pytest.raises(ConfigError, match=r"reorder_s: Expected `float` > 0"):
        load(tmp_path, GOOD + "reorder_s: 0\n")


TWO = """
station:
  - {id: XX.ONE, latitude: 1, longitude: 2}
  - {id: XX.TWO, latitude: 1, longitude: 2}
source:
  - {type: shake, station: XX.ONE, channels: [EHZ]}
  - {path: waveforms}
broker: {url: "mqtt://localhost"}
"""


def test_one_station_and_one_source_may_stand_without_a_list(tmp_path):
    config = load(tmp_path, GOOD)
    assert [station.id for station in config.stations] == ["XX.ONE"]
    assert config.sources == [MiniSeedConfig(path="waveforms")]


def test_several_stations_and_sources_are_told_apart_by_their_type(tmp_path):
    config = load(tmp_path, TWO)
    assert [station.id for station in config.stations] == ["XX.ONE", "XX.TWO"]
    shake, recording = config.sources
    assert shake == ShakeConfig(station="XX.ONE", channels=["EHZ"])
    assert recording == MiniSeedConfig(path="waveforms")


def test_mistakes_in_a_list_name_the_entry(tmp_path):
    text = TWO.replace("XX.TWO", "two").replace("shake,", "shake, prot: 1, host: here, port: -1,")
    text = text.replace("channels: [EHZ]", "channels: [EHZ, e]").replace("path: waveforms", "a: 1")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    places = [line.split(": ")[1] for line in caught.value.problems]
    assert places == [
        "station[1].id",
        "source[0].prot",
        "source[0].channels[1]",
        "source[0].port",
        "source[1].a",
        "source[1].path",
    ]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{type: modem}", "source.type: 'modem' is none of miniseed, shake, seedlink, anyshake"),
        ("[]", "source: expected at least one"),
        ("[5]", "source[0]: expected a mapping"),
        (
            "{type: shake, channels: [EHZ], host: here}",
            "source.host: 'here' is not an IP address",
        ),
        (
            "{type: anyshake, device: a, protocol: 1}",
            "source.rate: is for protocol 1, and needed there",
        ),
        ("{type: seedlink, host: a, channels: [EHZ]}", "source.channels[0]: Expected"),
        (
            "{type: seedlink, host: a, channels: [XX.ONE..HHZ], user: a, password: b}",
            "source.tls: must be on where there are credentials",
        ),
        (
            "{type: seedlink, host: a, channels: [XX.ONE..HHZ], tls: true, user: a}",
            "source.user, password, token: either the first two or the last",
        ),
    ],
)
def test_a_source_that_is_none_is_said_in_words(tmp_path, source, complaint):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace("{path: waveforms}", source))
    assert len(caught.value.problems) == 1
    assert f"box.yaml: {complaint}" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("XX.TWO", "XX.ONE", "station: XX.ONE more than once"),
        ("station: XX.ONE, ", "", "source[0].station: is missing (the box has several)"),
        ("station: XX.ONE,", "station: XX.THREE,", "source: no station XX.THREE is configured"),
        (
            "{path: waveforms}",
            "{type: seedlink, host: a, ca_file: /none, channels: [XX.TWO..HHZ]}",
            "source[1].ca_file: /none: no such file",
        ),
        (
            "{path: waveforms}",
            "{type: shake, station: XX.TWO, channels: [LOG]}",
            "source: no channel of XX.TWO to pick on",
        ),
    ],
)
def test_stations_and_sources_that_do_not_fit_are_found_by_check(tmp_path, old, new, complaint):
    (tmp_path / "waveforms").mkdir()
    text = TWO.replace(old, new).replace("waveforms", str(tmp_path / "waveforms"))
    assert complaint in source_problems(load(tmp_path, text))


def test_a_section_that_may_be_left_out_is_checked_like_any_other(tmp_path):
    assert load(tmp_path, GOOD + "archive: null\n").archive is None
    assert load(tmp_path, GOOD + "archive: {path: sds}\n").archive.max_days == 60
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD + "archive: {path: sds, max_mb: 0, max_days: many, color: red}\n")
    assert [line.split(": ")[1] for line in caught.value.problems] == [
        "archive.color",
        "archive.max_mb",
        "archive.max_days",
    ]


def test_a_seedlink_server_is_off_unless_wished_and_its_networks_and_port_are_checked(tmp_path):
    assert load(tmp_path, GOOD).seedlink_server is None
    assert load(tmp_path, GOOD + "seedlink_server: {}\n").seedlink_server.host == "127.0.0.1"
    for wrong, complaint in {
        "host: everywhere": "host: 'everywhere' is not an IP address",
        "allow: [10.0.0.1/8]": "allow: 10.0.0.1/8 has host bits set",
        "allow: [here]": "allow: 'here' does not appear to be an IPv4 or IPv6 network",
    }.items():
        with pytest.raises(ConfigError, match=complaint):
            load(tmp_path, GOOD + f"seedlink_server: {{{wrong}}}\n")
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        port = occupant.getsockname()[1]
        text = GOOD + f"data_dir: {tmp_path}\nseedlink_server: {{port: {port}}}\n"
        config = load(tmp_path, text)
        [problem] = port_problems(config)
        assert problem.startswith(f"seedlink_server.port: 127.0.0.1:{port}: ")
        ring = RecordRing(tmp_path / f"{config.stations[0].id}.records", 1)
        assert port_problems(config) == []  # it is this box's own
        ring.close()
    assert port_problems(config) == []


LIVE = """
station: {id: XX.ONE, latitude: 1, longitude: 2}
source:
  - {type: shake, channels: [EHZ]}
  - {type: anyshake, device: /dev/ttyUSB0, location: "10", channels: [HHZ, "", HHN]}
  - {type: seedlink, host: here, tls: true, channels: [XX.ONE.20.BHZ]}
broker: {url: "mqtt://localhost"}
"""


def test_every_live_source_of_a_configuration_is_opened(tmp_path):
    config = load(tmp_path, LIVE + f"data_dir: {tmp_path}\n")
    assert source_problems(config) == []
    opened = {source.name: source.channels for source in open_sources(config, ReplayClock())}
    assert opened == {
        "shake 0.0.0.0:8888": ["XX.ONE.00.EHZ"],
        "anyshake /dev/ttyUSB0": ["XX.ONE.10.HHZ", "XX.ONE.10.HHN"],
        "seedlink here:18500": ["XX.ONE.20.BHZ"],
    }
