"""What `python -m bench.kills` does at length, in short: real processes, a simulated station."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.emulators.mosquitto import find_mosquitto
from bench.kills import run

MINUTES = 4.0  # of the recording


@pytest.mark.parametrize(("mode", "count"), [("box", 10), ("broker", 5), ("day", 12)])
def test_every_pick_is_at_the_cloud_once_whatever_is_killed_or_away(
    mode: str, count: int, tmp_path: Path
) -> None:
    if find_mosquitto() is None:
        pytest.skip("no mosquitto: install Debian's package of that name")
    pytest.importorskip("pyocto", reason="the cloud is not installed")
    verdict = run(mode, count, 1, tmp_path, MINUTES)
    print("\n".join(verdict.lines))
    assert verdict.good
