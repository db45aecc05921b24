"""Sources over a change of configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from box.clock import SystemClock
from box.config import BoxConfig
from box.feeds import Feeds
from box.host_clock import HostClock
from ringbuffer.segment import Segment
from uplink.configuration import convert


class Source:
    """Delivers what it is told to."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Segment | Exception] = asyncio.Queue()
        self.runs = 0

    async def run(self, take) -> None:
        self.runs += 1
        while True:
            segment = await self.queue.get()
            if isinstance(segment, Exception):
                raise segment
            take(segment)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """All that were ever opened."""
    sources: list[Source] = []

    def open_sources(*_: object) -> list[Source]:
        sources.append(Source())
        return sources[-1:]

    monkeypatch.setattr("box.feeds.open_sources", open_sources)
    return sources


def config(folder: Path, source: dict[str, object]) -> BoxConfig:
    return convert(
        {
            "station": {"id": "XX.ONE", "latitude": 1, "longitude": 2},
            "source": source,
            "broker": {"url": "mqtt://here"},
            "data_dir": str(folder),
        },
        BoxConfig,
    )


SHAKE = {"type": "shake", "channels": ["EHZ"]}


def test_what_comes_while_nobody_takes_it_is_taken_in_its_order_afterwards(
    tmp_path: Path, opened: list[Source]
) -> None:
    async def scenario() -> None:
        feeds = Feeds(HostClock(SystemClock()))
        now = config(tmp_path, SHAKE)
        await feeds.open(now)
        taken: list[object] = []
        feeds.deliver(taken.append)
        opened[0].queue.put_nowait("a")  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        feeds.pause()
        for name in "bc":
            opened[0].queue.put_nowait(name)  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        assert taken == ["a"]
        await feeds.open(msgspec.structs.replace(now, reorder_s=1.0))
        feeds.deliver(taken.append)
        assert taken == ["a", "b", "c"]
        assert (len(opened), opened[0].runs) == (1, 1)
        await feeds.end()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (SHAKE, SHAKE | {"port": 9999}),
        ({"type": "miniseed", "path": "a"}, {"type": "miniseed", "path": "a"}),  # from where it is
    ],
)
def test_sources_that_cannot_run_on_are_opened_anew(
    tmp_path: Path, opened: list[Source], first: dict[str, object], then: dict[str, object]
) -> None:
    async def scenario() -> None:
        feeds = Feeds(HostClock(SystemClock()))
        await feeds.open(config(tmp_path, first))
        tasks = feeds.deliver(lambda _: None)
        await feeds.open(config(tmp_path, then))
        assert len(opened) == 2
        assert all(task.cancelled() for task in tasks)
        await feeds.end()

    asyncio.run(scenario())


def test_a_source_that_has_failed_is_opened_anew_and_its_error_is_told(
    tmp_path: Path, opened: list[Source]
) -> None:
    async def scenario() -> None:
        feeds = Feeds(HostClock(SystemClock()))
        now = config(tmp_path, SHAKE)
        await feeds.open(now)
        tasks = feeds.deliver(lambda _: None)
        opened[0].queue.put_nowait(OSError("disk full"))
        await asyncio.wait(tasks)
        assert not feeds.fit(now)
        with pytest.raises(OSError, match="disk full"):
            await feeds.end()
        await feeds.open(now)
        assert len(opened) == 2

    asyncio.run(scenario())
