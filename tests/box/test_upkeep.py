"""What is done beside picking must neither end it nor be missing in silence."""

from __future__ import annotations

import asyncio
import logging

import pytest

from box.upkeep import keep_up


def test_what_fails_is_told_and_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    began = 0

    async def what() -> None:
        nonlocal began
        began += 1
        if began == 1:
            raise ValueError("x" * 1000)
        if began == 2:
            raise TimeoutError

    with caplog.at_level(logging.ERROR):
        asyncio.run(keep_up("health", what, told.append, pause_s=0))
    assert began == 3
    assert told[0].startswith("health: xxx")
    assert len(told[0]) == 200  # it travels by radio
    assert told[1] == "health: TimeoutError"
    assert len(caplog.records) == 2


def test_what_is_cancelled_ends() -> None:
    async def scenario() -> None:
        forever = asyncio.Event()
        task = asyncio.create_task(keep_up("health", forever.wait, print))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
