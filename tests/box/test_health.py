"""What a box says of its computer, read from trees like the kernel's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import numpy as np
import pytest

from box import health
from box.clock import ReplayClock
from box.lateness import PERIOD_NS, Lateness, measure
from box.starts import Starts
from uplink.packets import Health, System, decode_health, encode_json


def kernel(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_figures_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    proc = kernel(
        tmp_path / "proc",
        {
            "self/status": "Name:\tditing\nVmPeak:\t  999999 kB\nVmRSS:\t   92160 kB\n",
            "meminfo": "MemTotal:  948000 kB\nMemFree:  1 kB\nMemAvailable:  512000 kB\n",
            "loadavg": "0.42 0.30 0.20 1/180 4711\n",
        },
    )
    assert health.resident_mb(proc) == 90.0
    assert health.available_mb(proc) == 500.0
    assert health.load(proc) == 0.42


def test_the_hottest_sensor_counts_and_broken_ones_do_not(tmp_path: Path) -> None:
    sys = kernel(
        tmp_path,
        {
            "class/thermal/thermal_zone0/temp": "48312\n",
            "class/thermal/thermal_zone1/temp": "61500\n",
            "class/thermal/thermal_zone2/temp": "-274000\n",  # says a sensor that is not connected
            "class/thermal/thermal_zone3/temp": "asleep\n",
        },
    )
    (sys / "class/thermal/thermal_zone4/temp").mkdir(parents=True)
    assert health.temperature_c(sys) == 61.5


@pytest.mark.parametrize("content", ["", "VmRSS:\n", "MemAvailable: many kB\n", "?"])
def test_what_cannot_be_found_out_is_left_out_and_stops_nothing(
    tmp_path: Path, content: str
) -> None:
    proc = kernel(tmp_path, dict.fromkeys(("self/status", "meminfo", "loadavg"), content))
    for root in (proc, tmp_path / "nothing"):
        collector = health.SystemHealth(
            ReplayClock(), Starts(tmp_path / "starts.json"), [tmp_path], {}, "none", root, root
        )
        system = collector.collect()
        assert system.resident_mb is None
        assert system.available_mb is None
        assert system.load is None
        assert system.temperature_c is None
        assert system.late_p99_ms is None
        assert system.free_mb[str(tmp_path)] > 0


def test_space_is_that_of_the_disk_on_which_a_folder_will_be(tmp_path: Path) -> None:
    assert health.free_mb(tmp_path / "not" / "yet" / "there") == pytest.approx(
        health.free_mb(tmp_path), abs=64
    )


def test_quantiles_of_lateness_are_right_to_a_fifth_and_begin_anew() -> None:
    rng = Random(3)
    late_ns = [int(10 ** rng.uniform(5, 9)) for _ in range(5000)]
    lateness = Lateness()
    for value in late_ns:
        lateness.record(value)
    found = lateness.take()
    assert found is not None
    for got, fraction in ((found.p50_ms, 0.5), (found.p99_ms, 0.99)):
        true = np.quantile(late_ns, fraction) / 1e6
        assert true * 0.98 <= got <= true * 1.21
    assert found.max_ms == pytest.approx(max(late_ns) / 1e6, abs=0.05)
    assert lateness.take() is None
    for value in (-5, 0, 10**15):  # early, in time, and for more than the bins are for
        lateness.record(value)
    assert lateness.take() == (0.1, pytest.approx(1.41e6, rel=0.01), 1e9)


class Stopping(ReplayClock):
    """A clock of a loop that stands still for nine tenths of a second, and then for good."""

    def __init__(self) -> None:
        super().__init__()
        self._answers = [0, PERIOD_NS]  # when the measuring begins, and when it goes to sleep

    def monotonic_ns(self) -> int:
        return self._answers.pop(0) if self._answers else 10 * PERIOD_NS


def test_a_loop_that_stood_still_counts_for_all_that_was_due_meanwhile() -> None:
    lateness = Lateness()

    async def watched() -> None:
        task = asyncio.create_task(measure(lateness, Stopping()))
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(watched())
    found = lateness.take()
    assert found is not None
    assert found.max_ms == 900.0  # and 800, 700 … of the ten that were due
    assert 400 <= found.p50_ms < 480


def test_health_of_older_and_of_newer_boxes_is_read() -> None:
    older = b'{"time_ns":1,"data_until_ns":2,"counters":{"picks":3}}'
    assert decode_health(older).system is None
    newer = b'{"time_ns":1,"data_until_ns":2,"mood":{"good":1},"system":{"load":0.5,"wind":[7]}}'
    assert decode_health(newer).system == System(load=0.5)
    both = Health(time_ns=1, data_until_ns=2, system=System(free_mb={"/data": 7}, late_p99_ms=1.5))
    assert decode_health(encode_json(both)) == both
