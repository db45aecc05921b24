"""A small simulated network, as segments in memory and as files on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymseed import DataEncoding, MS3Record, nslc2sourceid

from converters.simulator import NetworkConfig, Simulation, simulate
from ringbuffer.segment import Segment


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    """Twelve stations, two earthquakes, three minutes and a half."""
    return simulate(3, NetworkConfig(stations=12, events=2, magnitudes=(2.6, 3.4)))


def miniseed(segment: Segment) -> list[bytes]:
    """A segment as miniSEED 2 records of 512 bytes."""
    record = MS3Record(reclen=512, encoding=DataEncoding.STEIM2)
    record.sourceid = nslc2sourceid(*segment.channel.split("."))
    record.formatversion = 2
    record.starttime = segment.start_ns
    record.samprate = float(segment.rate)
    return list(record.generate(segment.samples, "i"))


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
