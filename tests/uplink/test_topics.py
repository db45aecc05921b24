"""Topic names, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uplink.topics import KINDS, parse, topic

CODES = st.text("ABCXYZabc019_-", min_size=1, max_size=8)


@given(CODES, CODES, st.sampled_from(KINDS))
def test_a_topic_names_its_station_and_kind(network: str, station: str, kind: str) -> None:
    assert parse(topic(f"{network}.{station}", kind)) == (f"{network}.{station}", kind)


@pytest.mark.parametrize("station_id", ["", "CI", "CI.", "CI.A.B", "CI.A/B", "CI.#", "+.A", "é.A"])
def test_a_station_that_would_break_a_topic_is_refused(station_id: str) -> None:
    with pytest.raises(ValueError, match=r"is not NET\.STA"):
        topic(station_id, "pick")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "diting/v1/CI/CCC",
        "diting/v2/CI/CCC/pick",
        "diting/v1//CCC/pick",
        "diting/v1/CI/CCC/x",
        "diting/v1/CI/CCC/pick/",
        "diting/v1/CI/CCC/pick\n",
        "x/diting/v1/CI/CCC/pick",
    ],
)
def test_a_foreign_topic_is_nobodys(name: str) -> None:
    assert parse(name) is None


@given(st.text())
def test_any_text_is_a_topic_or_none(name: str) -> None:
    found = parse(name)
    assert found is None or topic(*found) == name
