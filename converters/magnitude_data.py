"""What the magnitude model learns from: simulated records, and real ones with a catalogue."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from cloud.geodesy import distance_azimuth
from cloud.model import Phase
from cloud.travel_times import TravelTimes
from cloud.velocity import VelocityModel
from converters.datasets import DatasetError, Record, nanoseconds, read_rows
from converters.simulator import VELOCITY
from converters.synthetics import Site, Source, ground_velocity, site_noise, trace_path
from models.conditioning import RATE, band_pass
from models.magnitude import BEFORE, SHORTEST, WINDOW, make_features
from ringbuffer.segment import NS

Floats = NDArray[np.float32]
PHASES: tuple[Phase, ...] = ("P", "S")
MARGIN = 50  # samples kept before the window, for picks that are early
SETTLE = 6 * RATE  # samples of a simulated record before that, in which filters come to rest
VISIBLE = 2.5  # times the noise that P must reach within 3 s, or nobody would have picked it
PICK_ERROR_S = 0.06
S_ERROR_S = 0.1
S_LAG_S = 0.5  # from S until it is picked
SCATTER = 0.3  # of magnitudes at single stations, where none is given
MATCH_S = 1.5  # between a pick and what a catalogue predicts


@dataclass(frozen=True)
class Shaking:
    """One earthquake at one station.

    velocity: conditioned, m/s, 100 Hz, shape (n, 3), from MARGIN + BEFORE samples before P on
    magnitude: nan where only the shape of the record is known, not its size
    """

    velocity: Floats
    s_minus_p_s: float | None
    magnitude: float
    station_id: str = ""

    def window(self, shift: int = 0, seconds: float = WINDOW / RATE) -> Floats:
        """What a model would see: `seconds` of it, picked `shift` samples late."""
        first = MARGIN + shift
        return self.velocity[first : first + round(seconds * RATE)]


class Examples(NamedTuple):
    """Features and targets, one row each."""

    shape: Floats
    scalars: Floats
    residual: Floats  # magnitude − baseline
    weight: Floats


def simulated(count: int, noises: list[Floats], seed: int) -> Iterator[Shaking]:
    """Earthquakes of M -0.5 to 6.5 within 150 km, as far as they rise above the noise.

    noises: ground velocity, shape (n, 3), conditioned; without any, all noise is simulated.
    """
    rng = np.random.default_rng(seed)
    tables = [
        TravelTimes(model, max_distance_km=160, max_depth_km=26, max_elevation_km=2)
        for model in (VELOCITY, VelocityModel.default())
    ]
    made = 0
    while made < count:
        shaking = _simulate(tables[int(rng.integers(len(tables)))], noises, rng)
        if shaking is not None:
            made += 1
            yield shaking


def _simulate(
    tables: TravelTimes, noises: list[Floats], rng: np.random.Generator
) -> Shaking | None:
    path = trace_path(
        tables,
        epicentral_km=150 * rng.uniform() ** 1.7,
        azimuth_deg=rng.uniform(0, 360),
        depth_km=float(np.clip(rng.gamma(3, 3), 1, 25)),
        elevation_m=500.0,
    )
    source = Source(
        magnitude=rng.uniform(-0.5, 6.5),
        strike=rng.uniform(0, 360),
        dip=rng.uniform(15, 90),
        rake=rng.uniform(-180, 180),
        stress_drop_pa=3e6 * np.exp(rng.normal(0, 0.8)),
    )
    site = Site(
        noise=rng.uniform(0.2, 0.7),
        kappa_s=rng.uniform(0.01, 0.08),
        amplification=np.exp(rng.normal(0, 0.65)),
    )
    count = SETTLE + MARGIN + WINDOW + MARGIN
    p_at = (SETTLE + MARGIN + BEFORE) / RATE
    motion = ground_velocity(source, path, site, RATE, count, p_at - path.p_time_s, rng)
    quiet = site_noise(site, RATE, count, rng)
    shaken, quiet = (
        signal.sosfilt(band_pass(RATE), part, axis=0)[SETTLE:].astype(np.float32)
        for part in (motion, quiet)
    )
    if noises and rng.uniform() < 0.7:
        noise = noises[int(rng.integers(len(noises)))]
        start = int(rng.integers(len(noise) - len(quiet)))
        quiet = noise[start : start + len(quiet)] * np.float32(np.exp(rng.normal(0, 0.5)))
    shaking = Shaking(shaken + quiet, path.s_time_s - path.p_time_s, source.magnitude)
    return shaking if is_visible(shaking) else None


def is_visible(shaking: Shaking) -> bool:
    """Whether P rises above what came before it."""
    window = np.abs(shaking.window())
    return bool(window[BEFORE:SHORTEST].max() > VISIBLE * window[: BEFORE - 20].max())


def catalogued(
    folder: Path, records: Iterable[Record], velocity: VelocityModel
) -> Iterator[Shaking]:
    """The earthquakes of a folder's catalogue (`events*.csv`) where their P was picked.

    records: of that folder, with arrivals; stations whose response is not known are left out.
    Raises DatasetError.
    """
    events = read_rows(_only(folder, "events*.csv"))
    stations = {row["station_id"]: row for row in read_rows(folder / "stations.csv")}
    tables = TravelTimes(velocity)
    for record in records:
        station = stations.get(record.station_id)
        ground = physical(folder, record)
        if station is None or ground is None:
            continue
        for event in events:
            onsets = _onsets(record, station, event, tables)
            p_s, s_s = onsets["P"], onsets["S"]
            if p_s is None:
                continue
            first = round((p_s + record.delay_s) * RATE) - BEFORE - MARGIN
            if first < 0 or first + MARGIN + SHORTEST + MARGIN > len(ground):
                continue
            s_minus_p = s_s - p_s if s_s is not None and s_s > p_s else None
            velocity_m_s = ground[first : first + MARGIN + WINDOW + MARGIN]
            magnitude = float(event["magnitude"])
            yield Shaking(velocity_m_s, s_minus_p, magnitude, record.station_id)


def _onsets(
    record: Record, station: dict[str, str], event: dict[str, str], tables: TravelTimes
) -> dict[str, float | None]:
    """Seconds of the P and S picked nearest to where the catalogue has them, if within MATCH_S."""
    names = ("latitude", "longitude")
    places = [float(row[name]) for row in (event, station) for name in names]
    distance, _ = distance_azimuth(*places)
    origin_s = (nanoseconds(event["time"]) - record.start_ns) / NS
    onsets: dict[str, float | None] = {}
    for phase in PHASES:
        rays = tables.rays(
            phase, distance, float(event["depth_km"]), float(station["elevation_m"]) / 1000
        )
        expected = origin_s + float(rays.time_s)
        picks = [a.seconds for a in record.arrivals if a.phase == phase]
        nearest = min(picks, key=lambda at: abs(at - expected), default=math.inf)
        onsets[phase] = nearest if abs(nearest - expected) <= MATCH_S else None
    return onsets


def shapes(records: Iterable[Record]) -> Iterator[Shaking]:
    """Records with P and S whose amplitudes have no known unit: magnitude nan."""
    for record in records:
        onsets = {arrival.phase: arrival.seconds for arrival in record.arrivals}
        if "P" not in onsets or not onsets["P"] < onsets.get("S", 0):
            continue
        samples = record.conditioned()
        if record.units == "m/s**2":
            samples = np.cumsum(samples, axis=0) / RATE
        first = round((onsets["P"] + record.delay_s) * RATE) - BEFORE - MARGIN
        cut = samples[max(first, 0) : first + MARGIN + WINDOW + MARGIN]
        if first < 0 or len(cut) < MARGIN + SHORTEST + MARGIN or not cut[:, 0].any():
            continue
        unit = np.abs(cut).max() * 1e5  # about what an earthquake of M 2 at 10 km does
        s_minus_p = onsets["S"] - onsets["P"]
        yield Shaking(cut / unit, s_minus_p, math.nan, record.station_id)


def physical(folder: Path, record: Record) -> Floats | None:
    """Conditioned ground velocity (m/s), None where the StationXML does not describe it."""
    import obspy

    file = folder / "stationxml" / f"{record.station_id}.xml"
    if not file.is_file():
        return None
    inventory = obspy.read_inventory(file)
    gains = []
    for channel in record.channels:
        try:
            response = inventory.get_response(channel, obspy.UTCDateTime(record.start_ns / NS))
        except Exception:  # obspy raises a bare Exception where it has no response
            return None
        sensitivity = response.instrument_sensitivity
        if sensitivity is None or sensitivity.input_units.upper() != "M/S":
            return None
        gains.append(sensitivity.value)
    return record.conditioned() / np.array(gains, np.float32)


def _only(folder: Path, pattern: str) -> Path:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise DatasetError(f"{folder}: {len(files)} files {pattern}, 1 wanted")
    return files[0]


def make_examples(shakings: list[Shaking], copies: int, weight: float, seed: int) -> Examples:
    """Each earthquake as a box may see it: after a while or soon, with S known or not."""
    rng = np.random.default_rng(seed)
    rows = [_example(shaking, rng) for shaking in shakings for _ in range(copies)]
    shape, scalars, residual = zip(*rows, strict=True)
    weights = np.full(len(rows), weight / len(rows), np.float32)
    return Examples(np.concatenate(shape), np.concatenate(scalars), np.array(residual), weights)


def _example(shaking: Shaking, rng: np.random.Generator) -> tuple[Floats, Floats, np.float32]:
    seconds = (SHORTEST + (WINDOW - SHORTEST) * rng.uniform() ** 2) / RATE
    if rng.uniform() < 0.4:
        seconds = WINDOW / RATE
    window = shaking.window(round(rng.normal(0, PICK_ERROR_S) * RATE), seconds)
    if rng.uniform() < 0.1:
        window = window * np.array([1, 0, 0], np.float32)
    s_s = shaking.s_minus_p_s
    arrived = s_s is not None and len(window) > BEFORE + (s_s + S_LAG_S) * RATE
    told = None
    if s_s is not None and arrived and rng.uniform() < 0.7:
        told = max(0.1, s_s + rng.normal(0, S_ERROR_S))
    features = make_features(window, told)
    truth = shaking.magnitude
    if math.isnan(truth):
        truth = whole_magnitude(shaking) + rng.normal(0, SCATTER)
    return features.shape, features.scalars, np.float32(truth - features.baseline)


def whole_magnitude(shaking: Shaking) -> float:
    """Magnitude of the whole record by physics alone, with S known."""
    return make_features(shaking.window(), shaking.s_minus_p_s).baseline


def join(parts: list[Examples]) -> Examples:
    """All examples of several sets."""
    return Examples(*map(np.concatenate, zip(*parts, strict=True)))
