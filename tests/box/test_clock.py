from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from box.clock import NS, ReplayClock, SystemClock

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("speed", [None, 20.0, 500.0])
def test_packets_and_sleepers_see_the_same_times_at_every_speed(speed: float | None) -> None:
    async def replay() -> list[tuple[str, int]]:
        clock = ReplayClock(speed)
        seen: list[tuple[str, int]] = []

        async def every_third() -> None:
            until_ns = 1000 * NS
            while True:
                until_ns += 3 * NS
                await clock.sleep_until(until_ns)
                seen.append(("timer", clock.now_ns() // NS))

        await clock.advance_to(1000 * NS)
        task = asyncio.create_task(every_third())
        for second in (1, 2, 1, 4, 5, 6):
            await clock.advance_to((1000 + second) * NS)
            seen.append(("packet", clock.now_ns() // NS))
        task.cancel()
        return seen

    expected = [
        ("packet", 1001),
        ("packet", 1002),
        ("packet", 1002),  # time does not go back
        ("timer", 1003),
        ("packet", 1004),
        ("packet", 1005),
        ("timer", 1006),
        ("packet", 1006),
    ]
    assert asyncio.run(replay()) == expected


def test_data_time_does_not_pass_by_itself() -> None:
    async def check() -> None:
        clock = ReplayClock(1.0)
        await clock.advance_to(100 * NS)
        await asyncio.sleep(0.02)
        assert clock.now_ns() == 100 * NS

    asyncio.run(check())


def test_real_time_takes_its_time_and_twice_as_fast_half_of_it() -> None:
    def duration(speed: float | None) -> float:
        async def wait() -> float:
            clock = ReplayClock(speed)
            await clock.advance_to(100 * NS)
            began = clock.monotonic_ns()
            await clock.advance_to(100 * NS + NS // 5)
            return (clock.monotonic_ns() - began) / NS

        return asyncio.run(wait())

    assert duration(1.0) >= 0.195  # waits are never shorter; a busy machine makes them longer
    assert duration(4.0) >= 0.045
    assert duration(None) < 0.195


def test_the_fastest_replay_still_lets_other_tasks_run() -> None:
    async def check() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        clock = ReplayClock()
        for second in range(10):
            await clock.advance_to(second * NS)
        task.cancel()
        return turns

    assert asyncio.run(check()) >= 10


def test_the_system_clock_does_not_return_early() -> None:
    async def check() -> None:
        clock = SystemClock()
        until_ns = clock.now_ns() + NS // 50
        await clock.sleep_until(until_ns)
        assert clock.now_ns() >= until_ns

    asyncio.run(check())


def test_a_speed_that_is_not_one_is_refused() -> None:
    for speed in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="speed"):
            ReplayClock(speed)


def test_nobody_else_reads_the_clock() -> None:
    readers = re.compile(r"\btime\.time(_ns)?\(|\.(utc)?now\(|\.today\(")
    for room in ("box", "models", "ringbuffer", "uplink"):
        for file in (ROOT / room).rglob("*.py"):
            if file != ROOT / "box" / "clock.py":
                found = readers.search(file.read_text())
                assert not found, f"{file.relative_to(ROOT)}: {found and found.group()}"
