"""What clocks do in the field, replayed: what is picked, how it is marked, and that it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bench.emulators.clock import HandClock
from box.config import ClockConfig
from box.host_clock import HostClock, HostReading
from box.sources.gate import TimeGate
from box.sources.replay import in_time_order
from box.stations import Station
from box.stretch import Models
from converters.simulator import Simulation
from ringbuffer.segment import NS, ClockState, Flag, Segment
from tests.box.test_journal import Bench, Killed, picks
from tests.box.test_pipeline import make, picks_of, run
from uplink.packets import Pick, PickFlag, decode_pick, encode_pick

DAY_NS = 86_400 * NS
STEP_AT_S = 95  # between the earthquakes, whose P come at 66 and 131 s
UNLOCKED = Flag.CLOCK_UNLOCKED


@pytest.fixture(scope="module")
def packets(simulation: Simulation, station: Station) -> list[Segment]:
    """One-second packets of the station, by a good clock."""
    traces = [t for c, t in simulation.traces.items() if c.startswith(station.station_id + ".")]
    return list(in_time_order([trace] for trace in traces))


@pytest.fixture(scope="module")
def clean(models: Models, station: Station, packets: list[Segment]) -> list[Pick]:
    """The picks by that clock."""
    told = run(make(models, station, {p.channel for p in packets}), packets)
    return list(picks_of(told).values())


def second(packet: Segment, packets: list[Segment]) -> int:
    return (packet.start_ns - packets[0].start_ns) // NS


def moved(packet: Segment, by_ns: int, **known: object) -> Segment:
    return replace(packet, start_ns=packet.start_ns + by_ns, **known)


def gated(packets: Iterable[Segment], gate: TimeGate) -> list[Segment]:
    return [admitted for p in packets if (admitted := gate.admit(p)) is not None]


def behind(picks: Iterable[Pick], time_ns: int) -> list[tuple[str, int]]:
    """Phases and times, to 20 ms, of the picks behind a time."""
    return [(p.phase, round(p.time_ns / 20e6)) for p in picks if p.time_ns > time_ns]


def same(some: list[tuple[str, int]], others: list[tuple[str, int]]) -> bool:
    return len(some) == len(others) > 0 and all(
        a[0] == b[0] and abs(a[1] - b[1]) <= 1 for a, b in zip(some, others, strict=True)
    )


@pytest.mark.parametrize("at_s", [STEP_AT_S, 110])
@pytest.mark.parametrize("error_ns", [2 * NS, -37 * NS, 130_000_000, -5000 * NS])
@pytest.mark.parametrize("tells", [True, False])
def test_a_relock_that_steps_is_seen_marked_and_survived(
    models: Models,
    station: Station,
    packets: list[Segment],
    clean: list[Pick],
    at_s: int,
    error_ns: int,
    tells: bool,
) -> None:
    """A clock that was fast steps back, and one that was slow steps forward. tells: the source says
    whether its clock is locked; without that, a forward step of whole samples is a gap."""
    if not tells and error_ns == -37 * NS:
        pytest.skip("is a gap to anyone")
    free = UNLOCKED if tells else Flag.NONE
    stream = [moved(p, error_ns, flags=free) if second(p, packets) < at_s else p for p in packets]
    gate = TimeGate()
    pipeline = make(models, station, {p.channel for p in packets})
    told = picks_of(run(pipeline, gated(stream, gate))).values()
    relocked_ns = packets[0].start_ns + at_s * NS
    late_ns = relocked_ns + (error_ns if error_ns > 0 else 0) + 5 * NS
    after = [p for p in told if p.time_ns > relocked_ns and p.time_ns > late_ns]
    assert gate.steps == (3 if tells else 0)  # channels
    assert pipeline.counters.restarts == 1
    assert same(behind(after, late_ns), behind(clean, late_ns))
    assert not any(PickFlag.CLOCK_UNLOCKED in p.flags for p in after)
    if tells or abs(error_ns) < 1000 * NS:
        assert pipeline.counters.time_steps == 1
        near = [PickFlag.TIME_STEP in p.flags for p in after]
        assert near == [p.time_ns < relocked_ns + 30 * NS for p in after]
    before = [p for p in told if p.time_ns < relocked_ns + error_ns and p not in after]
    assert before
    assert all((PickFlag.CLOCK_UNLOCKED in p.flags) == tells for p in before)


def test_a_board_that_wakes_in_1970_is_not_heard_until_it_has_found_its_time(
    models: Models, station: Station, packets: list[Segment], clean: list[Pick]
) -> None:
    woke_ns = 3 * NS - packets[0].start_ns
    stream = [moved(p, woke_ns) if second(p, packets) < STEP_AT_S else p for p in packets]
    gate = TimeGate()
    admitted = gated(stream, gate)
    assert gate.refused == sum(second(p, packets) < STEP_AT_S for p in packets)
    told = list(
        picks_of(run(make(models, station, {p.channel for p in packets}), admitted)).values()
    )
    found_ns = packets[0].start_ns + STEP_AT_S * NS
    assert min(p.time_ns for p in told) > found_ns
    assert same(behind(told, 0), behind(clean, found_ns))


def test_a_clock_that_runs_free_for_a_day_is_off_by_no_more_than_its_picks_say(
    models: Models, station: Station, packets: list[Segment], clean: list[Pick]
) -> None:
    """Two seconds a day."""
    locked_ns, error_ns = packets[0].start_ns - DAY_NS, 2 * NS
    clock = ClockState(locked_ns=locked_ns + error_ns)
    stream = [moved(p, error_ns, flags=UNLOCKED, clock=clock) for p in packets]
    told = picks_of(run(make(models, station, {p.channel for p in packets}), stream)).values()
    assert len(told) == len(clean)
    for pick, true in zip(told, clean, strict=True):
        assert abs(pick.time_ns - true.time_ns - error_ns) < NS // 1000
        assert PickFlag.CLOCK_UNLOCKED in pick.flags
        drift_s = (pick.time_ns - locked_ns - error_ns) / NS * ClockConfig().drift_ppm * 1e-6
        expected_s = ClockConfig().locked_uncertainty_s + drift_s
        assert pick.clock_uncertainty_s == pytest.approx(expected_s, abs=1e-6)
        assert pick.clock_uncertainty_s > error_ns / NS
        carried = decode_pick(encode_pick(pick))
        assert carried.clock_age_s == pytest.approx(86_400, rel=0.3)
        assert true.clock_age_s == 0
        assert true.clock_uncertainty_s == ClockConfig().locked_uncertainty_s


@pytest.mark.parametrize("knows", [True, False])
def test_a_leap_of_a_day_ahead_and_back_costs_the_leap_and_a_minute_at_most(
    models: Models, station: Station, packets: list[Segment], clean: list[Pick], knows: bool
) -> None:
    """knows: the host has a synchronised clock, and takes nothing from tomorrow."""

    async def nothing() -> None:
        return None

    reading = HostReading(knows, 2000 if knows else None, "kernel")
    clock = HandClock(packets[0].start_ns)
    host = HostClock(clock, lambda: reading, nothing)
    asyncio.run(host.poll())
    gate = TimeGate(host)
    pipeline = make(models, station, {p.channel for p in packets})
    told = []
    for packet in packets:
        clock.at_ns = packet.end_ns
        leaps = 80 <= second(packet, packets) < 90
        told += [
            t
            for p in gated([moved(packet, DAY_NS) if leaps else packet], gate)
            for t in pipeline.feed(p)
        ]
    final = list(picks_of(told + pipeline.flush()).values())
    back_ns = packets[0].start_ns + (90 + (5 if knows else 35)) * NS
    assert same(
        behind([p for p in final if p.time_ns < DAY_NS + packets[0].start_ns], back_ns),
        behind(clean, back_ns),
    )
    assert gate.refused == (30 if knows else 0)
    assert (pipeline.counters.restarts == 0) == knows
    assert all(p.time_ns < packets[-1].end_ns for p in final)


def test_jitter_of_less_than_half_a_sample_is_nothing_and_what_adds_up_is_a_step(
    models: Models, station: Station, packets: list[Segment], clean: list[Pick]
) -> None:
    rng = Random(4)
    jittered = [moved(p, rng.randrange(-4_900_000, 4_900_000)) for p in packets]
    jittered[:3] = packets[:3]  # these set the grid
    pipeline = make(models, station, {p.channel for p in packets})
    assert list(picks_of(run(pipeline, jittered)).values()) == clean
    assert pipeline.counters.restarts == 0
    slow = [moved(p, 60_000 * second(p, packets)) for p in packets]  # half a sample after 84 s
    pipeline = make(models, station, {p.channel for p in packets})
    told = picks_of(run(pipeline, slow)).values()
    assert pipeline.counters.time_steps >= 2
    assert same(behind(told, packets[0].start_ns), behind(clean, packets[0].start_ns))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_box_killed_around_a_step_tells_the_same_to_the_byte(
    models: Models, station: Station, packets: list[Segment], tmp_path: Path, seed: int
) -> None:
    """Errors, ages, and marks of the step among it."""
    clock = ClockState(1500, packets[0].start_ns - DAY_NS)
    free = [
        moved(p, 2 * NS, flags=UNLOCKED, clock=clock) if second(p, packets) < 110 else p
        for p in packets
    ]
    stream = gated(free, TimeGate())
    channels = sorted({p.channel for p in packets})
    whole = Bench(models, station, channels, tmp_path / "whole.ring")
    whole.feed(stream)
    rng = Random(seed)
    killed = Bench(models, station, channels, tmp_path / "killed.ring")
    done = 0
    for index in sorted([*rng.sample(range(len(stream)), 4), 3 * 111, 3 * 132]):
        killed.feed(stream[done:index])
        done = max(done, index)
        killed.outbox.deadly = rng.choice(["before", "after"])
        try:
            while killed.outbox.deadly and done < len(stream):
                done += 1
                killed.feed([stream[done - 1]])
        except Killed:
            pass
        killed.kill()
        killed.start()
        assert killed.journal.problems == []
    killed.feed(stream[done:])
    assert killed.outbox.packets == whole.outbox.packets
    told = picks(whole.outbox)
    assert any(PickFlag.TIME_STEP in p.flags for p in told)
    assert any(p.clock_uncertainty_s > 2.5 for p in told)
    assert {p.clock_age_s == 0 for p in told} == {True, False}


def test_a_step_is_remembered_by_a_pipeline_that_is_handed_over_soon_after(
    models: Models, station: Station, packets: list[Segment]
) -> None:
    channels = {p.channel for p in packets}
    stepped = [p if second(p, packets) >= 110 else moved(p, 2 * NS) for p in packets]
    first = next(i for i, p in enumerate(packets) if second(p, packets) >= 110)
    begun = make(models, station, channels)
    for packet in stepped[: first + 60]:
        begun.feed(packet)
    rest = stepped[first + 60 :]
    while (memory := begun.memory()) is None:
        begun.feed(rest.pop(0))
    assert begun.counters.time_steps == 1
    other = make(models, station, channels)
    other.resume(None, stepped[first : len(stepped) - len(rest)], memory)
    told = run(other, rest)
    assert told == run(begun, rest)
    assert any(PickFlag.TIME_STEP in p.flags for p in told if isinstance(p, Pick))
