"""Times that are none, and steps of clocks that find or lose their reference."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest

from bench.emulators.clock import HandClock
from box.host_clock import HostClock, HostReading
from box.sources.gate import AHEAD_NS, TimeGate
from ringbuffer.segment import NS, Flag, Segment

DAY_NS = 86_400 * NS
NOW_NS = 1_790_000_000 * NS
UNLOCKED = Flag.CLOCK_UNLOCKED


def host(synchronised: bool = True, at_ns: int = NOW_NS) -> HostClock:
    async def chrony() -> None:
        return None

    reading = HostReading(synchronised, 2000 if synchronised else None, "kernel")
    clock = HostClock(HandClock(at_ns), lambda: reading, chrony)
    asyncio.run(clock.poll())
    return clock


def packet(start_ns: int, flags: Flag = Flag.NONE, channel: str = "XX.A..HHZ") -> Segment:
    return Segment(channel, start_ns, Fraction(100), np.arange(100, dtype=np.int32), flags)


@pytest.mark.parametrize(
    ("begins", "why"),
    [
        ("1970-01-01T00:00:07", "1970-01-01T00:00:07Z is too long ago"),
        ("1980-01-06T00:00:00", "1980-01-06T00:00:00Z is too long ago"),  # GPS week 0
        ("2007-02-05T12:00:00", "2007-02-05T12:00:00Z is too long ago"),  # 1024 weeks back
    ],
)
def test_samples_of_a_clock_that_was_never_set_are_refused_and_that_is_said(
    begins: str, why: str
) -> None:
    gate = TimeGate()
    start_ns = int(datetime.fromisoformat(begins).replace(tzinfo=UTC).timestamp()) * NS
    assert gate.admit(packet(start_ns)) is None
    assert (gate.refused, gate.problem) == (1, f"samples refused, since {why}")
    assert gate.admit(packet(NOW_NS)) is not None
    assert gate.problem == ""


def test_a_leap_of_a_day_ahead_is_refused_where_the_host_knows_better_and_only_there() -> None:
    knows, guesses = TimeGate(host()), TimeGate(host(synchronised=False))
    for gate in (knows, guesses, TimeGate()):
        assert gate.admit(packet(NOW_NS - NS)) is not None
    assert knows.admit(packet(NOW_NS + DAY_NS)) is None
    assert "86400 s ahead of the host's clock" in knows.problem
    assert guesses.admit(packet(NOW_NS + DAY_NS)) is not None
    assert TimeGate().admit(packet(NOW_NS + DAY_NS)) is not None
    assert knows.admit(packet(NOW_NS + AHEAD_NS - 2 * NS)) is not None


def test_a_host_that_was_never_set_refuses_no_good_time() -> None:
    """Its kernel may say that it is synchronised, of a clock of its own."""
    assert TimeGate(host(at_ns=30 * NS)).admit(packet(NOW_NS)) is not None


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("far", [-(2**62), 2**62, 9_999_999_999 * NS, 10**30])
def test_an_impossible_date_is_refused_in_words(far: int, knows: bool) -> None:
    gate = TimeGate(host(knows))
    assert gate.admit(packet(far)) is None
    assert gate.problem


@pytest.mark.parametrize("step_ns", [-2 * NS, 37 * NS, 6_000_000, -6_000_000, 1_735_000_000 * NS])
@pytest.mark.parametrize("flags", [(UNLOCKED, Flag.NONE), (Flag.NONE, UNLOCKED)])
def test_a_step_where_a_lock_comes_or_goes_is_flagged_once(
    step_ns: int, flags: tuple[Flag, Flag]
) -> None:
    gate = TimeGate(earliest_year=1970)
    start_ns = 20 * NS if step_ns > DAY_NS else NOW_NS  # woke in 1970
    before = gate.admit(packet(start_ns, flags[0]))
    stepped = gate.admit(packet(start_ns + NS + step_ns, flags[1]))
    after = gate.admit(packet(start_ns + 2 * NS + step_ns, flags[1]))
    assert [bool(s.flags & Flag.TIME_STEP) for s in (before, stepped, after)] == [
        False,
        True,
        False,
    ]
    assert gate.steps == 1


def test_a_lock_that_comes_without_a_step_is_none() -> None:
    gate = TimeGate()
    gate.admit(packet(NOW_NS, UNLOCKED))
    locked = gate.admit(packet(NOW_NS + NS + 4_000_000))  # within half a sample
    assert locked is not None
    assert not locked.flags & Flag.TIME_STEP


def test_channels_and_backfill_are_no_steps_of_each_other() -> None:
    gate = TimeGate()
    gate.admit(packet(NOW_NS, UNLOCKED))
    other = gate.admit(packet(NOW_NS + 40 * NS, channel="XX.A..HHN"))
    backfill = gate.admit(packet(NOW_NS - DAY_NS, Flag.HISTORICAL))
    gap = gate.admit(packet(NOW_NS + 40 * NS, UNLOCKED))
    for segment in (other, backfill, gap):
        assert segment is not None
        assert not segment.flags & Flag.TIME_STEP


def test_samples_that_a_clock_times_that_was_never_set_are_refused() -> None:
    unset = host(False)
    unset.not_before(NOW_NS + NS)  # as its ring knows
    gate = TimeGate(unset)
    assert gate.admit(packet(NOW_NS, UNLOCKED), by_host=True) is None
    assert "the host's clock, which times them, has not been set" in gate.problem
    assert gate.admit(packet(NOW_NS, UNLOCKED)) is not None  # by a clock of its own
    assert TimeGate(host(False)).admit(packet(NOW_NS, UNLOCKED), by_host=True) is not None
