from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from box.clock import NS, ReplayClock

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("speed", [None, 20.0, 500.0])
def test_data_time_is_the_same_at_every_speed_and_does_not_go_back(speed: float | None) -> None:
    async def replay() -> list[int]:
        clock = ReplayClock(speed)
        seen = []
        for second in (0, 1, 2, 1, 4):
            await clock.advance_to((1000 + second) * NS)
            seen.append(clock.now_ns() // NS)
        return seen

    assert asyncio.run(replay()) == [1000, 1001, 1002, 1002, 1004]


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
