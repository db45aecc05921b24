"""The daemon's watermarks, cuts at triggers and cuts on request, over a real broker."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt
import yaml

from box.cli import main
from box.clock import ReplayClock
from box.sources.miniseed import MiniSeedSource
from converters.simulator import Simulation
from uplink.packets import Watermark, decode_watermark
from uplink.waveforms import WaveformPart, decode_part

if TYPE_CHECKING:
    from conftest import Mosquitto

STATION = "XX.S01"
WITHIN_S = 120.0


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "box", "box", str(config)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def samples(path: Path) -> dict[tuple[str, int], int]:
    """Channel and time (ns) of each sample, and its value."""
    packets = MiniSeedSource(path, ReplayClock(None)).packets()
    return {(p.channel, p.time_ns(i)): int(v) for p in packets for i, v in enumerate(p.samples)}


def test_a_running_box_tells_watermarks_and_sends_cuts_at_triggers_and_on_request(
    recordings: Path, simulation: Simulation, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    recording = recordings / "waveforms" / f"{STATION}.mseed"
    (tmp_path / "data").mkdir()
    config = tmp_path / "box.yaml"
    content = {
        "station": {"id": STATION, "latitude": 1.0, "longitude": 2.0},
        "source": {"path": str(recording), "speed": 20.0},
        "broker": {"url": mosquitto.url},
        "data_dir": str(tmp_path / "data"),
        "watermark_every_s": 1,
        "waveforms": {"at_trigger": True, "before_s": 5, "after_s": 10, "bytes_per_s": 100_000},
    }
    config.write_text(yaml.safe_dump(content))
    watermarks: list[Watermark] = []
    parts: list[WaveformPart] = []
    out = tmp_path / "cut.mseed"

    async def scenario() -> None:
        async with aiomqtt.Client("127.0.0.1", mosquitto.port, identifier="listener") as client:
            await client.subscribe("diting/v1/XX/S01/watermark", qos=1)
            await client.subscribe("diting/v1/XX/S01/waveform/data", qos=1)
            box = start(config)
            try:
                async for message in client.messages:
                    if message.topic.value.endswith("watermark"):
                        watermarks.append(decode_watermark(bytes(message.payload)))
                    else:
                        parts.append(decode_part(bytes(message.payload)))
                    if parts and parts[-1].part + 1 == parts[-1].parts and len(watermarks) > 1:
                        break
                until = datetime.fromtimestamp(watermarks[-1].data_until_ns // 10**9, UTC)
                span = [f"{until - timedelta(seconds=s):%Y-%m-%dT%H:%M:%SZ}" for s in (20, 10)]
                words = ["waveform", STATION, *span, "--broker", mosquitto.url, "--out", str(out)]
                assert await asyncio.to_thread(main, words) == 0
            finally:
                box.send_signal(signal.SIGTERM)
                _, errors = await asyncio.to_thread(box.communicate)
            assert (box.returncode, errors) == (0, "")

    async def limited() -> None:
        async with asyncio.timeout(WITHIN_S):
            await scenario()

    asyncio.run(limited())
    times = [watermark.data_until_ns for watermark in watermarks]
    assert times == sorted(times)
    assert times[-1] > times[0]
    whole = samples(recording)
    (tmp_path / "trigger.mseed").write_bytes(b"".join(part.records for part in parts))
    for path, least in ((out, 3 * 1000), (tmp_path / "trigger.mseed", 3 * 1400)):
        cut = samples(path)
        assert len(cut) >= least
        assert cut.items() <= whole.items()
    assert parts[0].id.startswith("trigger:")
