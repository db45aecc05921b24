"""A station that shouts is marked and told of; an aftershock sequence is no shouting."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from box.clock import ReplayClock
from box.config import ClockConfig, PickingConfig, QualityConfig, TriggerConfig
from box.pipeline import StationPipeline
from box.quarantine import Quarantine
from box.sources.miniseed import MiniSeedSource
from box.sources.replay import in_time_order
from box.stations import Station, load_stations
from box.stretch import Models
from converters.simulator import Simulation
from ringbuffer.segment import NS, Segment
from uplink.packets import Pick, PickFlag

NOON = 1_562_328_000 * NS
LIMITS = QualityConfig(picks_per_minute=10, picks_per_hour=100, quarantine_s=300)


def tell(quarantine: Quarantine, begin_s: float, picks: int, over_s: float) -> None:
    for second in range(round(over_s)):
        now_ns = NOON + round((begin_s + second) * NS)
        quarantine.advance(now_ns)
        for _ in range(picks * (second + 1) // round(over_s) - picks * second // round(over_s)):
            quarantine.note(now_ns)


def test_a_burst_within_a_minute_is_shouting() -> None:
    quarantine = Quarantine(LIMITS)
    tell(quarantine, 0, 10, 60)
    assert not quarantine.active
    tell(quarantine, 60, 11, 60)
    assert quarantine.active
    assert quarantine.reason == "11 picks in a minute, more than 10"
    assert NOON + 60 * NS < quarantine.since_ns <= NOON + 120 * NS


def test_too_many_within_an_hour_are_shouting_too() -> None:
    quarantine = Quarantine(LIMITS)
    tell(quarantine, 0, 101, 3500)
    assert quarantine.active
    assert quarantine.reason == "101 picks in an hour, more than 100"


def test_it_is_let_out_after_a_while_below_the_limits() -> None:
    quarantine = Quarantine(LIMITS)
    tell(quarantine, 0, 30, 30)
    since_ns = quarantine.since_ns
    tell(quarantine, 30, 0, 290)
    assert quarantine.active
    assert quarantine.since_ns == since_ns
    tell(quarantine, 320, 0, 60)
    assert not quarantine.active
    assert quarantine.reason == ""


@pytest.mark.parametrize("step_s", [-20 * 366 * 86_400, 86_400])
def test_a_clock_that_is_set_ends_what_was_counted_by_the_old_one(step_s: int) -> None:
    quarantine = Quarantine(LIMITS)
    tell(quarantine, 0, 30, 30)
    tell(quarantine, step_s, 9, 60)
    assert not quarantine.active
    assert sum(n for _, n in quarantine.memory().counts) == 9


def test_another_that_remembers_goes_on() -> None:
    one, other = Quarantine(LIMITS), Quarantine(LIMITS)
    tell(one, 0, 30, 30)
    other.remember(one.memory())
    for quarantine in (one, other):
        tell(quarantine, 30, 3, 200)
    assert other.memory() == one.memory()
    assert other.active


def make(
    models: Models, station: Station, packets: Iterable[Segment], quality: QualityConfig
) -> StationPipeline:
    channels = sorted({p.channel for p in packets})
    settings = (PickingConfig(), TriggerConfig(), ClockConfig(), 60.0, 2.0, quality)
    return StationPipeline(station, channels, models, *settings)


@pytest.fixture(scope="module")
def packets(simulation: Simulation, station: Station) -> list[Segment]:
    traces = [t for c, t in simulation.traces.items() if c.startswith(station.station_id + ".")]
    return list(in_time_order([trace] for trace in traces))


def test_picks_go_on_being_told_and_carry_the_flag_also_after_a_restart(
    models: Models, station: Station, packets: list[Segment]
) -> None:
    """Here every second pick within a minute is too much."""
    limits = QualityConfig(picks_per_minute=1)
    free = make(models, station, packets, QualityConfig())
    expected = [m for p in packets for m in free.feed(p)]
    pipeline = make(models, station, packets, limits)
    told = [pipeline.feed(p) for p in packets]
    marked = [m for out in told for m in out if isinstance(m, Pick)]
    assert {(p.phase, p.id) for p in marked} == {
        (p.phase, p.id) for p in expected if isinstance(p, Pick)
    }
    first = next(p for p in marked if PickFlag.QUARANTINED in p.flags)
    assert marked.index(first) > 0
    assert not any(PickFlag.QUARANTINED in p.flags for p in marked[: marked.index(first)])
    [note] = pipeline.signal.notes
    assert note.startswith("picks: in quarantine since ")
    assert note.endswith("2 picks in a minute, more than 1")

    half = next(i for i, out in enumerate(told) if first in out) + 30
    begun = make(models, station, packets, limits)
    for packet in packets[:half]:
        begun.feed(packet)
    memory = begun.memory()
    assert memory is not None
    again = make(models, station, packets, limits)
    again.resume(None, packets[:half], memory)
    assert [again.feed(p) for p in packets[half:]] == told[half:]


def test_dense_aftershocks_are_no_shouting(models: Models, data_dir: Path) -> None:
    """Not a third of the limit in a minute, nor half of it in an hour, at the busiest station."""
    folder = data_dir / "ridgecrest_aftershocks"
    stations, _ = load_stations(folder / "stationxml")
    source = MiniSeedSource(folder / "waveforms" / "CI.CLC.mseed", ReplayClock(None))
    packets = list(source.packets())[: 3 * 300]
    config = QualityConfig()
    pipeline = make(models, stations["CI.CLC"], packets, config)
    most = 0
    for packet in packets:
        pipeline.feed(packet)
        counts = [n for _, n in pipeline.signal.quarantine.memory().counts]
        most = max([most, *counts])
    assert 5 <= most < config.picks_per_minute / 3
    assert pipeline.counters.picks * 12 < config.picks_per_hour / 2
    assert pipeline.signal.notes == []
