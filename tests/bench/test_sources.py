"""Every source through its emulator: the picks of a replay, and no loss that is not counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bench.emulators.feeds import FEEDS, Feed
from bench.emulators.harm import Harm
from bench.sources import Picks, books, picks, recorded, replayed, simulated, through
from box.assembly import load_models
from box.config import PickingConfig
from box.stations import Station
from box.stretch import Models
from ringbuffer.segment import Segment

MINUTES = 10.0
Stretch = tuple[Station, list[Segment], Picks]


@pytest.fixture(autouse=True)
def _of_lost_connections(caplog: pytest.LogCaptureFixture) -> None:
    """There are many, and each is told in the log."""
    caplog.set_level(logging.ERROR)


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(PickingConfig())


def with_picks(models: Models, station: Station, traces: list[Segment]) -> Stretch:
    wanted = replayed(station, models, traces)
    assert {phase for phase, _ in wanted} == {"P", "S"}
    return station, traces, wanted


@pytest.fixture(scope="module")
def short(models: Models) -> Stretch:
    """A simulated station around two earthquakes."""
    return with_picks(models, *simulated(2.0))


@pytest.fixture(scope="module")
def real(models: Models, data_dir: Path) -> Stretch:
    """Ten minutes of the Ridgecrest foreshocks."""
    return with_picks(models, *recorded(data_dir / "ridgecrest_foreshocks", MINUTES))


@pytest.mark.parametrize("stretch", ["short", "real"])
@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_picks_are_those_of_a_replay_payload_for_payload(
    feed: Feed, stretch: str, models: Models, request: pytest.FixtureRequest
) -> None:
    station, traces, wanted = request.getfixturevalue(stretch)
    delivered = through(feed, traces, Harm(0.0))
    assert books(traces, delivered).sound
    assert delivered.counters.bad == delivered.counters.missing == 0
    assert picks(station, models, delivered.segments) == wanted


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_nothing_is_lost_uncounted_where_frames_are_lost_damaged_torn_and_doubled(
    feed: Feed, seed: int, short: Stretch, models: Models
) -> None:
    station, traces, _ = short
    delivered = through(feed, traces, Harm(0.01, seed))
    account = books(traces, delivered)
    assert account.sound, account.line
    picks(station, models, delivered.segments)  # nothing is raised


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_samples_keep_their_places_where_one_frame_in_ten_is_struck(
    feed: Feed, short: Stretch
) -> None:
    """Two fragments in a row may then count as one frame; samples are counted all the same."""
    _, traces, _ = short
    delivered = through(feed, traces, Harm(0.1))
    account = books(traces, delivered)
    assert delivered.counters.bad > 0
    assert delivered.counters.missing > 0
    assert (account.samples, account.places) == (True, True), account.line
