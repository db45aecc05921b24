"""What a box costs at work: `python -m bench.box [SECONDS]` (60), against its limits.

First a real `diting box` on a recording at the speed of the world, which archives, serves SeedLink
to a client that follows, and publishes to a mosquitto (where there is one): resident memory, and
how late the loop was, by its own health. Then how long a start takes until the first inference, on
samples that are there already. Then fifty stations in one daemon on one core. How late a loop is
depends on what else the machine does: that of a loop that does nothing stands beside it.

The recordings are those of $DITING_DATA (default: ../shared/data), or simulated ones without.
`--limits` ends with status 1 where one is not held.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import aiomqtt
import yaml

from bench.emulators.mosquitto import Mosquitto, find_mosquitto
from bench.emulators.ports import lasting_port
from box.clock import ReplayClock, SystemClock
from box.lateness import Lateness, Quantiles, measure
from box.packer import encode
from box.sources.miniseed import MiniSeedSource
from converters.simulator import NetworkConfig, simulate
from ringbuffer.segment import Segment
from uplink.packets import Health, decode_health

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DITING_DATA", ROOT.parent / "shared" / "data"))
STATION = "CI.CLC"
STATIONS = 50
STARTS = 3
# Tells on a pipe when the first window has been judged.
FIRST_INFERENCE = """
import os, sys, time
from box.light_scipy import import_signal
import_signal()  # as the command does before it imports anything else
from box.cli import main
from models.picker import Picker
judge = Picker.probabilities
def first(self, window):
    judged = judge(self, window)
    os.write(1, b"%d\\n" % time.monotonic_ns())
    Picker.probabilities = judge
    return judged
Picker.probabilities = first
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Run:
    """What a daemon said and used."""

    healths: dict[str, list[Health]] = field(default_factory=dict)  # by station
    resident_mb: float = 0.0  # at the end
    peak_mb: float = 0.0
    cores: float = 0.0  # used over the whole run
    served: int = 0  # bytes by SeedLink
    idle: Quantiles | None = None  # lateness of a loop that did nothing meanwhile

    @property
    def late_ms(self) -> tuple[float, float]:
        """p99 and maximum of the worst interval between two healths."""
        systems = [h.system for told in self.healths.values() for h in told if h.system]
        return (
            max((s.late_p99_ms or 0.0 for s in systems), default=float("nan")),
            max((s.late_max_ms or 0.0 for s in systems), default=float("nan")),
        )

    @property
    def pace(self) -> float:
        """Seconds of samples judged in a second, of the slowest station."""
        paces = []
        for told in self.healths.values():
            first, last = told[0], told[-1]
            if last.time_ns > first.time_ns:
                judged_ns = last.data_until_ns - first.data_until_ns
                paces.append(judged_ns / (last.time_ns - first.time_ns))
        return min(paces, default=float("nan"))


def recording(folder: Path) -> Path:
    """Three channels of one station."""
    path = folder / "one.mseed"
    real = sorted((DATA / "ridgecrest_foreshocks").rglob(f"*{STATION.split('.')[1]}*"))
    if files := [file for file in real if file.suffix in (".mseed", ".ms", ".miniseed")]:
        source = MiniSeedSource(files[0].parent, ReplayClock(None))
        stream = [p for p in source.packets() if p.channel.startswith(f"{STATION}.")]
    else:
        simulation = simulate(3, NetworkConfig(stations=4, events=1))
        chosen = simulation.stations[0]
        stream = [relabelled(simulation.traces[c], STATION) for c in chosen.channels]
    write(path, stream)
    return path


def write(path: Path, stream: list[Segment]) -> None:
    with path.open("wb") as file:
        for segment in stream:
            file.writelines(encode(segment))


def relabelled(segment: Segment, station_id: str) -> Segment:
    location, code = segment.channel.split(".")[2:]
    name = f"{station_id}.{location}.{code}"
    return Segment(name, segment.start_ns, segment.rate, segment.samples, segment.flags)


def network(folder: Path) -> dict[str, Path]:
    """Fifty stations of simulated samples, a file each."""
    simulation = simulate(3, NetworkConfig(stations=STATIONS, events=2))
    files = {}
    for station in simulation.stations:
        path = files[station.station_id] = folder / f"{station.station_id}.mseed"
        write(path, [simulation.traces[channel] for channel in station.channels])
    return files


def configuration(
    folder: Path, files: dict[str, Path], speed: float | None, broker: str, **more: Any
) -> Path:
    (folder / "data").mkdir(parents=True)
    content = {
        "station": [{"id": name, "latitude": 1.0, "longitude": 2.0} for name in files],
        "source": [{"type": "miniseed", "path": str(f), "speed": speed} for f in files.values()],
        "broker": {"url": broker},
        "data_dir": str(folder / "data"),
        "ring": {"size_mb": 4},
        "archive": {"path": str(folder / "sds")},
        "health_every_s": 30.0,  # so that p99 is of some hundred instants
    }
    path = folder / "box.yaml"
    path.write_text(yaml.safe_dump(content | more))
    return path


@contextmanager
def followed(port: int, station_id: str, run: Run) -> Iterator[None]:
    """A SeedLink 3 client that takes all that comes."""
    network_code, code = station_id.split(".")
    ended = False

    def follow() -> None:
        while not ended:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                    for command in (f"STATION {code} {network_code}", "DATA", "END"):
                        line.sendall(f"{command}\r\n".encode())
                    while content := line.recv(65_536):
                        run.served += len(content)
            except OSError:
                time.sleep(0.2)

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended = True
        thread.join(10)


def status_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def spent_s(pid: int) -> float:
    """CPU time of a process and its threads."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


async def work(config: Path, seconds: float, broker: Mosquitto | None, core: int | None) -> Run:
    """A daemon for so many seconds, then told to stop."""
    run = Run()
    command = [sys.executable, "-m", "box", "box", str(config)]
    if core is not None:
        command = ["taskset", "--cpu-list", str(core), *command]

    async def listen(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            name = ".".join(message.topic.value.split("/")[2:4])
            run.healths.setdefault(name, []).append(decode_health(message.payload))

    async def supervise() -> None:
        began = time.monotonic()
        lateness = Lateness()
        idle = asyncio.create_task(measure(lateness, SystemClock()))
        box = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        await asyncio.sleep(seconds)
        run.resident_mb, run.peak_mb = status_mb(box.pid, "VmRSS"), status_mb(box.pid, "VmHWM")
        run.cores = spent_s(box.pid) / (time.monotonic() - began)
        run.idle = lateness.take()
        idle.cancel()
        box.send_signal(SIGTERM)
        await box.wait()

    if broker is None:
        await supervise()
        return run
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier="bench") as client:
        await client.subscribe("diting/v1/+/+/health", qos=1)
        listening = asyncio.create_task(listen(client))
        await supervise()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return run


def first_inference_s(config: Path) -> float:
    """From the start of the process, Python's own included."""
    began_ns = time.monotonic_ns()
    command = [sys.executable, "-c", FIRST_INFERENCE, "box", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as box:
        assert box.stdout is not None
        ready, _, _ = select.select([box.stdout], [], [], 120)
        told = box.stdout.readline() if ready else b""
        box.kill()
    return (int(told) - began_ns) / 1e9 if told else float("nan")


def idle_ms(run: Run) -> float:
    return run.idle.p99_ms if run.idle else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench.box")
    parser.add_argument("seconds", type=float, nargs="?", default=60.0)
    parser.add_argument("--limits", action="store_true", help="fail where one is not held")
    args = parser.parse_args()
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = None
        if (binary := find_mosquitto()) is not None:
            (folder / "mosquitto").mkdir()
            broker = Mosquitto(binary, folder / "mosquitto")
            broker.start()
            stack.callback(broker.stop)
        url = broker.url if broker else "mqtt://127.0.0.1:9"
        one = {STATION: recording(folder)}
        port = lasting_port()
        server = {"seedlink_server": {"port": port}}
        config = configuration(folder / "one", one, 1.0, url, **server)
        probe = Run()
        with followed(port, STATION, probe):
            alone = asyncio.run(work(config, args.seconds, broker, None))
        starts = [
            first_inference_s(configuration(folder / f"start{n}", one, None, url))
            for n in range(STARTS)
        ]
        many_config = configuration(folder / "many", network(folder), 1.0, url)
        many = asyncio.run(work(many_config, args.seconds, broker, 0))
    rows = [
        ("one station: resident memory, MB", alone.resident_mb, "≤", 120.0),
        ("  its peak", alone.peak_mb, "", 0.0),
        ("  start to first inference, s (best of 3)", min(starts), "≤", 3.0),
        ("  lateness of the loop, p99, ms", alone.late_ms[0], "≤", 50.0),
        ("  its maximum", alone.late_ms[1], "", 0.0),
        ("  p99 of a loop that did nothing meanwhile", idle_ms(alone), "", 0.0),
        ("  cores", alone.cores, "", 0.0),
        ("  served by SeedLink, kB", probe.served / 1000, "≥", 1.0),
        ("50 stations on one core: pace of the slowest", many.pace, "≥", 0.98),
        ("  cores", many.cores, "", 0.0),
        ("  resident memory, MB", many.resident_mb, "", 0.0),
        ("  lateness of the loop, p99, ms", many.late_ms[0], "", 0.0),
        ("  p99 of a loop that did nothing meanwhile", idle_ms(many), "", 0.0),
    ]
    print(f"{'':48}{'measured':>10}{'limit':>10}")
    held = True
    for what, value, sign, limit in rows:
        good = value <= limit if sign == "≤" else value >= limit if sign else True
        held &= good
        print(f"{what:48}{value:10.2f}{f'{sign} {limit:g}' if sign else '':>10}", end="")
        print("" if good else "   not held")
    return 0 if held or not args.limits else 1


if __name__ == "__main__":
    sys.exit(main())
