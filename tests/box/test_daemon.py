"""The two daemons, as systemd would run them, over a real broker."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiomqtt
import yaml

from box.starts import STOPPED, Starts
from converters.simulator import Simulation
from uplink import packets, topics
from uplink.packets import PickFlag

STATION = "XX.S01"
WITHIN_S = 60.0


def write_config(path: Path, **content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def box_config(folder: Path, recordings: Path, simulation: Simulation, url: str, speed: object):
    station = next(s for s in simulation.stations if s.station_id == STATION)
    (folder / "data").mkdir()
    return write_config(
        folder / "box.yaml",
        station={
            "id": STATION,
            "latitude": station.latitude,
            "longitude": station.longitude,
            "elevation_m": station.elevation_m,
            "sensitivity": station.sensitivity,
        },
        source={"path": str(recordings / "waveforms" / f"{STATION}.mseed"), "speed": speed},
        broker={"url": url},
        data_dir=str(folder / "data"),
    )


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "box", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


async def heard_until_goodbye(
    host: str, port: int, ready: asyncio.Event
) -> list[tuple[str, bytes]]:
    """Everything published about the station, up to its goodbye."""
    heard: list[tuple[str, bytes]] = []
    async with aiomqtt.Client(host, port, identifier="listener") as client:
        await client.subscribe(f"{topics.ROOT}/+/+/+", qos=1)
        ready.set()
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            heard.append((message.topic.value.rsplit("/", 1)[1], message.payload))
            if heard[-1][0] == "presence" and not packets.decode_presence(message.payload).online:
                return heard
    raise AssertionError("the connection ended first")


def test_a_box_publishes_its_picks_and_says_hello_health_and_goodbye(
    recordings: Path, simulation: Simulation, tmp_path: Path, mosquitto
):
    async def listen() -> tuple[list[tuple[str, bytes]], int, str]:
        ready = asyncio.Event()
        listening = asyncio.create_task(heard_until_goodbye("127.0.0.1", mosquitto.port, ready))
        await ready.wait()
        config = box_config(tmp_path, recordings, simulation, mosquitto.url, None)
        box = start("box", config)
        heard = await asyncio.wait_for(listening, WITHIN_S)
        _, errors = await asyncio.to_thread(box.communicate)
        return heard, box.returncode, errors

    heard, status, errors = asyncio.run(listen())
    assert (status, errors) == (0, "")
    kinds = [kind for kind, _ in heard]
    assert kinds[0] == "presence"
    assert {"pick", "event", "health"} <= set(kinds)
    born = packets.decode_presence(heard[0][1])
    assert born.online
    assert set(born.models) == {"picker", "fmp", "magnitude"}
    picks = [packets.decode_pick(payload) for kind, payload in heard if kind == "pick"]
    settled = [p for p in picks if not p.flags & (PickFlag.PROVISIONAL | PickFlag.RETRACTED)]
    for event in simulation.truth:
        arrival = next(a for a in event.arrivals if a.station_id == STATION)
        mine = [p for p in settled if abs(p.time_ns - arrival.p_time_ns) < 300_000_000]
        assert mine
        assert mine[-1].magnitude is not None  # the sensitivity of the configuration is used
    [*_, last] = [payload for kind, payload in heard if kind == "health"]
    assert len(last) < 4096  # it travels by radio
    health = packets.decode_health(last)
    assert health.system is not None
    assert health.uplink is not None
    assert (health.system.starts, health.system.unclean, health.uplink.connections) == (1, 0, 1)
    assert health.uplink.session == born.session
    assert health.system.models == born.models
    assert health.system.versions["diting-smart-box"] == born.version
    assert list(health.system.free_mb) == [str(tmp_path / "data")]
    assert 20 < (health.system.resident_mb or 0) < 1000
    late = (health.system.late_p50_ms, health.system.late_p99_ms, health.system.late_max_ms)
    assert None not in late
    assert Starts(tmp_path / "data" / "starts.json").last_end == STOPPED


def test_a_box_told_to_stop_settles_and_keeps_what_the_broker_has_not(
    recordings: Path, simulation: Simulation, tmp_path: Path, mosquitto
):
    """A broker that is away: the box runs on, ends when told to, and forgets nothing."""
    mosquitto.stop()
    config = box_config(tmp_path, recordings, simulation, mosquitto.url, 1.0)
    box = start("box", config, "--verbose")
    assert box.stderr is not None
    for line in box.stderr:  # the first failed attempt says that it is running
        if "broker" in line:
            break
    box.send_signal(signal.SIGTERM)
    _, errors = box.communicate(timeout=WITHIN_S)
    assert box.returncode == 0
    assert "Traceback" not in errors
    assert "wait for the next start" in errors


def test_a_source_that_is_dead_stalls_no_other_station(
    recordings: Path, simulation: Simulation, tmp_path: Path, mosquitto
):
    """The second station's port is taken by somebody else, and health says so."""

    async def until_goodbyes() -> dict[str, list[tuple[str, bytes]]]:
        heard: dict[str, list[tuple[str, bytes]]] = {STATION: [], "XX.DEAD": []}
        async with aiomqtt.Client("127.0.0.1", mosquitto.port, identifier="listener") as client:
            await client.subscribe(f"{topics.ROOT}/+/+/+", qos=1)
            box = start("box", config)
            try:
                async for message in client.messages:
                    network, code, kind = message.topic.value.split("/")[2:5]
                    heard[f"{network}.{code}"].append((kind, bytes(message.payload)))
                    if kind == "event" and box.poll() is None:
                        box.send_signal(signal.SIGTERM)
                    last = [h[-1] for h in heard.values() if h]
                    if len(last) == 2 and all(
                        kind == "presence" and not packets.decode_presence(payload).online
                        for kind, payload in last
                    ):
                        return heard
            finally:
                _, errors = await asyncio.to_thread(box.communicate)
                assert (box.returncode, "Traceback" in errors) == (0, False), errors
        raise AssertionError("the connection ended first")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as occupant:
        occupant.bind(("127.0.0.1", 0))
        port = occupant.getsockname()[1]
        (tmp_path / "data").mkdir()
        path = str(recordings / "waveforms" / f"{STATION}.mseed")
        dead = {"type": "shake", "station": "XX.DEAD", "channels": ["EHZ"]}
        config = write_config(
            tmp_path / "box.yaml",
            station=[
                {"id": name, "latitude": 1.0, "longitude": 2.0} for name in (STATION, "XX.DEAD")
            ],
            source=[dead | {"host": "127.0.0.1", "port": port}, {"path": path, "speed": None}],
            broker={"url": mosquitto.url},
            data_dir=str(tmp_path / "data"),
        )
        heard = asyncio.run(asyncio.wait_for(until_goodbyes(), WITHIN_S))
    assert "pick" in {kind for kind, _ in heard[STATION]}
    [*_, health] = [packets.decode_health(p) for kind, p in heard["XX.DEAD"] if kind == "health"]
    assert health.notes == [f"shake 127.0.0.1:{port}: Address already in use"]
    [*_, health] = [packets.decode_health(p) for kind, p in heard[STATION] if kind == "health"]
    assert health.notes == []
    assert health.counters[f"miniseed {path} frames"] > 100


def test_a_cloud_told_to_stop_ends_in_peace(tmp_path: Path, mosquitto):
    config = write_config(
        tmp_path / "cloud.yaml",
        broker={"url": mosquitto.url},
        data_dir=str(tmp_path),
        dashboard={"port": 0},
    )
    cloud = start("cloud", config, "--verbose")
    assert cloud.stderr is not None
    for line in cloud.stderr:
        if "dashboard at" in line:
            break
    cloud.send_signal(signal.SIGTERM)
    _, errors = cloud.communicate(timeout=WITHIN_S)
    assert cloud.returncode == 0
    assert "Traceback" not in errors


def test_three_mistakes_are_reported_at_once_and_nothing_is_started(tmp_path: Path):
    config = write_config(
        tmp_path / "box.yaml",
        station={"id": "nowhere"},
        source={"path": "x", "speed": -1},
        broker={"url": "http://host"},
    )
    for command in ("box", "check"):
        run = subprocess.run(
            [sys.executable, "-m", "box", command, config], capture_output=True, text=True
        )
        said = run.stdout + run.stderr
        assert run.returncode == 2
        assert all(name in said for name in ("station.id", "source.speed", "broker.url"))
        assert "Traceback" not in said
