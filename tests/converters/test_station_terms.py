"""What a station adds to every magnitude is told from what the earthquakes are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from converters.station_terms import Terms, station_terms


class Row(NamedTuple):
    magnitude: float
    station: str
    event: str


SITES = {f"XX.S{k}": term for k, term in enumerate((0.5, -0.4, 0.2, -0.1, -0.2, 0.0))}


def recorded(size: float, missing: float, seed: int = 0) -> list[Row]:
    """30 earthquakes of about a size at six stations, of which some see some only."""
    rng = np.random.default_rng(seed)
    return [
        Row(size + k / 10 + term + rng.normal(0, 0.1), station, f"e{k}")
        for k in range(30)
        for station, term in SITES.items()
        if rng.uniform() >= missing
    ]


def terms_of(rows: list[Row]) -> Terms:
    magnitudes, stations, events = zip(*rows, strict=True)
    return station_terms(magnitudes, stations, events)


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_a_station_that_is_often_missing_shifts_no_earthquake(missing: float) -> None:
    terms = terms_of(recorded(1.0, missing))
    for station, term in SITES.items():
        assert terms.stations[station] == pytest.approx(term, abs=0.12)
    for k in range(30):
        assert terms.events[f"e{k}"] == pytest.approx(1.0 + k / 10, abs=0.25)
    assert terms.within == pytest.approx(0.1, abs=0.03)
    assert terms.between == pytest.approx(np.std(list(SITES.values()), ddof=1), abs=0.06)
    assert sum(terms.counts.values()) == len(recorded(1.0, missing))


def test_one_wild_record_does_not_become_the_earthquake() -> None:
    rows = recorded(1.0, 0.0)
    wild = [rows[0]._replace(magnitude=6.0), *rows[1:]]
    there, here = terms_of(wild), terms_of(rows)
    assert there.events["e0"] == pytest.approx(here.events["e0"], abs=0.15)


def test_no_record_has_no_terms() -> None:
    with pytest.raises(ValueError, match="none"):
        station_terms([], [], [])
