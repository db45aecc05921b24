"""From the configuration of a source to the source."""

from __future__ import annotations

from pathlib import Path

from box.clock import Clock, ReplayClock
from box.config import (
    AnyShakeConfig,
    BoxConfig,
    MiniSeedConfig,
    SeedLinkConfig,
    ShakeConfig,
    SourceConfig,
)
from box.host_clock import HostClock
from box.sources.anyshake import AnyShakeSource
from box.sources.gate import TimeGate
from box.sources.live import LiveSource, Source
from box.sources.miniseed import MiniSeedSource
from box.sources.positions import Positions
from box.sources.seedlink import SeedLinkSource
from box.sources.shake import ShakeSource
from ringbuffer.channels import choose_channels
from uplink.configuration import ConfigError


def open_sources(box: BoxConfig, clock: Clock, host: HostClock | None = None) -> list[Source]:
    """The sources of a configuration, not yet connected.

    host: what is known of the clock, as far as it tells of the samples' times.
    Raises ConfigError, and SourceError for recordings that cannot be read.
    """
    positions = Positions(Path(box.data_dir) / "seedlink.json")
    sources = [_open(source, box, positions, clock) for source in box.sources]
    for source in sources:
        if isinstance(source, LiveSource):
            source.gate = TimeGate(host, box.clock.earliest_year)
    return sources


def _open(config: SourceConfig, box: BoxConfig, positions: Positions, clock: Clock) -> Source:
    match config:
        case MiniSeedConfig():
            return MiniSeedSource(Path(config.path), ReplayClock(config.speed))
        case ShakeConfig():
            return ShakeSource(config, _station_id(config.station, box), clock)
        case SeedLinkConfig():
            return SeedLinkSource(config, positions, clock)
        case AnyShakeConfig():
            return AnyShakeSource(config, _station_id(config.station, box), clock)


def source_problems(config: BoxConfig) -> list[str]:
    """What is wrong with the sources, and with what they leave the stations without.

    No connection is made, and neither recordings nor what is in `data_dir` are read.
    """
    problems: list[str] = []
    channels: list[str] = []
    recordings = False
    for number, source in enumerate(config.sources):
        where = f"source[{number}]" if len(config.sources) > 1 else "source"
        if isinstance(source, MiniSeedConfig):
            recordings = True
            if not Path(source.path).exists():
                problems.append(f"{where}.path: {source.path}: no such file or folder")
            continue
        if isinstance(source, SeedLinkConfig):
            channels += source.channels
            if source.ca_file is not None and not Path(source.ca_file).is_file():
                problems.append(f"{where}.ca_file: {source.ca_file}: no such file")
            continue
        try:
            station_id = _station_id(source.station, config)
        except ConfigError as error:
            problems += [f"{where}.{line}" for line in error.problems]
            continue
        channels += [f"{station_id}.{source.location}.{code}" for code in source.channels if code]
    ids = [station.id for station in config.stations]
    problems += [
        f"station: {name} more than once" for name in sorted(set(ids)) if ids.count(name) > 1
    ]
    problems += [
        f"source: no station {name} is configured"
        for name in sorted({channel.rsplit(".", 2)[0] for channel in channels} - set(ids))
    ]
    if not recordings:
        problems += [
            f"source: no channel of {name} to pick on"
            for name in dict.fromkeys(ids)
            if not choose_channels([c for c in channels if c.startswith(name + ".")])
        ]
    return problems


def _station_id(named: str | None, box: BoxConfig) -> str:
    """The station of a source that carries no name of one."""
    if named is not None:
        return named
    if len(box.stations) > 1:
        raise ConfigError(["station: is missing (the box has several)"])
    return box.stations[0].id
