"""Faults of the signal make no picks, cost no more than their time, and are told in health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest

import box.quality
from box.clock import ReplayClock
from box.config import ClockConfig, PickingConfig, QualityConfig, TriggerConfig
from box.faults import Fault, inject
from box.pipeline import StationPipeline
from box.quality import Detector, Findings
from box.sources.miniseed import MiniSeedSource
from box.sources.replay import in_time_order
from box.station_box import Box
from box.stations import Station, load_stations
from box.stretch import Models
from converters.simulator import Simulation
from ringbuffer.segment import NS, Flag, Segment
from uplink.outbox import Packet
from uplink.packets import Event, Pick, PickFlag, decode_health

RATE = Fraction(100)
Picks = dict[tuple[str, int], Pick]


def detect(
    samples: np.ndarray, config: QualityConfig | None = None, flags: Flag = Flag.NONE
) -> list[Findings]:
    detector = Detector(config or QualityConfig(), RATE)
    blocks = samples.astype(np.int32).reshape(-1, 100)
    return [detector.inspect(block, flags) for block in blocks]


def noise(seconds: int, scale: float = 30.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, 100 * seconds).round()


def real(found: list[Findings]) -> np.ndarray:
    """Which samples are real."""
    parts = []
    for one in found:
        part = np.zeros(len(one.samples), bool)
        part[: one.end] = True
        if one.fresh is not None:
            part[one.fresh :] = True
        part[one.spikes] = False
        parts.append(part)
    return np.concatenate(parts)


def test_of_noise_however_quiet_all_is_real() -> None:
    for scale in (0.8, 2.0, 1000.0):
        found = detect(noise(120, scale))
        assert all(one.plain for one in found)
        assert real(found).all()


def test_a_channel_that_gets_stuck_is_dead_from_the_next_second_on() -> None:
    samples = noise(90)
    samples[6050:7570] = samples[6050]
    found = detect(samples)
    assert not real(found)[6100:7500].any()
    assert real(found)[:6000].all()
    assert real(found)[7600:].all()
    assert [one.dead for one in found].index(True) == 61
    assert found[75].fresh == 0  # what the filters made of the stuck value is forgotten


def test_a_coarse_converter_is_dead_only_after_long_and_never_where_that_is_allowed() -> None:
    """Its channel is flat now and then from the beginning."""
    samples = np.where(np.arange(6000) % 400 < 350, 0, 1)
    assert real(detect(samples)).all()
    flat = np.zeros(6000)
    assert real(detect(flat)).sum() == 900
    assert real(detect(flat, QualityConfig(stuck_s=None))).all()


def test_a_few_spikes_cost_their_samples_and_many_the_channel() -> None:
    samples = noise(300)
    few = np.array([6010, 9999, 12_345, 18_000])  # one on the edge of a second
    samples[few] += 9000
    found = detect(samples)
    unreal = np.flatnonzero(~real(found))
    assert set(few) - {9999} == set(unreal)
    assert found[100].fresh == 0  # the one that was seen too late to be bridged
    assert not any(one.spiking for one in found)
    samples = noise(300)
    many = np.arange(6030, 12_000, 270)
    samples[many] += 9000
    found = detect(samples)
    assert [one.spiking for one in found].index(True) == 90
    assert not real(found)[9200:12_000].any()
    assert real(found)[18_100:].all()


def test_a_step_makes_the_filters_begin_afresh_behind_it() -> None:
    samples = noise(60)
    samples[3333:] += 40_000
    found = detect(samples)
    assert real(found).all()
    assert (found[33].end, found[33].fresh) == (33, 33)
    assert found[33].steps == [pytest.approx(40_000, abs=100)]


def test_a_recentred_mass_is_seen_when_it_is_over() -> None:
    samples = noise(60)
    since = np.arange(6000) / 100 - 33.33
    samples += np.where(since < 0, 0, 3e5 * np.minimum(since, 1) * np.exp(-since / 20))
    found = detect(samples)
    [at] = [i for i, one in enumerate(found) if one.shifted]
    assert at == 35
    assert at + 1 - found[at].shifted <= 33


def test_calibration_is_not_real_and_clipping_is() -> None:
    samples = noise(10, 3e5)
    assert not real(detect(samples, flags=Flag.CALIBRATION)).any()
    assert real(detect(samples, flags=Flag.CLIPPED)).all()
    assert detect(samples, flags=Flag.CLIPPED)[3].clipped >= 1


def test_samples_at_full_scale_are_clipped_and_below_it_are_not() -> None:
    samples = 9e6 * np.sin(np.arange(1000) / 7.0)
    limit = 2**23 - 1
    found = detect(np.clip(samples, -limit, limit), QualityConfig(full_scale_counts=limit))
    assert sum(one.clipped for one in found) == np.count_nonzero(np.abs(samples) >= limit)
    assert not any(one.clipped for one in detect(samples * 0.9))
    told = detect(np.clip(samples, -limit, limit))
    assert sum(one.clipped > 0 for one in told) >= 9


def test_a_detector_that_remembers_another_finds_the_same() -> None:
    rng = np.random.default_rng(4)
    samples = noise(240)
    samples[rng.integers(0, 24_000, 40)] += 8000
    samples[5000:7300] = 5
    samples[15_030:] += 70_000
    samples[20_000:] += 5e5 * np.minimum(np.arange(4000) / 200, 1)
    whole = detect(samples)
    detector = Detector(QualityConfig(), RATE)
    for one, block in zip(whole, samples.astype(np.int32).reshape(-1, 100), strict=True):
        fresh = Detector(QualityConfig(), RATE)
        fresh.remember(detector.memory())
        detector = fresh
        found = detector.inspect(block, Flag.NONE)
        assert (found.end, found.fresh, found.spikes) == (one.end, one.fresh, one.spikes)
        assert (found.steps, found.shifted, found.dead) == (one.steps, one.shifted, one.dead)
    for wrong in ([], [1.0] * 5):
        with pytest.raises(ValueError, match="memory"):
            Detector(QualityConfig(), RATE).remember(wrong)


# From samples to picks


def make(models: Models, station: Station, packets: Iterable[Segment]) -> StationPipeline:
    channels = sorted({p.channel for p in packets})
    settings = (PickingConfig(), TriggerConfig(), ClockConfig(), 60.0, 2.0)
    return StationPipeline(station, channels, models, *settings)


def play(pipeline: StationPipeline, packets: Iterable[Segment]) -> list[Pick | Event]:
    return [m for packet in packets for m in pipeline.feed(packet)] + pipeline.flush()


def standing(told: Iterable[Pick | Event]) -> Picks:
    newest = {(p.phase, p.id): p for p in told if isinstance(p, Pick)}
    return {key: p for key, p in newest.items() if PickFlag.RETRACTED not in p.flags}


def extra(told: Picks, expected: Picks) -> list[Pick]:
    """Picks of which there is no other of the same phase within 0.3 s."""
    return [
        p
        for p in told.values()
        if not any(
            p.phase == q.phase and abs(p.time_ns - q.time_ns) < 0.3 * NS for q in expected.values()
        )
    ]


def struck(packets: list[Segment], *faults: dict) -> list[Segment]:
    """`start` and `end` in seconds from the first packet."""
    begin = datetime.fromtimestamp(packets[0].start_ns // NS, UTC)

    def at(seconds: float) -> datetime:
        return begin + timedelta(seconds=seconds)

    made = [Fault(**{**f, "start": at(f["start"]), "end": at(f["end"])}) for f in faults]

    async def collect() -> list[Segment]:
        async def stream() -> AsyncIterator[Segment]:
            for packet in packets:
                yield packet

        return [packet async for packet in inject(stream(), made)]

    return asyncio.run(collect())


@pytest.fixture(scope="module")
def packets(simulation: Simulation, station: Station) -> list[Segment]:
    """One-second packets of the station: earthquakes after 65 s and 131 s."""
    traces = [t for c, t in simulation.traces.items() if c.startswith(station.station_id + ".")]
    return list(in_time_order([trace] for trace in traces))


@pytest.fixture(scope="module")
def clean(models: Models, station: Station, packets: list[Segment]) -> Picks:
    found = standing(play(make(models, station, packets), packets))
    assert len(found) == 4
    return found


FAULTS = {  # what is told of it in health, and the fault
    "spikes": ("", {"fault": "spike", "every_s": 7.01}),
    "dead": ("dead", {"fault": "dead"}),
    "stuck": ("dead", {"fault": "stuck"}),
    "calibration": ("calibration", {"fault": "calibrate", "every_s": 4.0}),
    "pulses": ("stepped", {"fault": "calibrate", "every_s": 11.0, "flagged": False}),
    "step": ("stepped", {"fault": "recentre", "rise_s": 0.0, "decay_s": 1e6}),
    "recentring": ("stepped", {"fault": "recentre", "rise_s": 1.0}),
}


@pytest.mark.parametrize("channel", ["all", "vertical"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_makes_no_pick_and_changes_none_elsewhere(
    models: Models,
    station: Station,
    packets: list[Segment],
    clean: Picks,
    name: str,
    channel: str,
) -> None:
    state, fault = FAULTS[name]
    where = {} if channel == "all" else {"channel": packets[0].channel[:-1] + "Z"}
    pipeline = make(models, station, packets)
    hurt = struck(packets, {**fault, **where, "start": 22.37, "end": 55.2})
    states: set[str] = set()
    told: list[Pick | Event] = []
    for packet in hurt:
        told += pipeline.feed(packet)
        states |= {health.state for health in pipeline.channel_health().values()}
    found = standing(told + pipeline.flush())
    assert extra(found, clean) == []
    assert extra(clean, found) == []
    # 131 s and later are beyond the window of the last faulty sample: the same to the bit.
    late = {k: p for k, p in clean.items() if p.time_ns > packets[0].start_ns + 120 * NS}
    assert len(late) == 2
    assert all(found[key] == pick for key, pick in late.items())
    # Where a dead channel comes back its level jumps.
    assert states == {"good", state, "stepped" if name == "dead" else "good"} - {""}
    counted = [h for h in pipeline.channel_health().values() if h.spikes or h.steps or h.dead_s]
    assert len(counted) == (0 if name == "calibration" else 3 if channel == "all" else 1)


def test_without_these_precautions_there_would_be_picks(
    models: Models,
    station: Station,
    packets: list[Segment],
    clean: Picks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the test above would not show anything."""
    vertical = packets[0].channel[:-1] + "Z"
    hurt = struck(
        packets,
        {**FAULTS["spikes"][1], "start": 22.37, "end": 55.2, "channel": vertical},
    )
    told = play(make(models, station, packets), hurt)
    assert len({(p.phase, p.id) for p in told if isinstance(p, Pick)}) == len(clean)
    monkeypatch.setattr(box.quality, "SUSPECT", 1e12)
    told = play(make(models, station, packets), hurt)
    assert len({(p.phase, p.id) for p in told if isinstance(p, Pick)}) > len(clean)


@pytest.mark.parametrize("told_by_source", [True, False])
def test_picks_on_clipped_samples_say_so(
    models: Models,
    station: Station,
    packets: list[Segment],
    clean: Picks,
    told_by_source: bool,
) -> None:
    largest = max(int(np.abs(p.samples).max()) for p in packets)
    clip = {"fault": "clip", "at_counts": largest // 8, "flagged": told_by_source}
    pipeline = make(models, station, packets)
    found = standing(play(pipeline, struck(packets, {**clip, "start": 100, "end": 1000})))
    clipped = [p for p in found.values() if PickFlag.CLIPPED in p.flags]
    assert clipped
    assert all(p.time_ns > packets[0].start_ns + 100 * NS for p in clipped)
    assert not any(PickFlag.CLIPPED in p.flags for p in clean.values())
    assert sum(h.clipped_samples for h in pipeline.channel_health().values()) > 0


def test_health_has_figures_and_the_reason_with_the_time(
    models: Models, station: Station, packets: list[Segment]
) -> None:
    vertical = packets[0].channel[:-1] + "Z"
    pipeline = make(models, station, packets)
    play(pipeline, packets[: 3 * 40])
    health = pipeline.channel_health()
    assert len(health) == 3
    sample = np.concatenate([p.samples for p in packets[: 3 * 40] if p.channel == vertical])
    assert health[vertical].offset_counts == pytest.approx(sample.mean(), abs=sample.std())
    rms = sample[: len(sample) // 100 * 100].reshape(-1, 100).std(axis=1)
    assert rms.min() < health[vertical].rms_counts < rms.max()
    response = station.response(vertical, packets[0].start_ns)
    assert response is not None
    assert health[vertical].rms_m_s == pytest.approx(
        health[vertical].rms_counts / response.sensitivity, rel=0.01
    )
    assert pipeline.signal.notes == []
    pipeline = make(models, station, packets)
    dead = {"fault": "dead", "start": 22.0, "end": 1000, "channel": vertical}
    play(pipeline, struck(packets, dead))
    [note] = pipeline.signal.notes
    since = datetime.fromtimestamp(packets[0].start_ns // NS + 22, UTC)
    assert note == f"{vertical}: dead since {since:%Y-%m-%dT%H:%M:%SZ}: no signal: left out"
    assert pipeline.channel_health()[vertical].dead_s > 100


class Session:
    """Of which nothing but what is published matters."""

    position = 0

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.problems: list[str] = []

    def publish(self, packets: Iterable[Packet], position: int = 0) -> list[int]:
        self.packets += packets
        return []

    def state(self) -> None:
        return None


def test_a_health_packet_carries_every_channel(
    models: Models, station: Station, packets: list[Segment]
) -> None:
    session = Session()
    pipeline = make(models, station, packets)
    told = Box(pipeline, session, lambda: NS)  # type: ignore[arg-type]
    hurt = struck(packets, {"fault": "spike", "start": 10, "end": 59, "every_s": 2.0})
    for packet in hurt[: 3 * 50]:
        told.take(packet)
    told.report_health()
    health = decode_health(session.packets[-1].payload)
    assert set(health.channels) == {p.channel for p in packets}
    assert {c.state for c in health.channels.values()} == {"spiking"}
    assert all(c.spikes >= 12 and c.rms_m_s for c in health.channels.values())
    assert len([note for note in health.notes if "spiking since" in note]) == 3


def test_a_box_that_is_brought_back_amid_faults_tells_the_same(
    models: Models, station: Station, packets: list[Segment]
) -> None:
    """Packets are no whole seconds: a part of a block is always waiting."""
    vertical = packets[0].channel[:-1] + "Z"
    joined = {}
    for packet in packets:
        joined.setdefault(packet.channel, []).append(packet)
    torn = []
    for parts in joined.values():
        whole = Segment(
            parts[0].channel,
            parts[0].start_ns,
            parts[0].rate,
            np.concatenate([p.samples for p in parts]),
        )
        torn += [whole.cut(i, i + 137) for i in range(0, len(whole.samples), 137)]
    torn.sort(key=lambda p: (p.end_ns, p.channel))
    hurt = struck(
        torn,
        {"fault": "spike", "start": 10, "end": 60, "every_s": 6.3},
        {"fault": "recentre", "start": 70.2, "end": 300, "channel": vertical},
        {"fault": "dead", "start": 100.3, "end": 126, "channel": vertical},
        {"fault": "calibrate", "start": 140, "end": 148, "every_s": 3, "flagged": True},
    )
    alone = make(models, station, hurt)
    told: list[list[Pick | Event]] = []
    memories = []
    for packet in hurt:
        told.append(alone.feed(packet))
        memories.append(alone.memory())
    rng = Random(5)
    possible = [i for i, m in enumerate(memories) if m is not None and m.judged > 2000]
    assert len(possible) > len(hurt) / 2
    for index in rng.sample(possible, 6):
        reach = memories[index].judged - alone.reach
        bases = [i for i in range(index) if memories[i] and memories[i].judged <= reach]
        base = bases[-1] if bases else None
        again = make(models, station, hurt)
        fed = hurt[: index + 1] if base is None else hurt[base + 1 : index + 1]
        again.resume(None if base is None else memories[base], fed, memories[index])
        assert again.memory() == memories[index]
        rest = [again.feed(packet) for packet in hurt[index + 1 :]]
        assert rest == told[index + 1 :]


def test_on_a_real_station_nothing_is_picked_where_its_vertical_comes_and_goes(
    models: Models, data_dir: Path
) -> None:
    """It is fed silence five times for seven seconds, and spikes, in quiet minutes; then, five more
    minutes on, picks are what they were."""
    folder = data_dir / "ridgecrest_quiet"
    stations, _ = load_stations(folder / "stationxml")
    source = MiniSeedSource(folder / "waveforms" / "PB.B918.mseed", ReplayClock(None))
    packets = list(source.packets())[: 3 * 420]
    station = stations["PB.B918"]
    clean = standing(play(make(models, station, packets), packets))
    vertical = next(c for c in source.channels if c.endswith("Z"))
    silences = [
        {"fault": "dead", "start": 60.3 + 20 * i, "end": 67.3 + 20 * i, "channel": vertical}
        for i in range(5)
    ]
    spikes = {"fault": "spike", "start": 170.2, "end": 300, "every_s": 9.7}
    pipeline = make(models, station, packets)
    found = standing(play(pipeline, struck(packets, *silences, spikes)))
    assert extra(found, clean) == []
    assert pipeline.channel_health()[vertical].dead_s >= 25


def test_large_spikes_hide_no_aftershocks(
    models: Models, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spike of 100,000 counts on each component every 20 s, in four busy minutes."""
    folder = data_dir / "ridgecrest_foreshocks"
    stations, _ = load_stations(folder / "stationxml")
    source = MiniSeedSource(folder / "waveforms" / "CI.CLC.mseed", ReplayClock(None))
    packets = list(source.packets())[3 * 780 : 3 * 1020]
    spikes = {"fault": "spike", "start": 60.2, "end": 300, "every_s": 20.01}
    hurt = struck(packets, spikes)

    def picks(stream: list[Segment]) -> Picks:
        return standing(play(make(models, stations["CI.CLC"], packets), stream))

    clean = picks(packets)
    assert len(clean) > 10
    assert extra(clean, picks(hurt)) == extra(picks(hurt), clean) == []
    monkeypatch.setattr(box.quality, "SUSPECT", 1e12)
    assert len(extra(clean, picks(hurt))) > 2
