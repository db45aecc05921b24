"""A task that is told to end ends, also where a library loses the first cancellation."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from uplink.tasks import end


def test_a_lost_cancellation_is_repeated() -> None:
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while lost < 2:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            lost += 1
        await asyncio.Event().wait()

    async def scenario() -> None:
        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await end([task], again_s=0.001)
        assert task.cancelled()

    asyncio.run(scenario())
    assert lost == 2


def test_what_wait_for_loses_is_not_lost() -> None:
    """As it was seen: the answer and the end in one turn of the loop."""

    async def scenario() -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def library() -> None:
            async def listening() -> None:
                await answer

            await asyncio.wait_for(listening(), 60)
            await asyncio.Event().wait()  # goes on, as if nothing had been said

        task = asyncio.create_task(library())
        for _ in range(5):
            await asyncio.sleep(0)
        answer.set_result(None)
        async with asyncio.timeout(10):
            await end([task], again_s=0.01)
        assert task.done()

    asyncio.run(scenario())


def test_what_has_ended_or_fails_is_no_obstacle() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("on the way out")

    async def scenario() -> None:
        over, failing = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fails())
        await over
        await asyncio.sleep(0)
        await end([over, failing])
        assert isinstance(failing.exception(), OSError)

    asyncio.run(scenario())
