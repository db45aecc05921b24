"""The whole chain through the command line: files in, files out."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from box.assembly import load_models
from box.cli import BAD_ANSWER, OK, USAGE, UsageError, main
from box.clock import ReplayClock
from box.config import PickingConfig
from box.network import Network
from box.outcome import Cloud
from box.sources.replay import SegmentSource
from box.stations import Station, simple_station
from converters.simulator import Simulation
from ringbuffer.segment import NS, Segment

TIMED = ("published_latency_s", "first_published_latency_s")


def replay(recordings: Path, out: Path, *options: str, waveforms: Path | None = None) -> int:
    return main(
        [
            *("replay", str(waveforms or recordings / "waveforms")),
            *("--stations", str(recordings / "stations.csv")),
            *("--velocity", str(recordings / "velocity.txt")),
            *("--out", str(out)),
            *options,
        ]
    )


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file without what depends on how fast things went."""
    with path.open() as file:
        return [{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def done(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a plain replay at full speed leaves."""
    out = tmp_path_factory.mktemp("done")
    assert replay(recordings, out) == OK
    return out


def test_a_replay_finds_every_earthquake_and_leaves_every_file(done: Path, simulation: Simulation):
    events = table(done / "events.csv")
    assert len(events) == len(simulation.truth)
    for event, true in zip(events, simulation.truth, strict=True):
        assert float(event["latitude"]) == pytest.approx(true.latitude, abs=0.02)
        assert float(event["longitude"]) == pytest.approx(true.longitude, abs=0.03)
        assert float(event["magnitude"]) == pytest.approx(true.magnitude, abs=0.4)
        assert (done / "events" / f"{event['event_id']}.png").stat().st_size > 10_000
    assert (done / "map.png").stat().st_size > 10_000
    assert (done / "catalog.xml").exists()
    picks = table(done / "picks.csv")
    assert {row["event_id"] for row in events} <= {row["event_id"] for row in picks}


def test_the_summary_accounts_for_cpu_bytes_and_models(done: Path):
    summary = json.loads((done / "summary.json").read_text())
    assert summary["payload_bytes_per_pick"] <= 48
    assert summary["cpu_s_per_station_second"] > 0
    assert summary["station_seconds"] > 12 * 180
    assert set(summary["models"]) == {"picker", "fmp", "magnitude"}
    assert set(summary["published_latency_s"]) == {"p50", "p95", "p99"}


def test_a_real_broker_and_another_speed_change_nothing(
    done: Path, recordings: Path, tmp_path: Path, mosquitto
):
    out = tmp_path / "out"
    assert replay(recordings, out, "--speed", "20", "--broker", mosquitto.url) == OK
    for name in ("picks.csv", "events.csv"):
        assert table(out / name) == table(done / name)
    assert (out / "catalog.xml").read_bytes() == (done / "catalog.xml").read_bytes()


def test_bad_files_and_unknown_stations_cost_a_line_each_and_nothing_else(
    recordings: Path, simulation: Simulation, tmp_path: Path, capsys
):
    waveforms = tmp_path / "waveforms"
    shutil.copytree(recordings / "waveforms", waveforms)
    (waveforms / "garbage.mseed").write_bytes(bytes(range(256)) * 40)
    torn = waveforms / "XX.S03.mseed"
    torn.write_bytes(torn.read_bytes()[:-300])
    rows = (recordings / "stations.csv").read_text().splitlines()
    folder = tmp_path / "meta"
    folder.mkdir()
    (folder / "stations.csv").write_text(
        "\n".join(row for row in rows if not row.startswith("XX.S05")) + "\nXX.S99,,10,0,1\n"
    )
    shutil.copy(recordings / "velocity.txt", folder)
    assert replay(folder, tmp_path / "out", waveforms=waveforms) == BAD_ANSWER
    lines = capsys.readouterr().err.splitlines()
    for what in ("garbage.mseed", "XX.S03.mseed", "XX.S05", "latitude"):
        assert len([line for line in lines if what in line]) == 1, (what, lines)
    assert len(table(tmp_path / "out" / "events.csv")) == len(simulation.truth)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--broker", "mqtt://127.0.0.1:1"], "127.0.0.1:1"),
        (["--broker", "http://host"], "http://host"),
        (["--velocity", "{dir}/none.txt"], "none.txt"),
        (["--stations", "{dir}/waveforms"], "waveforms"),
        (["--picker", "{dir}/stations.csv"], "stations"),
        (["--faults", "{dir}/stations.csv"], "stations.csv"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_status_2(
    recordings: Path, tmp_path: Path, capsys, change: list[str], named: str
):
    options = [part.format(dir=recordings) for part in change]
    assert replay(recordings, tmp_path / "out", *options) == USAGE
    [line] = capsys.readouterr().err.splitlines()
    assert named in line


def test_a_stations_file_without_coordinates_is_named_with_its_field(
    recordings: Path, tmp_path: Path, capsys
):
    shutil.copytree(recordings, tmp_path / "in")
    (tmp_path / "in" / "stations.csv").write_text("station_id,elevation_m\nXX.S01,3\n")
    assert replay(tmp_path / "in", tmp_path / "out") == USAGE
    [line] = capsys.readouterr().err.splitlines()
    assert "stations.csv" in line
    assert "latitude" in line


def test_injected_faults_are_survived(recordings: Path, tmp_path: Path):
    faults = tmp_path / "faults.yaml"
    span = "from: 2025-01-01T00:01:00Z, to: 2025-01-01T00:01:04Z"
    faults.write_text(
        f"- {{fault: drop, {span}, station: XX.S01}}\n"
        f"- {{fault: late, {span}, station: XX.S02, by_s: 1.5}}\n"
        f"- {{fault: step, {span}, station: XX.S03, by_s: -7.3}}\n"
    )
    assert replay(recordings, tmp_path / "out", "--faults", str(faults)) == OK
    assert table(tmp_path / "out" / "events.csv")


def test_a_segment_that_raises_stops_its_box_and_no_other(
    simulation: Simulation, tmp_path: Path, capsys
):
    sites = simulation.stations[:2]
    stations = {
        s.station_id: simple_station(s.station, dict.fromkeys(s.channels, s.sensitivity))
        for s in sites
    }
    source = SegmentSource([simulation.traces[c] for s in sites for c in s.channels], ReplayClock())
    network = Network(stations, source.channels, load_models(PickingConfig()), None)

    async def spoiled() -> AsyncIterator[Segment]:
        async for segment in source.segments():
            if segment.channel.startswith(sites[0].station_id):
                segment = replace(segment, samples=segment.samples[:, None])
            yield segment

    asyncio.run(network.run(spoiled(), tmp_path))
    assert list(network.failed) == [sites[0].station_id]
    assert {station_id for station_id, _, _ in network.ledger.picks} == {sites[1].station_id}
    [line] = capsys.readouterr().err.splitlines()
    assert sites[0].station_id in line


@pytest.mark.parametrize("path", ["stations.csv", "stations.csv/below"])
def test_an_out_that_cannot_be_a_folder_is_said_before_anything_is_read(
    recordings: Path, capsys, path: str
):
    assert replay(recordings, recordings / path) == USAGE
    [line] = capsys.readouterr().err.splitlines()
    assert "--out: " in line
    assert "stations.csv" in line


def test_a_broker_that_is_away_is_told_of_once(recordings: Path, tmp_path: Path, caplog):
    assert replay(recordings, tmp_path / "out", "--broker", "mqtt://127.0.0.1:1") == USAGE
    assert not caplog.records  # the error line is all


def test_a_number_that_is_no_port_is_a_usage_error(tmp_path: Path):
    with (
        pytest.raises(UsageError, match="--port 99999"),
        Cloud(tmp_path, "embedded", None, lambda: 0, port=99999),
    ):
        pass


def test_a_station_too_slow_to_pick_on_is_named(tmp_path: Path):
    counts = np.arange(500, dtype=np.int32)
    source = SegmentSource(
        [
            Segment(channel, 1_700_000_000 * NS, rate, counts)
            for channel, rate in (("XX.SLOW..BHZ", Fraction(5)), ("XX.FAST..BHZ", Fraction(50)))
        ],
        ReplayClock(),
    )
    stations = {name: Station(name, 1.0, 2.0) for name in ("XX.SLOW", "XX.FAST")}
    network = Network(stations, source.channels, load_models(PickingConfig()), None)
    asyncio.run(network.run(source.segments(), tmp_path))
    [line] = network.unheard()
    assert "XX.SLOW" in line
