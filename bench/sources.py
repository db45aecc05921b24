"""Ten minutes through the emulator of every source: `python -m bench.sources`.

The picks must be those of a replay of the same samples, payload for payload, but for what a source
says of its clock (locked or not, its error, its age), which the recording cannot know. Then once
more with one frame in a hundred lost, damaged, torn, doubled, late, or taken by a restart: nothing
may be raised, and all that was lost must be counted: frames put on the line = used + bad, samples
of the recording = delivered + missing, and each of those delivered at its place in time.

AnyShake's protocol 1 carries no time, and its frames are stamped by when they arrive. Where they
arrive without jitter the picks are identical; `--jitter` tells what is left of that with a USB
adapter's latency.

Needs the recordings of $DITING_DATA (default: ../shared/data); without them, a simulated station.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from bench.emulators.feeds import FEEDS, Delivered, Feed, anyshake
from bench.emulators.harm import Harm
from box.assembly import load_models
from box.clock import ReplayClock
from box.config import ClockConfig, PickingConfig, TriggerConfig
from box.pipeline import StationPipeline
from box.sources.miniseed import MiniSeedSource
from box.sources.replay import in_time_order
from box.stations import Station, load_stations, simple_station
from box.stretch import Models
from converters.simulator import NetworkConfig, simulate
from ringbuffer.segment import NS, Segment
from uplink.packets import Pick, PickFlag, encode_pick

STATION = "CI.CLC"
FROM_NS = round(datetime.fromisoformat("2019-07-04T17:08:00Z").timestamp()) * NS
USB_LATENCY_NS = 16_000_000  # of the usual serial adapters: they pass bytes on so often
MS = 1_000_000
Picks = dict[tuple[str, int], bytes]  # phase and id -> payload


@dataclass(frozen=True)
class Books:
    """What was sent, and what became of it; sound where the first three hold."""

    frames: bool  # put on the line = used + bad
    samples: bool  # of the recording = delivered + missing
    places: bool  # each at its time
    line: str  # all of it, to be read

    @property
    def sound(self) -> bool:
        return self.frames and self.samples and self.places


def picks(station: Station, models: Models, segments: Iterable[Segment]) -> Picks:
    """The picks that stand in the end, without what they say of the clock."""
    segments = list(segments)
    channels = sorted({segment.channel for segment in segments})
    pipeline = StationPipeline(
        station,
        channels,
        models,
        PickingConfig(),
        TriggerConfig(),
        ClockConfig(),
        ring_s=600.0,
        reorder_s=2.0,
    )
    told = [packet for segment in segments for packet in pipeline.feed(segment)]
    told += pipeline.flush()
    newest = {(p.phase, p.id): p for p in told if isinstance(p, Pick)}
    return {
        key: encode_pick(_without_clock(pick))
        for key, pick in newest.items()
        if PickFlag.RETRACTED not in pick.flags
    }


def _without_clock(pick: Pick) -> Pick:
    flags = pick.flags & ~PickFlag.CLOCK_UNLOCKED
    return msgspec.structs.replace(pick, flags=flags, clock_uncertainty_s=0.0, clock_age_s=None)


def replayed(station: Station, models: Models, traces: list[Segment]) -> Picks:
    """Those of a replay."""
    return picks(station, models, in_time_order([trace] for trace in traces))


def through(feed: Feed, traces: list[Segment], harm: Harm) -> Delivered:
    """What an emulator's source delivers of the traces."""
    with TemporaryDirectory() as folder:
        return asyncio.run(feed(traces, Path(folder), harm))


def books(traces: list[Segment], delivered: Delivered) -> Books:
    """Whether all that was sent is accounted for."""
    sent, counters = delivered.sent, delivered.counters
    missing = misplaced = 0
    for trace in traces:
        there = np.zeros(len(trace.samples), bool)
        for segment in delivered.segments:
            if segment.channel != trace.channel:
                continue
            first = round((segment.start_ns - trace.start_ns) * trace.rate / NS)
            place = slice(first, first + len(segment.samples))
            misplaced += not (
                first >= 0
                and np.array_equal(trace.samples[place], segment.samples)
                and abs(trace.time_ns(first) - segment.start_ns) <= MS
            )
            there[place] = True
        missing += int((~there).sum())
    files = counters.connections == 0  # of which packets are counted, not records
    frames = files or (counters.frames == sent.sent - sent.damaged and counters.bad == sent.damaged)
    line = (
        f"{sent.made} made, {sent.lost} lost, {sent.sent} sent, {sent.damaged} of them damaged: "
        f"{counters.frames} used, {counters.bad} bad; {counters.missing} samples missing "
        f"({missing} are), {counters.gaps} gaps, {counters.connections} connections, "
        f"{misplaced} segments out of place"
    )
    return Books(
        frames and counters.bad >= sent.damaged,
        counters.missing == missing,
        misplaced == 0,
        line,
    )


def recorded(folder: Path, minutes: float) -> tuple[Station, list[Segment]]:
    """A station of the foreshocks, its traces cut to begin on the same whole millisecond."""
    source = MiniSeedSource(folder / "waveforms" / f"{STATION}.mseed", ReplayClock())
    stations, _ = load_stations(folder / "stationxml" / f"{STATION}.xml")
    traces = []
    for channel in source.channels:
        parts = source.read(channel, FROM_NS, FROM_NS + round(60 * minutes * NS))
        samples = np.concatenate([part.samples for part in parts])
        start_ns = round(parts[0].start_ns / MS) * MS
        traces.append(Segment(channel, start_ns, parts[0].rate, samples))
    return stations[STATION], traces


def simulated(minutes: float) -> tuple[Station, list[Segment]]:
    """One of a network around some earthquakes."""
    events = max(2, round(minutes / 2))
    simulation = simulate(3, NetworkConfig(stations=1, events=events, magnitudes=(2.6, 3.4)))
    [place] = simulation.stations
    station = simple_station(place.station, dict.fromkeys(place.channels, place.sensitivity))
    count = min([round(6000 * minutes), *(len(t.samples) for t in simulation.traces.values())])
    return station, [trace.cut(0, count // 100 * 100) for trace in simulation.traces.values()]


def jitter(station: Station, models: Models, traces: list[Segment]) -> str:
    """What is left of protocol 1's times where frames come through a USB adapter."""
    random = Random(1)

    async def feed(traces: list[Segment], folder: Path, harm: Harm) -> Delivered:
        return await anyshake(
            traces, folder, harm, 1, late_ns=lambda: random.randrange(USB_LATENCY_NS)
        )

    delivered = through(feed, traces, Harm(0.0))
    errors_ms = [
        (s.start_ns - t.time_ns(round((s.start_ns - t.start_ns) * t.rate / NS))) / MS
        for s in delivered.segments
        for t in traces
        if t.channel == s.channel
    ]
    mine, theirs = (
        picks(station, models, delivered.segments),
        replayed(station, models, traces),
    )
    return (
        f"AnyShake 1 behind a latency of up to {USB_LATENCY_NS // MS} ms: samples "
        f"{np.min(errors_ms):+.3f} to {np.max(errors_ms):+.3f} ms off, {len(mine)} picks of "
        f"{len(theirs)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--share", type=float, default=0.01, help="of the frames that are struck")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jitter", action="store_true", help="protocol 1 behind a USB adapter")
    args = parser.parse_args()
    logging.getLogger("box").setLevel(logging.ERROR)  # of connections lost
    folder = Path(os.environ.get("DITING_DATA", "../shared/data")) / "ridgecrest_foreshocks"
    known = folder.is_dir()
    station, traces = recorded(folder, args.minutes) if known else simulated(args.minutes)
    models = load_models(PickingConfig())
    wanted = replayed(station, models, traces)
    print(f"{station.station_id}, {len(traces[0].samples) / 100:g} s: {len(wanted)} picks")
    if args.jitter:
        print(jitter(station, models, traces))
    good = True
    for name, feed in FEEDS.items():
        clean = through(feed, traces, Harm(0.0))
        same = picks(station, models, clean.segments) == wanted
        account = books(traces, clean)
        print(f"{name}: picks {'identical' if same else 'DIFFER'}; {account.line}")
        struck = through(feed, traces, Harm(args.share, args.seed))
        struck_account = books(traces, struck)
        found = picks(station, models, struck.segments)
        verdict = "accounted for" if struck_account.sound else "NOT ACCOUNTED FOR"
        print(f"    struck: {verdict}, {len(found)} picks; {struck_account.line}", flush=True)
        good = good and same and account.sound and struck_account.sound
    print("good" if good else "BAD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
