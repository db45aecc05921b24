"""The record by which a box tries a model that came from afar, and what is true of it.

`python -m converters.self_test_record` writes `models/self_test.npz`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from box.remote.self_test import RECORD
from converters.simulator import NetworkConfig, simulate
from models.conditioning import RATE
from ringbuffer.segment import NS

SEED = 20
DISTANCE_KM = 25.0  # as near to it as a station of the network is


def write_record(path: Path = RECORD) -> None:
    """An earthquake of magnitude 3 at one station: a minute of noise, and 45 s from P on."""
    simulation = simulate(SEED, NetworkConfig(stations=12, events=1, magnitudes=(3.0, 3.0)))
    [event] = simulation.truth
    arrival = min(event.arrivals, key=lambda a: abs(a.distance_km - DISTANCE_KM))
    [station] = [s for s in simulation.stations if s.station_id == arrival.station_id]
    traces = [simulation.traces[channel] for channel in station.channels]
    first = (arrival.p_time_ns - traces[0].start_ns) // NS * RATE - 60 * RATE
    begin_ns = traces[0].start_ns + first * NS // RATE
    np.savez_compressed(
        path,
        counts=np.stack([trace.samples[first : first + 105 * RATE] for trace in traces]),
        sensitivity=np.float64(station.sensitivity),
        p_s=np.float64((arrival.p_time_ns - begin_ns) / NS),
        s_s=np.float64((arrival.s_time_ns - begin_ns) / NS),
        polarity=np.array(arrival.polarity),
        magnitude=np.float64(event.magnitude),
    )


if __name__ == "__main__":
    write_record()
