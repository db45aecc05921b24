"""A small simulated network, as segments in memory and as files on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bench.emulators.miniseed import miniseed
from box.assembly import load_models
from box.config import PickingConfig
from box.sources.live import LiveSource, Source
from box.stations import Station, simple_station
from box.stretch import Models
from converters.simulator import NetworkConfig, Simulation, simulate
from ringbuffer.segment import Segment


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    """Twelve stations, two earthquakes, three minutes and a half."""
    return simulate(3, NetworkConfig(stations=12, events=2, magnitudes=(2.6, 3.4)))


@pytest.fixture(scope="session")
def models() -> Models:
    """The built-in ones; they keep nothing of what they judge."""
    return load_models(PickingConfig())


@pytest.fixture(scope="session")
def station(simulation: Simulation) -> Station:
    """The one nearest to the second, larger earthquake."""
    nearest = min(simulation.truth[1].arrivals, key=lambda a: a.distance_km).station_id
    [found] = [s for s in simulation.stations if s.station_id == nearest]
    return simple_station(found.station, dict.fromkeys(found.channels, found.sensitivity))


@pytest.fixture(scope="session")
def recordings(simulation: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `waveforms/STATION.mseed`, `stations.csv`, `velocity.txt`."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "waveforms").mkdir()
    for station in simulation.stations:
        path = folder / "waveforms" / f"{station.station_id}.mseed"
        with path.open("wb") as file:
            for channel in station.channels:
                file.writelines(miniseed(simulation.traces[channel]))
    rows = [
        f"{s.station_id},{s.latitude},{s.longitude},{s.elevation_m},{s.sensitivity}"
        for s in simulation.stations
    ]
    header = "station_id,latitude,longitude,elevation_m,sensitivity_counts_per_m_s"
    (folder / "stations.csv").write_text("\n".join([header, *rows]) + "\n")
    model = simulation.velocity
    nodes = zip(model.depth_km, model.vp, model.vs, strict=True)
    (folder / "velocity.txt").write_text("".join(f"{d} {p} {s}\n" for d, p, s in nodes))
    return folder


@pytest.fixture(scope="session")
def records() -> Callable[..., list[bytes]]:
    """Segment -> its miniSEED records."""
    return miniseed


class Listening:
    """A source that runs, and the segments that it has delivered."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.segments: list[Segment] = []
        self._came = asyncio.Event()

    async def __aenter__(self) -> Listening:
        self.task = asyncio.create_task(self.source.run(self._take))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def _take(self, segment: Segment) -> None:
        self.segments.append(segment)
        self._came.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the loop turn until something is so; fails where the source has failed."""
        async with asyncio.timeout(30):
            while not true():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.001)

    async def connected(self) -> None:
        source = self.source
        assert isinstance(source, LiveSource)
        await self.until(lambda: source.counters.connections > 0)


@pytest.fixture
def listening() -> type[Listening]:
    return Listening


@pytest.fixture(scope="session")
def unheard_box(recordings: Path, simulation: Simulation) -> Callable[..., Path]:
    """Folder, speed, sections -> the configuration in it of a box of XX.S01, on its recording and
    with an archive, whose broker is away: everything stays in the outbox."""

    def configure(folder: Path, speed: float | None, **sections: object) -> Path:
        place = next(s for s in simulation.stations if s.station_id == "XX.S01")
        (folder / "data").mkdir(parents=True)
        content = {
            "station": {
                "id": place.station_id,
                "latitude": place.latitude,
                "longitude": place.longitude,
                "sensitivity": place.sensitivity,
            },
            "source": {
                "type": "miniseed",
                "path": str(recordings / "waveforms" / f"{place.station_id}.mseed"),
                "speed": speed,
            },
            "broker": {"url": "mqtt://127.0.0.1:9"},
            "data_dir": str(folder / "data"),
            "archive": {"path": str(folder / "sds")},
        }
        path = folder / "box.yaml"
        path.write_text(yaml.safe_dump(content | sections))
        return path

    return configure
