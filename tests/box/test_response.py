from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from box.response import Response
from box.stations import load_stations
from models.conditioning import Conditioner

BROADBAND = {  # STS-2: corner at 120 s
    "zeros": (0j, 0j),
    "poles": (-0.0370237 + 0.0370244j, -0.0370237 - 0.0370244j, -251.327 + 0j),
}
TIMES = np.arange(6000) / 100


def ricker(frequency_hz: float) -> NDArray[np.float64]:
    """Ground velocity in m/s, largest (1e-3) at 30 s."""
    x = (np.pi * frequency_hz * (TIMES - 30)) ** 2
    return 1e-3 * (1 - 2 * x) * np.exp(-x)


def recorded(instrument: Response, velocity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts that an instrument makes of a velocity at 100 Hz."""
    frequency = np.fft.rfftfreq(len(velocity), 0.01)
    spectrum = np.fft.rfft(velocity)
    spectrum[1:] *= instrument.velocity_gain(frequency[1:])
    spectrum[0] = 0
    return np.fft.irfft(spectrum, len(velocity))


@pytest.mark.parametrize("units", ["M", "M/S", "M/S**2"])
@pytest.mark.parametrize("roots", [{}, BROADBAND])
def test_ground_velocity_comes_back_out_of_any_instrument(
    units: str, roots: dict[str, tuple[complex, ...]]
) -> None:
    instrument = Response(6e8, units, 1.0, **roots)  # type: ignore[arg-type]
    velocity = ricker(8)
    found = instrument.to_velocity(np.round(recorded(instrument, velocity)), 100.0)
    assert found == pytest.approx(velocity, abs=0.01e-3)


def test_a_reversed_instrument_is_turned_round() -> None:
    instrument = Response(-6e8)
    counts = recorded(instrument, ricker(8))
    assert counts[3000] < 0
    assert instrument.to_velocity(counts, 100.0)[3000] > 0.98e-3
    assert instrument.scale_to_velocity(counts, 100.0)[3000] > 0.98e-3


@pytest.mark.parametrize(
    ("instrument", "tolerance"),
    [(Response(6e8, "M/S", 0.03, **BROADBAND), 0.02), (Response(4e5, "M/S**2"), 0.04)],
)
def test_the_cheap_way_agrees_on_conditioned_samples(
    instrument: Response, tolerance: float
) -> None:
    velocity = ricker(6)
    counts = np.round(recorded(instrument, velocity)).astype(np.int32)
    cheap = instrument.scale_to_velocity(Conditioner(Fraction(100)).process(counts), 100.0)
    nanometres = np.round(velocity * 1e9).astype(np.int32)
    expected = Conditioner(Fraction(100)).process(nanometres).astype(np.float64) / 1e9
    assert np.max(np.abs(cheap)) == pytest.approx(np.max(np.abs(expected)), rel=tolerance)
    assert np.argmax(np.abs(cheap)) == np.argmax(np.abs(expected))


def test_noise_outside_the_band_is_not_blown_up() -> None:
    geophone = Response(1e8, zeros=(0j, 0j), poles=(-20 + 20j, -20 - 20j), frequency_hz=20)
    swell = 1e6 * np.sin(2 * np.pi * 0.1 * TIMES) + 5e5
    quiet = geophone.to_velocity(swell, 100.0)
    assert np.max(np.abs(quiet[500:-500])) < 1e6 / 1e8 / 100


def test_gains_equal_those_of_evalresp(data_dir: Path) -> None:
    obspy = pytest.importorskip("obspy")
    folder = data_dir / "ridgecrest_foreshocks"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    time = obspy.UTCDateTime("2019-07-04T17:02:00")
    stations, _ = load_stations(folder / "stationxml")
    frequency = np.array([1.0, 2, 5, 10, 20, 30])
    for name in ("CI.CCC..HHZ", "CI.WBM..HHE", "PB.B917..EHZ"):
        station_id = ".".join(name.split(".")[:2])
        inventory = obspy.read_inventory(str(folder / "stationxml" / f"{station_id}.xml"))
        theirs = inventory.get_response(name, time).get_evalresp_response_for_frequencies(
            frequency, "VEL"
        )
        ours = stations[station_id].response(name, time.ns)
        assert ours is not None
        assert np.abs(ours.velocity_gain(frequency)) == pytest.approx(np.abs(theirs), rel=0.02)


def test_an_earthquake_has_the_amplitude_that_obspy_finds(data_dir: Path) -> None:
    obspy = pytest.importorskip("obspy")
    folder = data_dir / "ridgecrest_foreshocks"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    begin = obspy.UTCDateTime("2019-07-04T17:02:25")  # 30 s before the M3.98
    stations, _ = load_stations(folder / "stationxml")
    for station_id in ("CI.CCC", "CI.WMF", "PB.B917"):
        inventory = obspy.read_inventory(str(folder / "stationxml" / f"{station_id}.xml"))
        stream = obspy.read(str(folder / "waveforms" / f"{station_id}.mseed"))
        for trace in stream.slice(begin, begin + 90):
            instrument = stations[station_id].response(trace.id, begin.ns)
            assert instrument is not None
            ours = instrument.to_velocity(trace.data, 100.0)
            trace.detrend("linear").remove_response(
                inventory, output="VEL", pre_filt=(0.5, 1, 45, 49.5), water_level=None, taper=False
            )
            assert np.max(np.abs(ours)) == pytest.approx(np.max(np.abs(trace.data)), rel=0.03)
