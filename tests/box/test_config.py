from __future__ import annotations

import pytest

from box.config import BoxConfig
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


def test_a_missing_file_is_an_error_in_words(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml", BoxConfig)


def test_a_box_that_never_waits_for_late_packets_is_refused(tmp_path):
    """The ring needs a horizon; without this check it would say so in a traceback."""
    with pytest.raises(ConfigError, match=r"reorder_s: Expected `float` > 0"):
        load(tmp_path, GOOD + "reorder_s: 0\n")
