"""Injected faults: what the field does to a stream, done to a replay on purpose.

A fault file is a YAML list; each entry names what, when and (optionally) where:

    - {fault: drop,      from: 2019-07-04T17:05:00Z, to: 2019-07-04T17:05:10Z, channel: CI.CLC..HHZ}
    - {fault: duplicate, from: …, to: …, station: CI.CLC}
    - {fault: late,      from: …, to: …, by_s: 1.5}
    - {fault: step,      from: …, to: …, by_s: -0.8}
    - {fault: unlock,    from: …, to: …}
    - {fault: clip,      from: …, to: …, at_counts: 8000, flagged: false}
    - {fault: dead,      from: …, to: …}
    - {fault: stuck,     from: …, to: …}
    - {fault: spike,     from: …, to: …, by_counts: 50000, every_s: 10}
    - {fault: calibrate, from: …, to: …, by_counts: 20000, every_s: 4}
    - {fault: recentre,  from: …, to: …, by_counts: 300000, rise_s: 0.5}

The last six change the samples between the two times, the others packets that begin between them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import yaml
from msgspec import Meta
from numpy.typing import NDArray

from ringbuffer.segment import NS, Flag, Segment
from uplink.configuration import ConfigError

Held = dict[tuple[int, str], int]  # fault and channel -> value that it is stuck at


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One fault within a span of time."""

    fault: Literal[
        "drop",
        "duplicate",
        "late",
        "step",
        "unlock",
        "clip",
        "dead",
        "stuck",
        "spike",
        "calibrate",
        "recentre",
    ]
    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    station: str | None = None  # NET.STA
    channel: str | None = None  # NET.STA.LOC.CHA
    by_s: Annotated[float, Meta(ge=-1e9, le=1e9)] = 0.0  # late: delay; step: error of the times
    at_counts: Annotated[int, Meta(ge=0, lt=2**31)] = 2**23 - 1  # clip: the converter's limit
    by_counts: Annotated[int, Meta(gt=-(2**31), lt=2**31)] = 100_000  # spike, calibrate, recentre
    every_s: Annotated[float, Meta(gt=0, le=1e9)] = 10.0  # spike; calibrate: period of the pulses
    rise_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.5  # recentre
    decay_s: Annotated[float, Meta(gt=0, le=1e9)] = 20.0  # recentre
    flagged: bool = True  # clip, calibrate: the source says so

    def strikes(self, segment: Segment) -> bool:
        reach_ns = segment.end_ns - 1 if self.fault in _CHANGES else segment.start_ns
        if segment.start_ns >= _ns(self.end) or reach_ns < _ns(self.start):
            return False
        if self.channel is not None and segment.channel != self.channel:
            return False
        return self.station is None or segment.channel.startswith(self.station + ".")


Counts = NDArray[np.int64]
Times = NDArray[np.float64]  # seconds since the fault began


def _clip(fault: Fault, counts: Counts, times: Times) -> Counts:
    clipped: Counts = np.clip(counts, -fault.at_counts, fault.at_counts)
    return clipped


def _dead(fault: Fault, counts: Counts, times: Times) -> Counts:
    return np.zeros_like(counts)


def _stuck(fault: Fault, counts: Counts, times: Times) -> Counts:
    """At the first value; `inject` takes care that it is the same in all packets."""
    return np.full_like(counts, counts[0])


def _spike(fault: Fault, counts: Counts, times: Times) -> Counts:
    """On the first sample of each period."""
    period = np.floor(times / fault.every_s + 1e-6)
    first = np.diff(period, prepend=np.floor((times[0] - 1e-3) / fault.every_s)) > 0
    return counts + fault.by_counts * first


def _calibrate(fault: Fault, counts: Counts, times: Times) -> Counts:
    """Square pulses, on for the first half of each period."""
    return counts + fault.by_counts * ((times / fault.every_s + 1e-6) % 1 < 0.5)


def _recentre(fault: Fault, counts: Counts, times: Times) -> Counts:
    """Off like half a cosine, and slowly back."""
    since = times - fault.rise_s
    rise = (1 + np.cos(np.pi * np.clip(since / max(fault.rise_s, 1e-9), -1, 0))) / 2
    level = fault.by_counts * rise * np.exp(-np.maximum(since, 0) / fault.decay_s)
    moved: Counts = counts + np.round(level).astype(np.int64)
    return moved


_CHANGES: dict[str, Callable[[Fault, Counts, Times], Counts]] = {
    "clip": _clip,
    "dead": _dead,
    "stuck": _stuck,
    "spike": _spike,
    "calibrate": _calibrate,
    "recentre": _recentre,
}
_FLAGS = {"clip": Flag.CLIPPED, "calibrate": Flag.CALIBRATION}


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
    held: Held = {}
    async for segment in segments:
        due = [late for at, late in waiting if at <= segment.start_ns]
        waiting = [(at, late) for at, late in waiting if at > segment.start_ns]
        for late in due:
            yield late
        for hit, delay_ns in _strike(segment, faults, held):
            if delay_ns:
                waiting.append((segment.start_ns + delay_ns, hit))
            else:
                yield hit
    for _, late in waiting:
        yield late


def _strike(segment: Segment, faults: list[Fault], held: Held) -> Iterator[tuple[Segment, int]]:
    """What becomes of a packet: itself or not, once or twice, and by how much later (ns)."""
    copies, delay_ns, struck = 1, 0, segment
    for number, fault in enumerate(faults):
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
            struck = _changed(struck, fault, held, number)
    for _ in range(copies):
        yield struck, delay_ns


def _changed(segment: Segment, fault: Fault, held: Held, number: int) -> Segment:
    """A packet with other samples in the fault's span."""
    since_s = (segment.start_ns - _ns(fault.start)) / NS
    times = since_s + np.arange(len(segment.samples)) * float(1 / segment.rate)
    inside = (times >= -1e-6) & (times < (fault.end - fault.start).total_seconds() - 1e-6)
    if not inside.any():
        return segment
    counts = segment.samples.astype(np.int64)
    changed = counts.copy()
    changed[inside] = _CHANGES[fault.fault](fault, counts[inside], times[inside])
    if fault.fault == "stuck":
        changed[inside] = held.setdefault((number, segment.channel), int(changed[inside][0]))
    samples = np.clip(changed, -(2**31), 2**31 - 1).astype(np.int32)
    flags = segment.flags
    if fault.flagged and (fault.fault == "calibrate" or (changed != counts).any()):
        flags |= _FLAGS.get(fault.fault, Flag.NONE)
    return replace(segment, samples=samples, flags=flags)
