"""What a box is put together from, by its configuration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from box.clock import Clock
from box.config import BoxConfig, PickingConfig, QualityConfig, StationConfig
from box.journal import Journal
from box.pipeline import StationPipeline
from box.recording import Recording
from box.sources.live import Source
from box.station_box import Box, birth
from box.stations import Station, StationError, load_stations
from box.stretch import Models
from box.waveforms import Waveforms
from models.fmp import FMP, FirstMotion
from models.magnitude import MAGNITUDE, StationMagnitude
from models.picker import PICKER, Picker
from uplink.configuration import ConfigError
from uplink.lasting import LastingOutbox
from uplink.outbox import Ages
from uplink.sending import Pace
from uplink.session import Session

BUILT_IN: dict[str, tuple[Callable[[Path], Any], Path]] = {  # in the order of `Models`
    "picker": (Picker, PICKER),
    "first_motion": (FirstMotion, FMP),
    "magnitude": (StationMagnitude, MAGNITUDE),
}


def load_models(picking: PickingConfig) -> Models:
    """The models of a configuration. Raises ModelError for one that cannot be used."""
    return Models(*(load_model(picking, field) for field in BUILT_IN))


def load_model(picking: PickingConfig, field: str) -> Any:
    """The model that a field of the configuration names, or the built-in one."""
    kind, built_in = BUILT_IN[field]
    return kind(Path(getattr(picking, field) or built_in))


def find_station(config: StationConfig) -> Station:
    """The station of a configuration, from its StationXML or from the configuration itself."""
    if config.stationxml is not None:
        stations, problems = load_stations(Path(config.stationxml))
        if config.id not in stations:
            raise StationError(
                "\n".join([*problems, f"{config.stationxml}: {config.id} is not in it"])
            )
        return stations[config.id]
    if config.latitude is None or config.longitude is None:
        raise StationError(f"station.latitude, station.longitude: missing for {config.id}")
    return Station(
        config.id,
        config.latitude,
        config.longitude,
        config.elevation_m,
        sensitivity=config.sensitivity,
    )


def _quality(whole: QualityConfig, station: StationConfig) -> QualityConfig:
    """With what is this station's own."""
    limit = station.full_scale_counts
    return whole if limit is None else msgspec.structs.replace(whole, full_scale_counts=limit)


def make_box(
    config: StationConfig,
    whole: BoxConfig,
    sources: list[Source],
    models: Models,
    clock: Clock,
    recording: Recording,
    stack: ExitStack,
) -> Box:
    """The box of one station. `stack` will close what it has opened.

    Raises StationError, ConfigError, OutboxError, BrokerURLError.
    """
    station = find_station(config)
    channels = [c for source in sources for c in source.channels if c.startswith(config.id + ".")]
    pipeline = StationPipeline(
        station,
        channels,
        models,
        whole.picking,
        whole.trigger,
        whole.clock,
        whole.ring_s,
        whole.reorder_s,
        _quality(whole.quality, config),
    )
    if not pipeline.components:
        raise ConfigError([f"source: no channel of {config.id} to pick on"])
    limits = whole.outbox
    outbox = LastingOutbox(
        Path(whole.data_dir) / f"{config.id}.outbox.sqlite",
        max_packets=limits.max_packets,
        max_bytes=limits.max_mb << 20,
        ages=Ages(limits.pick_days, limits.event_days, limits.health_days, limits.waveform_days),
    )
    stack.callback(outbox.close)
    journal = Journal(
        Path(whole.data_dir) / f"{config.id}.ring", whole.ring.size_mb << 20, outbox.position
    )
    stack.callback(journal.close)
    session = Session(
        whole.broker.address(),
        config.id,
        outbox,
        birth=birth(station, channels, models),
        now_ns=clock.now_ns,
        pace=Pace(limits.live_s, limits.backlog_per_s, whole.waveforms.bytes_per_s),
    )
    waveforms = Waveforms(
        config.id, session, journal, lambda: pipeline.data_until_ns, clock, whole.waveforms
    )
    return Box(
        pipeline, session, clock.now_ns, journal=journal, recording=recording, waveforms=waveforms
    )
