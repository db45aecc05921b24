"""`diting replay`: recordings through boxes, MQTT and the cloud, as if they came live."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from box.assembly import load_models
from box.cli import BAD_ANSWER, OK, UsageError, output_folder
from box.clock import ReplayClock
from box.config import PickingConfig
from box.faults import inject, load_faults
from box.network import Network
from box.outcome import Cloud, cloud_is_installed, write_picks_only
from box.sources.miniseed import MiniSeedSource
from box.stations import Station, load_stations
from ringbuffer.segment import NS, Segment
from uplink.connection import BrokerAddress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("waveforms", type=Path, help="miniSEED file, folder of them, or SDS root")
    parser.add_argument(
        "--stations",
        type=Path,
        required=True,
        help="StationXML file or folder, or CSV station_id,latitude,longitude,elevation_m",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--velocity", type=Path, metavar="FILE", help="lines of depth_km vp [vs]")
    parser.add_argument(
        "--speed",
        type=speed,
        default=None,
        metavar="max|N",
        help="times real time (default max: as fast as it goes, with the same results)",
    )
    parser.add_argument(
        "--broker",
        default="embedded",
        metavar="embedded|URL",
        help="mqtt[s]://[user:pass@]host[:port], or one inside this process (default)",
    )
    parser.add_argument("--json", action="store_true", help="print summary.json, nothing else")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="faults to inject (YAML)")
    for field, name in (("picker", "picker"), ("first-motion", "first-motion model")):
        parser.add_argument(
            f"--{field}",
            metavar="FILE",
            help=f"{name} in place of the built-in one, as `diting convert` leaves it",
        )
    parser.add_argument("--merge", choices=("median", "max", "mean"), default="median")
    parser.add_argument("--p-threshold", type=_fraction, help="default: the model's own")
    parser.add_argument("--s-threshold", type=_fraction, help="default: the model's own")


def speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither max nor a positive number")
    return value


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value


def run(args: argparse.Namespace) -> int:
    if args.broker != "embedded":
        BrokerAddress.parse(args.broker)  # a mistake in it is worth no minute of reading
    output_folder(args.out)
    # A broker that is away is told of once, by the error or at the end, not at each attempt.
    logging.getLogger("uplink.connection").setLevel(logging.ERROR)
    faults = load_faults(args.faults) if args.faults else []
    stations, problems = load_stations(args.stations)
    picking = PickingConfig(
        merge=args.merge,
        p_threshold=args.p_threshold,
        s_threshold=args.s_threshold,
        picker=args.picker,
        first_motion=args.first_motion,
    )
    models = load_models(picking)
    clock = ReplayClock(args.speed)
    source = MiniSeedSource(args.waveforms, clock)
    stations, unknown = _known(source, stations, args.stations)
    if not stations:
        raise UsageError("\n".join([*problems, *unknown]))
    for line in [*problems, *unknown]:
        print(f"diting: {line}", file=sys.stderr)
    segments = _progress(inject(source.segments(), faults) if faults else source.segments())

    network = Network(stations, source.channels, models, None, picking)
    with TemporaryDirectory(prefix="diting-") as folder:
        if cloud_is_installed():
            with Cloud(args.out, args.broker, args.velocity, clock.now_ns) as cloud:
                network.address = cloud.address
                asyncio.run(network.run(segments, Path(folder)))
                _, summary = cloud.conclude(network, source.read)
        else:
            print(
                "diting: no cloud here (pip install 'diting-smart-box[cloud]'): picks only",
                file=sys.stderr,
            )
            asyncio.run(network.run(segments, Path(folder)))
            summary = write_picks_only(args.out, network)
    wrong = [*source.problems, *network.unheard()]
    for line in wrong:
        print(f"diting: {line}", file=sys.stderr)
    print(json.dumps(summary) if args.json else _in_words(summary, args.out))
    return BAD_ANSWER if problems or unknown or wrong or network.failed else OK


def _known(
    source: MiniSeedSource, stations: dict[str, Station], path: Path
) -> tuple[dict[str, Station], list[str]]:
    """The stations that are in the recordings, and a line for each recorded one we don't know."""
    recorded = sorted({".".join(channel.split(".")[:2]) for channel in source.channels})
    known = {name: stations[name] for name in recorded if name in stations}
    unknown = [
        f"{path}: station {name} is not in it: left out" for name in recorded if name not in known
    ]
    return known, unknown


def _in_words(summary: dict[str, Any], out: Path) -> str:
    picks, latency = summary["picks"], summary["published_latency_s"]
    return (
        f"{summary['stations']} stations, {summary['station_seconds']} station-seconds: "
        f"{picks['P']} P, {picks['S']} S, {summary.get('events', 'no')} events\n"
        f"{1000 * (summary['cpu_s_per_station_second'] or 0):.2f} ms of CPU per station-second, "
        f"{summary['payload_bytes_per_pick'] or 0} bytes per pick, "
        f"published within {latency.get('p95', 0)} s (95 %)\n"
        f"{out}/"
    )


async def _progress(segments: AsyncIterator[Segment]) -> AsyncIterator[Segment]:
    """Pass segments on; on a terminal, show each minute of data as it goes by."""
    shown = 0
    async for segment in segments:
        yield segment
        minute = segment.end_ns // (60 * NS)
        if minute > shown and sys.stderr.isatty():
            shown = minute
            at = datetime.fromtimestamp(60 * minute, UTC)
            print(f"\r{at:%Y-%m-%d %H:%M}", end="", file=sys.stderr, flush=True)
    if shown:
        print("\r" + " " * 16 + "\r", end="", file=sys.stderr)
