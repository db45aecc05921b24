"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 3.0


async def end(tasks: Iterable[asyncio.Task[Any]], again_s: float = AGAIN_S) -> None:
    """Cancel tasks and wait until all have ended, however that was.

    A task that has not ended after `again_s` is cancelled again: asyncio.wait_for of Python 3.11,
    which libraries use, loses a cancellation that comes together with what is waited for.
    """
    waits = {task for task in tasks if not task.done()}
    while waits:
        for task in waits:
            task.cancel()
        _, waits = await asyncio.wait(waits, timeout=again_s)
