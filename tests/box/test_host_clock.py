"""What the kernel and chrony say of the host's clock."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from bench.emulators.clock import HandClock
from box import host_clock
from box.host_clock import (
    EARLIEST_NS,
    NETWORK_US,
    PATIENCE_NS,
    HostClock,
    HostReading,
    ask_chrony,
    judge_kernel,
    parse_tracking,
    read_kernel,
)
from ringbuffer.segment import NOTHING_KNOWN, NS, ClockState

NOW_NS = 1_790_000_000 * NS
# Of chronyc 4 on a client of a server across the internet, with a GPS receiver, at first, and where
# chrony follows nothing but itself.
CLIENT = (
    "C0A80101,192.168.1.1,3,1776153600.123456,0.000123,0.000045,0.000067,12.345,0.010,0.250,"
    "0.001200,0.004500,64.0,Normal\n"
)
GPS = (
    "50505300,PPS,1,1776153600.123456,0.000000015,0.000000021,0.000000034,-1.234,0.001,0.015,"
    "0.000000000,0.000015000,16.0,Normal\n"
)
NEVER = (
    "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,0.000000000,"
    "0.000000000,0.0,Not synchronised\n"
)
LOCAL = (
    "7F7F0101,,10,1776153600.1,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,0.000000000,"
    "0.000000000,0.0,Normal\n"
)


def test_the_error_by_chrony_is_that_of_an_even_spread_within_its_bound() -> None:
    at_most_us = 123 + 4500 + 600
    assert parse_tracking(CLIENT) == HostReading(True, round(at_most_us / 3**0.5), "chrony")
    assert parse_tracking(GPS) == HostReading(True, 9, "chrony")


@pytest.mark.parametrize("line", [NEVER, LOCAL, NEVER.replace("Not synchronised", "3")])
def test_a_chrony_that_follows_nobody_is_not_synchronised(line: str) -> None:
    assert parse_tracking(line) == HostReading(False, None, "chrony")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "506 Cannot talk to daemon\n",
        "1,2,3",
        CLIENT.replace("0.004500", "x"),
        CLIENT.replace("0.004500", "nan"),
        CLIENT.replace("0.004500", "inf"),
        CLIENT[:60],
    ],
)
def test_what_is_no_tracking_says_nothing(line: str) -> None:
    assert parse_tracking(line) is None


def test_the_kernel_says_whether_a_daemon_keeps_the_clock() -> None:
    assert judge_kernel(0x2041, 16_000_000) == HostReading(False, None, "kernel")  # STA_UNSYNC
    assert judge_kernel(0x2001, 300) == HostReading(True, NETWORK_US, "kernel")
    assert judge_kernel(0x2001, 70_000) == HostReading(True, 70_000, "kernel")


def test_asking_the_kernel_sets_nothing_and_gives_an_answer_or_none() -> None:
    reading = read_kernel()
    assert reading is None or (reading.by == "kernel" and reading.synchronised in (True, False))


def program(folder: Path, text: str) -> None:
    path = folder / "chronyc"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_chrony_is_asked_by_its_own_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, f'test "$*" = "-c -n tracking" && printf "{CLIENT.strip()}"')
    assert asyncio.run(ask_chrony()) == parse_tracking(CLIENT)
    program(tmp_path, "echo '506 Cannot talk to daemon'; exit 1")
    assert asyncio.run(ask_chrony()) is None


def test_a_chrony_that_hangs_is_given_up_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(host_clock, "CHRONY_S", 0.05)
    program(tmp_path, "exec sleep 1000")
    assert asyncio.run(ask_chrony()) is None


def test_a_host_without_chrony_asks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(ask_chrony()) is None


def clock(
    at: HandClock, kernel: list[HostReading | None], chrony: HostReading | None = None
) -> HostClock:
    """kernel: its answer is the first of these, at any time."""

    async def ask() -> HostReading | None:
        return chrony

    return HostClock(at, lambda: kernel[0], ask)


def test_the_last_lock_is_remembered_when_it_is_lost() -> None:
    at = HandClock(NOW_NS)
    locked, lost = HostReading(True, 12_000, "kernel"), HostReading(False, None, "kernel")
    answers: list[HostReading | None] = [lost, locked, lost, None]
    host = clock(at, answers)
    states = []
    while answers:
        asyncio.run(host.poll())
        answers.pop(0)
        states.append((host.synchronised, host.state()))
        at.at_ns += 60 * NS
    kept = ClockState(12_000, NOW_NS + 60 * NS)
    assert states == [(False, NOTHING_KNOWN), (True, kept), (False, kept), (False, kept)]


def test_chrony_knows_better_than_the_kernel() -> None:
    host = clock(HandClock(NOW_NS), [None], HostReading(True, 9, "chrony"))
    asyncio.run(host.poll())
    assert host.state() == ClockState(9, NOW_NS)
    assert host.problems == []


def test_a_host_that_has_not_been_set_is_waited_for_and_told_of() -> None:
    at = HandClock(3600 * NS)
    host = clock(at, [HostReading(True, 9, "kernel")])
    asyncio.run(host.poll())
    assert (host.plausible, host.synchronised) == (False, False)
    assert host.problems == ["clock: the host's has not been set"]

    async def wait() -> None:
        waiting = asyncio.create_task(host.until_plausible())
        await asyncio.sleep(0)
        assert not waiting.done()
        at.at_ns = EARLIEST_NS
        async with asyncio.timeout(10):
            await waiting

    asyncio.run(wait())
    assert host.plausible


def test_samples_with_a_time_of_their_own_tell_the_time_to_a_host_that_was_never_set() -> None:
    """A box with GNSS and neither battery nor network would else be silent for ever."""
    at = HandClock(3600 * NS)
    host = clock(at, [HostReading(False, None, "kernel")])
    host.told(NOW_NS)
    assert host.plausible
    assert host.now_ns() == NOW_NS
    assert not host.synchronised
    assert host.problems == ["clock: the host's has not been set"]
    at.at_ns = NOW_NS - 300 * NS  # it is set: now it is the clock, whatever the samples say
    assert host.now_ns() == at.at_ns


def test_a_clock_that_wakes_when_it_was_switched_off_is_waited_for_but_not_for_ever() -> None:
    """As a Raspberry Pi's does: it looks good, and is late by the outage."""
    at, lost = HandClock(NOW_NS), HostReading(False, None, "kernel")
    answers: list[HostReading | None] = [lost]
    host = clock(at, answers)
    host.not_before(NOW_NS + 1800 * NS)  # its newest record came then
    asyncio.run(host.poll())
    assert (host.is_set, host.plausible) == (False, False)
    host.told(NOW_NS + 900 * NS)  # of what was under way
    assert not host.plausible
    host.told(NOW_NS + 3600 * NS)
    assert (host.is_set, host.plausible, host.now_ns()) == (False, True, NOW_NS + 3600 * NS)
    answers[0] = HostReading(True, 500, "kernel")
    asyncio.run(host.poll())
    assert (host.is_set, host.now_ns()) == (True, NOW_NS)  # whatever the records say


def test_a_clock_that_nobody_sets_is_believed_in_the_end() -> None:
    """The ring may have been written by a clock that was years ahead."""

    class Both(HandClock):
        passed_ns = 0

        def monotonic_ns(self) -> int:
            return self.passed_ns

    at = Both(NOW_NS)
    host = clock(at, [None])
    host.not_before(NOW_NS + 10**18)
    assert not host.is_set
    at.passed_ns = PATIENCE_NS + 1
    assert host.is_set
    at.at_ns = NOW_NS // 2  # but never what cannot be
    assert not host.is_set


def test_the_kernel_is_believed_until_chrony_has_answered() -> None:
    async def run() -> None:
        answered = asyncio.Event()

        async def chrony() -> HostReading:
            await answered.wait()
            return HostReading(True, 9, "chrony")

        host = HostClock(HandClock(NOW_NS), lambda: HostReading(True, 12_000, "kernel"), chrony)
        polling = asyncio.create_task(host.poll())
        await asyncio.sleep(0)
        assert host.state() == ClockState(12_000, NOW_NS)
        answered.set()
        await polling
        assert host.state() == ClockState(9, NOW_NS)

    asyncio.run(run())
