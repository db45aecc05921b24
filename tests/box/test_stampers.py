"""How an AnyShake Explorer's samples are timed while its GNSS comes and goes."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from bench.emulators.clock import HandClock
from box.host_clock import HostClock, HostReading
from box.sources.anyshake import GNSS_ERROR_US, LATENCY_US, Stamped, StamperV1, StamperV3
from box.sources.anyshake_frames import SAMPLES_1, Frame
from box.sources.gate import TimeGate
from ringbuffer.segment import NOTHING_KNOWN, NS, ClockState, Flag

MS = 1_000_000
START_MS = 1_790_000_000_000
STARTED_MS = START_MS - 3_600_000  # the device, an hour before
FRAME_MS = 100
AHEAD_NS = 350 * MS  # the host's clock, of the truth
HOUR = 36_000  # frames


def host(synchronised: bool | None) -> HostClock:
    async def nothing() -> None:
        return None

    reading = None if synchronised is None else HostReading(synchronised, 2000, "kernel")
    clock = HostClock(HandClock(START_MS * MS), lambda: reading, nothing)
    asyncio.run(clock.poll())
    return clock


def play(
    stamper: StamperV3, numbers: range, gnss: bool, drift: float = 0.0, set_at: int = 1 << 30
) -> list[tuple[int, Stamped]]:
    """Frames by number, as they come within 3 ms of jitter to a host that drifts, and whose clock
    is set right at frame `set_at`; with each what the time of its first sample was in truth."""
    jitter = np.random.default_rng(3)
    samples = {1: np.zeros(10, np.int32)}
    told: list[tuple[int, Stamped]] = []
    for number in numbers:
        sent_ms = START_MS + (number + 1) * FRAME_MS
        frame = Frame(samples, sent_ms if gnss else sent_ms - STARTED_MS, gnss, 100, 59, False)
        ahead_ns = 0 if number >= set_at else AHEAD_NS + round(drift * number * FRAME_MS * MS)
        arrival_ns = sent_ms * MS + ahead_ns + round(jitter.exponential(2 * MS))
        told += [(0, stamped) for stamped in stamper.stamp(frame, arrival_ns)]
    first = numbers.start
    return [((START_MS + (first + n) * FRAME_MS) * MS, s) for n, (_, s) in enumerate(told)]


def test_a_lost_lock_is_outlived_on_a_host_that_knows_no_time_itself() -> None:
    """Else all samples would step by what the host's clock is off, back and forth."""
    stamper = StamperV3(TimeGate(host(False)))
    locked = play(stamper, range(600), gnss=True)
    assert all(s.start_ns == true and s.flags == Flag.NONE for true, s in locked)
    assert {s.clock for _, s in locked} == {NOTHING_KNOWN}
    free = play(stamper, range(600, 600 + HOUR), gnss=False, drift=10e-6)
    errors = [abs(s.start_ns - true) for true, s in free]
    assert max(errors[:600]) < 5 * MS
    assert 20 * MS < max(errors) < 60 * MS  # 36 ms of drift
    lost_ns = (START_MS + 600 * FRAME_MS) * MS
    assert {s.clock for _, s in free} == {ClockState(GNSS_ERROR_US, lost_ns)}
    assert all(s.flags == Flag.CLOCK_UNLOCKED for _, s in free)
    back = play(stamper, range(600 + HOUR, 700 + HOUR), gnss=True)
    assert all(s.flags == Flag.NONE for _, s in back[-90:])
    assert back[-1][1].start_ns == back[-1][0]


def test_a_lock_that_is_lost_for_seconds_leaves_no_mark_in_the_times() -> None:
    """Too short for a line through the arrivals to settle."""
    stamper = StamperV3(TimeGate(host(False)))
    play(stamper, range(600), gnss=True)
    told = play(stamper, range(600, 630), gnss=False)
    assert told == []
    told = play(stamper, range(630, 640), gnss=True)
    numbers = [(s.start_ns - START_MS * MS) / (FRAME_MS * MS) for _, s in told]
    assert numbers == pytest.approx(list(range(600, 640)), abs=0.08)
    assert [s.flags for _, s in told] == [Flag.CLOCK_UNLOCKED] * 30 + [Flag.NONE] * 10


def test_a_host_that_is_synchronised_is_believed_and_its_error_told() -> None:
    stamper = StamperV3(TimeGate(host(True)))
    play(stamper, range(600), gnss=True)
    free = play(stamper, range(600, 1200), gnss=False)
    assert all(abs(s.start_ns - true - AHEAD_NS) < 5 * MS for true, s in free)
    assert {s.clock for _, s in free} == {ClockState(2000 + LATENCY_US, START_MS * MS)}


@pytest.mark.parametrize("known", [None, False])
def test_without_any_lock_nothing_is_claimed(known: bool | None) -> None:
    stamper = StamperV3(TimeGate(host(known)))
    free = play(stamper, range(300), gnss=False)
    assert {(s.flags, s.clock) for _, s in free} == {(Flag.CLOCK_UNLOCKED, NOTHING_KNOWN)}


def test_a_host_that_is_set_while_gnss_is_lost_is_followed_from_then_on() -> None:
    stamper = StamperV3(TimeGate(host(False)))
    play(stamper, range(600), gnss=True)
    free = play(stamper, range(600, 2000), gnss=False, set_at=1000)
    before, after = free[:350], free[520:]
    assert all(abs(s.start_ns - true) < 5 * MS for true, s in before)
    assert all(abs(s.start_ns - true) < 5 * MS for true, s in after)
    assert {s.clock for _, s in after} == {NOTHING_KNOWN}


def test_a_restarted_device_is_not_timed_by_a_lock_before() -> None:
    stamper = StamperV3(TimeGate(host(False)))
    play(stamper, range(600), gnss=True)
    play(stamper, range(600, 700), gnss=False)
    samples = {1: np.zeros(10, np.int32)}
    told: list[Stamped] = []
    for number in range(200):
        arrival_ns = (START_MS + 80_000 + number * FRAME_MS) * MS + AHEAD_NS
        frame = Frame(samples, number * FRAME_MS, False, 100, 59, False)
        told += stamper.stamp(frame, arrival_ns)
    assert {s.clock for s in told[-150:]} == {NOTHING_KNOWN}
    assert all(b.start_ns - a.start_ns == FRAME_MS * MS for a, b in pairwise(told[-150:]))


@pytest.mark.parametrize("wakes_ms", [4000, 315_964_800_000, 1_170_677_000_000])
def test_a_receiver_that_says_it_is_locked_in_a_year_long_past_is_timed_by_the_host(
    wakes_ms: int,
) -> None:
    """1970; the epoch of GPS; 1024 weeks ago. No sample is lost for it."""
    stamper = StamperV3(TimeGate(host(True)))
    samples = {1: np.zeros(10, np.int32)}
    told: list[Stamped] = []
    for number in range(200):
        sent_ms = START_MS + number * FRAME_MS
        frame = Frame(samples, wakes_ms + number * FRAME_MS, True, 100, 59, False)
        told += stamper.stamp(frame, sent_ms * MS + 2 * MS)
    told += stamper.flush()
    assert len(told) == 200
    for number, stamped in enumerate(told):
        assert stamped.flags == Flag.CLOCK_UNLOCKED
        assert abs(stamped.start_ns - (START_MS + (number - 1) * FRAME_MS) * MS) < 5 * MS


def test_samples_without_any_time_carry_what_is_known_of_the_hosts_clock() -> None:
    stamper = StamperV1(Fraction(100), host(True))
    samples = {n: np.zeros(SAMPLES_1, np.int32) for n in (1, 2, 3)}
    told: list[Stamped] = []
    for number in range(400):
        frame = Frame(samples, 0, False, 0, 66, False)
        told += stamper.stamp(frame, START_MS * MS + number * NS // 20)
    assert {s.clock for s in told} == {ClockState(2000 + LATENCY_US, START_MS * MS)}


@pytest.mark.parametrize("begins", [True, False])
def test_a_time_is_of_the_first_samples_or_of_the_end_as_configured(begins: bool) -> None:
    stamper = StamperV3(begins=begins)
    frame = Frame({1: np.zeros(10, np.int32)}, START_MS, True, 100, 59, False)
    [stamped] = stamper.stamp(frame, START_MS * MS)
    assert stamped.start_ns == (START_MS - (0 if begins else FRAME_MS)) * MS
