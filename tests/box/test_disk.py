"""Full disks and flipped bits, through the real process: told of, and survived."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from time import sleep

import aiomqtt
import pytest
import yaml

from box.check import check
from converters.simulator import Simulation
from models.card import card_path
from models.picker import PICKER
from uplink import packets, topics
from uplink.packets import Health, PickFlag

STATION = "XX.S01"
WITHIN_S = 120.0
ROOT = Path(__file__).resolve().parents[2]
Heard = list[tuple[str, bytes]]
Picks = dict[tuple[str, int], bytes]


def make_config(
    folder: Path, recordings: Path, simulation: Simulation, url: str, **more: object
) -> Path:
    place = next(s for s in simulation.stations if s.station_id == STATION)
    data = more.pop("data_dir", folder / "data")
    content = {
        "station": {
            "id": STATION,
            "latitude": place.latitude,
            "longitude": place.longitude,
            "sensitivity": place.sensitivity,
        },
        "source": {"path": str(recordings / "waveforms" / f"{STATION}.mseed"), "speed": None},
        "broker": {"url": url},
        "data_dir": str(data),
        "ring": {"size_mb": 1},
        "archive": {"path": f"{data}/sds"},
    }
    Path(str(data)).mkdir(parents=True, exist_ok=True)
    path = folder / "box.yaml"
    path.write_text(yaml.safe_dump(content | more))
    return path


def start(config: Path, cwd: Path = ROOT) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "box", "box", str(config)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=cwd)


def listen(
    port: int, config: Path, at_first_pick: Callable[[], None] = lambda: None
) -> tuple[Heard, str]:
    """All that a box publishes up to its goodbye, and what it writes to its log."""

    async def run() -> tuple[Heard, str]:
        heard: Heard = []
        async with (
            asyncio.timeout(WITHIN_S),
            aiomqtt.Client("127.0.0.1", port, identifier="listener") as client,
        ):
            await client.subscribe(f"{topics.ROOT}/#", qos=1)
            box = start(config)
            async for message in client.messages:
                if message.retain:  # of a box before this one
                    continue
                kind = message.topic.value.split("/", 4)[4]
                if kind == "pick" and "pick" not in dict(heard):
                    at_first_pick()
                assert isinstance(message.payload, bytes)
                heard.append((kind, message.payload))
                if kind == "presence" and not packets.decode_presence(message.payload).online:
                    break
            _, said = await asyncio.to_thread(box.communicate)
            assert box.returncode == 0, said
        return heard, said

    return asyncio.run(run())


def picks(heard: Heard) -> Picks:
    """The newest packet of each."""
    newest: Picks = {}
    for kind, payload in heard:
        if kind in ("pick", "pick/backlog"):
            pick = packets.decode_pick(payload)
            known = newest.get((pick.phase, pick.id))
            if known is None or packets.decode_pick(known).revision < pick.revision:
                newest[pick.phase, pick.id] = payload
    return newest


def last_health(heard: Heard) -> Health:
    return packets.decode_health([payload for kind, payload in heard if kind == "health"][-1])


@pytest.fixture(scope="module")
def wanted(recordings: Path, simulation: Simulation, models, tmp_path_factory) -> Picks:
    """What a box tells that nothing happens to, out of its outbox."""
    folder = tmp_path_factory.mktemp("alone")
    config = make_config(folder, recordings, simulation, "mqtt://127.0.0.1:9")
    assert start(config).wait() == 0
    with closing(sqlite3.connect(folder / "data" / f"{STATION}.outbox.sqlite")) as db:
        rows = db.execute("SELECT topic, payload FROM packet ORDER BY seq").fetchall()
    found = picks([(topic.rsplit("/", 1)[1], payload) for topic, payload in rows])
    assert found
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here: needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Until there is no room for a byte more."""
    with (folder / "filler").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_box_whose_disk_is_full_at_its_start_picks_and_publishes_all_the_same(
    recordings: Path, simulation: Simulation, small_disk: Path, tmp_path: Path, mosquitto, wanted
) -> None:
    config = make_config(tmp_path, recordings, simulation, mosquitto.url, data_dir=small_disk)
    fill(small_disk)
    heard, said = listen(mosquitto.port, config)
    assert picks(heard) == wanted
    notes = last_health(heard).notes
    for name in ("ring: ", "outbox: ", "archive: "):
        assert any(note.startswith(name) for note in notes), notes
    assert "Traceback" not in said


def test_a_disk_that_fills_up_meanwhile_costs_no_pick_and_room_is_used_again(
    recordings: Path, simulation: Simulation, small_disk: Path, tmp_path: Path, mosquitto, wanted
) -> None:
    source = {"path": str(recordings / "waveforms" / f"{STATION}.mseed"), "speed": 40.0}
    config = make_config(
        tmp_path, recordings, simulation, mosquitto.url, data_dir=small_disk, source=source
    )
    heard, said = listen(mosquitto.port, config, at_first_pick=lambda: fill(small_disk))
    assert picks(heard) == wanted
    notes = last_health(heard).notes
    assert any(note.startswith("outbox: ") and "memory" in note for note in notes), notes
    assert "Traceback" not in said
    (small_disk / "filler").unlink()
    again, said = listen(mosquitto.port, config)  # its recording has ended: nothing new
    told = {payload for _, payload in heard}
    assert {payload for kind, payload in again if kind.startswith("pick")} <= told
    assert last_health(again).notes == []


def flip(path: Path, rng: Random, count: int) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(count if content else 0):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def wait_for_data(folder: Path, box: subprocess.Popen[str]) -> None:
    """Until something has been archived."""
    while not list(folder.glob("sds/*/*/*/*/*")):
        assert box.poll() is None
        sleep(0.005)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_flipped_bits_in_every_file_of_a_box_end_nothing_and_what_could_not_be_used_is_told(
    recordings: Path, simulation: Simulation, tmp_path: Path, mosquitto, wanted, seed: int
) -> None:
    rng = Random(seed)
    mosquitto.stop()
    source = {"path": str(recordings / "waveforms" / f"{STATION}.mseed"), "speed": 60.0}
    more = {"remote": {}, "seedlink_server": {"port": 0, "ring_mb": 1}, "source": source}
    config = make_config(tmp_path, recordings, simulation, mosquitto.url, **more)
    box = start(config)
    wait_for_data(tmp_path / "data", box)
    box.send_signal(signal.SIGKILL)
    box.communicate()
    struck = [path for path in sorted((tmp_path / "data").rglob("*")) if path.is_file()]
    assert len(struck) >= 5
    for path in struck:
        flip(path, rng, max(3, path.stat().st_size // 2000))
    mosquitto.start()
    heard, said = listen(mosquitto.port, config)
    assert "Traceback" not in said
    health = last_health(heard)
    counted = [name for name in health.counters if "damaged" in name or "aside" in name]
    assert counted or health.notes
    # Behind the damage the same onsets are found; the ids may be others.
    found_ns = [packets.decode_pick(payload).time_ns for payload in picks(heard).values()]
    late_ns = max(pick_id for _, pick_id in wanted) - 60_000_000_000
    for pick in map(packets.decode_pick, wanted.values()):
        if pick.id > late_ns and not pick.flags & PickFlag.RETRACTED:
            assert min(abs(pick.time_ns - at_ns) for at_ns in found_ns) < 100_000_000


@pytest.mark.parametrize("seed", range(5))
def test_a_model_with_a_flipped_bit_is_refused_in_a_line(
    recordings: Path, simulation: Simulation, tmp_path: Path, seed: int
) -> None:
    model = tmp_path / "mine.tflite"
    shutil.copy(PICKER, model)
    shutil.copy(card_path(PICKER), card_path(model))
    flip(model, Random(seed), 1)
    picking = {"picker": str(model)}
    config = make_config(tmp_path, recordings, simulation, "mqtt://host", picking=picking)
    assert [line for line in check(config) if "sha256" in line and str(model) in line]
    if seed:
        return  # the process has the same to say each time
    run = subprocess.run(
        [sys.executable, "-m", "box", "box", str(config)], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert run.stderr.startswith("diting: ")
    assert str(model) in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_built_in_model_that_is_damaged_is_named_and_nothing_is_started(
    recordings: Path, simulation: Simulation, tmp_path: Path
) -> None:
    installed = tmp_path / "installed"
    for name in ("box", "ringbuffer", "uplink", "models"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, installed / name, ignore=ignored)
    flip(installed / "models" / PICKER.name, Random(1), 1)
    config = make_config(tmp_path, recordings, simulation, "mqtt://host")
    box = start(config, cwd=installed)
    _, said = box.communicate()
    assert box.returncode == 2
    assert said.startswith(f"diting: {installed / 'models' / PICKER.name}: sha256 is ")
    assert said.count("\n") == 1


def test_no_flipped_bit_in_a_configuration_ends_in_a_traceback(
    recordings: Path, simulation: Simulation, tmp_path: Path
) -> None:
    config = make_config(tmp_path, recordings, simulation, "mqtt://host", remote={})
    good = config.read_bytes()
    rng = Random(1)
    refused = 0
    for _ in range(300):
        config.write_bytes(good)
        flip(config, rng, 1)
        refused += bool(check(config))
    assert refused > 100
    os.truncate(config, 0)
    assert check(config)
