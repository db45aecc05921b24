"""Injected faults: what the field does to a stream, done to a replay on purpose.

A fault file is a YAML list; each entry names what, when and (optionally) where:

    - {fault: drop,      from: 2019-07-04T17:05:00Z, to: 2019-07-04T17:05:10Z, channel: CI.CLC..HHZ}
    - {fault: duplicate, from: …, to: …, station: CI.CLC}
    - {fault: late,      from: …, to: …, by_s: 1.5}
    - {fault: step,      from: …, to: …, by_s: -0.8}
    - {fault: unlock,    from: …, to: …}
    - {fault: clip,      from: …, to: …, at_counts: 8000}
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import yaml
from msgspec import Meta

from ringbuffer.segment import NS, Flag, Segment
from uplink.configuration import ConfigError


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One fault on the packets that begin within a span of time."""

    fault: Literal["drop", "duplicate", "late", "step", "unlock", "clip"]
    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    station: str | None = None  # NET.STA
    channel: str | None = None  # NET.STA.LOC.CHA
    by_s: Annotated[float, Meta(ge=-1e9, le=1e9)] = 0.0  # late: delay; step: error of the times
    at_counts: Annotated[int, Meta(ge=0, lt=2**31)] = 2**23 - 1  # clip: the converter's limit

    def strikes(self, segment: Segment) -> bool:
        if not _ns(self.start) <= segment.start_ns < _ns(self.end):
            return False
        if self.channel is not None and segment.channel != self.channel:
            return False
        return self.station is None or segment.channel.startswith(self.station + ".")


def _ns(time: datetime) -> int:
    return round(time.timestamp() * 1e6) * 1000


def load_faults(path: Path) -> list[Fault]:
    """Read a fault file. Raises ConfigError with every entry that is wrong."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(entries, list):
        raise ConfigError([f"{path}: expected a list of faults"])
    faults, problems = [], []
    for number, entry in enumerate(entries, 1):
        try:
            fault = msgspec.convert(entry, Fault)
        except msgspec.ValidationError as error:
            problems.append(f"{path}: fault {number}: {error}")
            continue
        if fault.start.tzinfo is None or fault.end.tzinfo is None:
            problems.append(f"{path}: fault {number}: from, to: times need a Z")
        faults.append(fault)
    if problems:
        raise ConfigError(problems)
    return faults


async def inject(segments: AsyncIterator[Segment], faults: list[Fault]) -> AsyncIterator[Segment]:
    """The stream as the faults leave it; a late packet comes once the others are that far on."""
    waiting: list[tuple[int, Segment]] = []  # (due at this stream time, packet)
    async for segment in segments:
        due = [late for at, late in waiting if at <= segment.start_ns]
        waiting = [(at, late) for at, late in waiting if at > segment.start_ns]
        for late in due:
            yield late
        for hit, delay_ns in _strike(segment, faults):
            if delay_ns:
                waiting.append((segment.start_ns + delay_ns, hit))
            else:
                yield hit
    for _, late in waiting:
        yield late


def _strike(segment: Segment, faults: list[Fault]) -> Iterator[tuple[Segment, int]]:
    """What becomes of a packet: itself or not, once or twice, and by how much later (ns)."""
    copies, delay_ns, struck = 1, 0, segment
    for fault in faults:
        if not fault.strikes(segment):
            continue
        if fault.fault == "drop":
            copies = 0
        elif fault.fault == "duplicate":
            copies *= 2
        elif fault.fault == "late":
            delay_ns += round(fault.by_s * NS)
        elif fault.fault == "step":
            struck = replace(struck, start_ns=struck.start_ns + round(fault.by_s * NS))
        elif fault.fault == "unlock":
            struck = replace(struck, flags=struck.flags | Flag.CLOCK_UNLOCKED)
        else:
            clipped = np.clip(struck.samples, -fault.at_counts, fault.at_counts)
            hit = Flag.CLIPPED if (clipped != struck.samples).any() else Flag.NONE
            struck = replace(struck, samples=clipped, flags=struck.flags | hit)
    for _ in range(copies):
        yield struck, delay_ns
