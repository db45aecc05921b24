"""How long a document from afar takes, and what it costs: `python -m bench.remote`.

A daemon, a mosquitto, and a Raspberry Shake's cast of three channels at 100 Hz in real time, in
packets of 0.25 s. For each kind of change: seconds from its publication until it is in force, until
it has stood its trial, and the samples per channel that were lost meanwhile (a cast gives nothing
again; a SeedLink server or a recording does).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiomqtt
import msgspec
import numpy as np
import yaml

from bench.emulators.ports import lasting_port
from box.remote.self_test import RECORD
from models.card import card_path
from models.picker import PICKER
from ringbuffer.file import RingFile
from ringbuffer.segment import NS
from uplink.parts import cut
from uplink.remote import Desired, ModelFile, Reported, digest, seal
from uplink.topics import topic

STATION, CHANNELS, RATE = "XX.BENCH", ("EHZ", "EHN", "EHE"), 100
PACKET = 25  # samples
SETTLE_S = 3.0


async def _cast(port: int) -> None:
    """The built-in record, again and again, as it would come."""
    with np.load(RECORD) as record:
        counts = record["counts"]
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    began, number = time.time(), 0
    while True:
        await asyncio.sleep(max(0.0, began + (number + 1) * PACKET / RATE - time.time()))
        first = number * PACKET % (counts.shape[1] - PACKET)
        for code, samples in zip(CHANNELS, counts[:, first : first + PACKET], strict=True):
            numbers = ", ".join(map(str, samples))
            text = f"{{'{code}', {began + number * PACKET / RATE:.3f}, {numbers}}}"
            out.sendto(text.encode(), ("127.0.0.1", port))
        number += 1


class _Bench:
    def __init__(self, client: aiomqtt.Client, folder: Path, process: int) -> None:
        self._client, self._folder, self._process = client, folder, process
        self._version = 0
        self._last: Reported | None = None

    async def until(self, enough: Any) -> float:
        if self._last is None or not enough(self._last):
            async for message in self._client.messages:
                self._last = msgspec.json.decode(bytes(message.payload), type=Reported)
                if enough(self._last):
                    break
        return time.monotonic()

    async def measure(self, what: str, **content: Any) -> None:
        await asyncio.sleep(SETTLE_S)
        self._version += 1
        payload = seal(Desired(version=self._version, **content), STATION)
        name, before = digest(payload), _missing(self._folder)
        began = time.monotonic()
        await self._client.publish(topic(STATION, "config/desired"), payload, qos=1, retain=True)
        live = await self.until(lambda r: r.answers == name and r.state in ("trial", "applied"))
        proven = await self.until(lambda r: r.answers == name and r.state == "applied")
        await asyncio.sleep(SETTLE_S)
        lost = _missing(self._folder) - before
        memory = _resident_mb(self._process)
        print(f"{what:24} {live - began:8.2f} {proven - began:8.2f} {lost:8} {memory:8}")


def _resident_mb(process: int) -> int:
    """Anonymous memory, without the pages of the ring on disk."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) >> 10 for line in status.splitlines() if "RssAnon" in line)


def _missing(folder: Path) -> int:
    """Samples per channel that are not in what the box has written down."""
    copy = shutil.copy(folder / f"{STATION}.ring", folder / "copy.ring")
    ring = RingFile(Path(copy), 1 << 20)
    found = [r.segment for r in ring.records(0) if r.segment is not None]
    ring.close()
    one = [segment for segment in found if segment.channel.endswith(CHANNELS[0])]
    span_s = (max(s.end_ns for s in one) - min(s.start_ns for s in one)) / NS
    return round(span_s * RATE) - sum(len(segment.samples) for segment in one)


async def _model(client: aiomqtt.Client, path: Path) -> ModelFile:
    contents = [file.read_bytes() for file in (path, card_path(path))]
    for content in contents:
        for name, part in cut(STATION, content):
            await client.publish(name, part, qos=1, retain=True)
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    return ModelFile(
        sha256=hashes[0], size=len(contents[0]), card_sha256=hashes[1], card_size=len(contents[1])
    )


async def _run(folder: Path, mosquitto: int) -> None:
    cast = lasting_port(socket.SOCK_DGRAM)
    source = {"type": "shake", "channels": list(CHANNELS), "host": "127.0.0.1", "port": cast}
    config = folder / "box.yaml"
    content = {
        "station": {"id": STATION, "latitude": 1, "longitude": 2},
        "source": source,
        "broker": {"url": f"mqtt://127.0.0.1:{mosquitto}"},
        "data_dir": str(folder),
        "remote": {},
    }
    config.write_text(yaml.safe_dump(content))
    casting = asyncio.create_task(_cast(cast))
    command = (sys.executable, "-m", "box", "box", str(config))
    box = await asyncio.create_subprocess_exec(*command)
    try:
        async with aiomqtt.Client("127.0.0.1", mosquitto) as client:
            await client.subscribe(topic(STATION, "config/reported"), qos=1)
            bench = _Bench(client, folder, box.pid)
            await bench.until(lambda report: True)
            await asyncio.sleep(10)
            print(f"{'':24} {'live, s':>8} {'proven':>8} {'lost':>8} {'anon, MB':>8}")
            await bench.measure("thresholds", changes={"picking": {"p_threshold": 0.3}})
            await bench.measure("reordering", changes={"reorder_s": 1.5})
            await bench.measure("source", changes={"source": source | {"sender": "127.0.0.1"}})
            await bench.measure("source, taken back")
            model = await _model(client, PICKER.with_name("picker_float.tflite"))
            await bench.measure("picker", models={"picker": model})
            await bench.measure("picker, taken back")
            for number in range(2):
                await bench.measure("reordering, once more", changes={"reorder_s": 1.1 + number})
    finally:
        casting.cancel()
        box.send_signal(signal.SIGTERM)
        await box.wait()


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        raise SystemExit("no mosquitto: install Debian's package of that name")
    with TemporaryDirectory() as name:
        port = lasting_port()
        broker = subprocess.Popen(
            [binary, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            asyncio.run(_run(Path(name), port))
        finally:
            broker.terminate()
            with suppress(subprocess.TimeoutExpired):
                broker.wait(5)


if __name__ == "__main__":
    main()
