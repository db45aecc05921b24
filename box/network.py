"""A whole network in one process: a box per station, a broker, the cloud. For bench and demo.

The boxes share the main thread, whose CPU time is what a box costs; broker and cloud have a
thread of their own. Picks depend on the samples alone, so that every speed and every broker
gives the same ones.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from box.clock import SystemClock
from box.config import ClockConfig, PickingConfig, TriggerConfig
from box.pipeline import StationPipeline
from box.station_box import Box, birth
from box.stations import Station
from box.stretch import Models
from ringbuffer.segment import NS, Segment
from uplink.connection import BrokerAddress, UplinkError
from uplink.outbox import Kind, Outbox, OutboxError, Packet
from uplink.packets import Pick, PickFlag, decode_pick
from uplink.sending import Pace
from uplink.session import Session

_log = logging.getLogger(__name__)
CONNECT_S = 10.0
DRAIN_S = 120.0
NEVER_LATE_S = 1e9  # however slow the broker, a bench test has no backlog
BACKLOG = 100  # packets of all boxes together
RING_S = 120.0
REORDER_S = 2.0


class Meter:
    """Where time, CPU and bytes went."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.thread_time()
        self.wall_s = 0.0
        self.box_cpu_s = 0.0

    def stop(self) -> None:
        self.wall_s = time.perf_counter() - self._wall
        self.box_cpu_s = time.thread_time() - self._cpu


@dataclass
class Ledger:
    """What all boxes have published: the newest revision of each pick, and how long it took."""

    picks: dict[tuple[str, str, int], Pick] = field(default_factory=dict)
    latency_s: dict[tuple[str, str, int], float] = field(default_factory=dict)
    pick_packets: int = 0
    pick_bytes: int = 0

    def note(self, station_id: str, payload: bytes) -> None:
        pick = decode_pick(payload)
        self.picks[station_id, pick.phase, pick.id] = pick
        self.pick_packets += 1
        self.pick_bytes += len(payload)

    def acknowledged(self, packet: Packet, time_ns: int) -> None:
        if packet.kind is Kind.PICK:
            network, station = packet.topic.split("/")[2:4]
            pick = decode_pick(packet.payload)
            key = (f"{network}.{station}", pick.phase, pick.id)
            self.latency_s.setdefault(key, (time_ns - packet.created_ns) / NS)

    def standing(self) -> dict[tuple[str, str, int], Pick]:
        """The picks that were not retracted."""
        return {k: p for k, p in self.picks.items() if PickFlag.RETRACTED not in p.flags}


@dataclass
class Network:
    """Boxes for all stations of one stream of segments."""

    stations: dict[str, Station]
    channels: list[str]
    models: Models
    address: BrokerAddress | None  # None: nothing is sent
    picking: PickingConfig = field(default_factory=PickingConfig)
    ledger: Ledger = field(default_factory=Ledger)
    meter: Meter | None = None
    boxes: dict[str, Box] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # station -> why its box has stopped
    _outboxes: list[Outbox] = field(default_factory=list)

    async def run(self, segments: AsyncIterator[Segment], folder: Path) -> None:
        """Feed everything through; returns when all that was published is acknowledged.

        folder: for the outboxes. Raises UplinkError where the broker cannot be reached.
        """
        with ExitStack() as stack:
            self.boxes = {
                station_id: self._make_box(station, folder, stack)
                for station_id, station in self.stations.items()
            }
            sessions = [box.session for box in self.boxes.values()]
            if self.address is not None:
                for session in sessions:
                    session.start()
                try:
                    await asyncio.gather(*(s.first_connection(CONNECT_S) for s in sessions))
                except BaseException:
                    await asyncio.gather(*(s.stop(0) for s in sessions))
                    raise
            self.meter = Meter()
            second = 0
            async for segment in segments:
                self._dispatch(segment)
                if segment.start_ns // NS != second:
                    second = segment.start_ns // NS
                    await self._let_sessions_catch_up()
            for station_id, box in self.boxes.items():
                self._guarded(station_id, box.finish)
            if self.address is not None:
                left = sum(await asyncio.gather(*(s.stop(DRAIN_S) for s in sessions)))
                if left:
                    print(f"diting: {left} packets were not acknowledged", file=sys.stderr)
            self.meter.stop()

    async def _let_sessions_catch_up(self) -> None:
        """At full speed data time runs away from the network's: wait while much is unsent."""
        await asyncio.sleep(0)
        sessions = [box.session for box in self.boxes.values()]

        def unsent() -> int:
            pairs = zip(sessions, self._outboxes, strict=True)
            return sum(len(outbox) for session, outbox in pairs if session.connection.up)

        while unsent() > BACKLOG:  # noqa: ASYNC110 (many sessions, none knows of the others)
            await asyncio.sleep(0.001)

    def _dispatch(self, segment: Segment) -> None:
        network, station, _ = segment.channel.split(".", 2)
        station_id = f"{network}.{station}"
        box = self.boxes.get(station_id)
        if box is not None:
            self._guarded(station_id, partial(box.take, segment))

    def _guarded(self, station_id: str, step: Callable[[], None]) -> None:
        """A fault in one box stops that box, and none of the others."""
        if station_id in self.failed:
            return
        try:
            step()
        except (OutboxError, UplinkError):  # the disk or the broker: everyone's trouble
            raise
        except Exception as error:
            self.failed[station_id] = f"{type(error).__name__}: {error}"
            _log.debug("%s", station_id, exc_info=True)
            line = f"diting: {station_id}: its box has stopped: {self.failed[station_id]}"
            print(line, file=sys.stderr)

    def _make_box(self, station: Station, folder: Path, stack: ExitStack) -> Box:
        channels = [c for c in self.channels if c.startswith(station.station_id + ".")]
        pipeline = StationPipeline(
            station,
            channels,
            self.models,
            self.picking,
            TriggerConfig(),
            ClockConfig(),
            RING_S,
            REORDER_S,
        )
        clock = SystemClock()  # latencies are real, whatever the speed of the replay
        outbox = Outbox(folder / f"{station.station_id}.sqlite")
        stack.callback(outbox.close)
        self._outboxes.append(outbox)
        session = Session(
            self.address or BrokerAddress("", 0),
            station.station_id,
            outbox,
            birth=birth(station, channels, self.models),
            now_ns=clock.now_ns,
            acknowledged=self.ledger.acknowledged,
            pace=Pace(live_s=NEVER_LATE_S),
        )
        return Box(pipeline, session, clock.now_ns, self.ledger.note)

    def unheard(self) -> list[str]:
        """A line for each station of which no second could be judged: too slow, say, or damaged."""
        return [
            f"station {station_id}: nothing to pick on in its channels"
            for station_id, box in self.boxes.items()
            if not box.pipeline.counters.strides and station_id not in self.failed
        ]

    def summary(self) -> dict[str, Any]:
        """The boxes' part of `summary.json`."""
        assert self.meter is not None
        strides = sum(box.pipeline.counters.strides for box in self.boxes.values())
        standing = self.ledger.standing()
        data_s = strides / max(1, len(self.boxes))
        return {
            "stations": len(self.boxes),
            "station_seconds": strides,
            "picks": {phase: sum(k[1] == phase for k in standing) for phase in ("P", "S")},
            "retracted": len(self.ledger.picks) - len(standing),
            "pick_packets": self.ledger.pick_packets,
            "payload_bytes_per_pick": _ratio(self.ledger.pick_bytes, self.ledger.pick_packets),
            "box_cpu_s": round(self.meter.box_cpu_s, 3),
            "cpu_s_per_station_second": _ratio(self.meter.box_cpu_s, strides, 6),
            "wall_s": round(self.meter.wall_s, 3),
            "real_time_factor": _ratio(data_s, self.meter.wall_s),
            "published_latency_s": percentiles(list(self.ledger.latency_s.values())),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "models": self.models.hashes(),
            "engine": self.models.picker.engine,
        }


def _ratio(a: float, b: float, digits: int = 2) -> float | None:
    return round(a / b, digits) if b else None


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and p99 by nearest rank; nothing where there are no values."""
    ranked = sorted(values)
    return {
        f"p{p}": round(ranked[min(len(ranked) - 1, p * len(ranked) // 100)], 4)
        for p in (50, 95, 99)
        if ranked
    }
