"""The cloud as a daemon: configuration, service and dashboard."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from cloud.catalogue import Catalogue
from cloud.finder import AssociatorConfig
from cloud.model import Event
from cloud.service import CloudService
from cloud.travel_times import travel_times
from cloud.velocity import VelocityModel
from cloud.waveform_store import WaveformStore
from cloud.web import Dashboard
from uplink.connection import BrokerConfig
from uplink.tasks import end

_log = logging.getLogger(__name__)


class CloudBrokerConfig(BrokerConfig, forbid_unknown_fields=True, kw_only=True):
    client_id: str = "diting-cloud"  # under which the broker keeps what comes while we are away


class DashboardConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    host: str = "127.0.0.1"  # 0.0.0.0 is everyone's to see
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080  # 0: any that is free


class WaveformsConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An SDS folder of what boxes send of their waveforms."""

    path: str = "waveforms"  # in data_dir, unless it begins with /
    max_mb: Annotated[int, Meta(ge=1)] = 10_000


class CloudConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`diting cloud CONFIG.yaml`."""

    broker: CloudBrokerConfig
    data_dir: str = "/var/lib/diting-cloud"  # the catalogue lives here
    velocity: str | None = None  # file of `depth_km vp [vs]`; default: the crust of IASP91
    waveforms: WaveformsConfig | None = None  # null: they are not kept
    dashboard: DashboardConfig = msgspec.field(default_factory=DashboardConfig)
    association: AssociatorConfig = msgspec.field(default_factory=AssociatorConfig)


async def run_cloud(config: CloudConfig, now_ns: Callable[[], int]) -> None:
    """Run until a signal comes.

    now_ns: the wall clock. Raises CatalogueError, VelocityError, BrokerURLError, and OSError where
    the dashboard's port is taken. A broker that is away is waited for.
    """
    address = config.broker.address()
    model = VelocityModel.read(Path(config.velocity)) if config.velocity else None
    folder = Path(config.data_dir)
    kept = config.waveforms
    waveforms = WaveformStore(folder / kept.path, kept.max_mb << 20) if kept else None
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    with closing(Catalogue(folder / "catalogue.sqlite")) as catalogue:
        service = CloudService(
            address,
            catalogue,
            travel_times(model or VelocityModel.default()),
            now_ns=now_ns,
            config=config.association,
            notify=_announce,
            client_id=config.broker.client_id,
            waveforms=waveforms,
        )
        where = config.dashboard
        async with Dashboard(
            catalogue, service.ingest.counters, folder, host=where.host, port=where.port
        ) as dashboard:
            _log.info("dashboard at %s", dashboard.url)
            running = asyncio.create_task(service.run())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            await end([running, stopping])


def _announce(event_id: str, event: Event | None) -> None:
    if event is None:
        _log.info("%s: withdrawn", event_id)
        return
    origin, magnitude = event.origin, event.magnitude
    _log.info(
        "%s: M %s at %.3f %.3f, %.1f km deep, %d P, %d S, quality %s",
        event_id,
        "?" if magnitude is None else f"{magnitude:.1f}",
        *(origin.latitude, origin.longitude, origin.depth_km),
        *(origin.n_p, origin.n_s, origin.quality),
    )
