"""Fixtures that every room uses."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.emulators.mosquitto import Authority, Mosquitto, find_mosquitto

ROOT = Path(__file__).resolve().parent.parent
# They go first, so that no core is left with one of them when the others have nothing to do.
LONGEST = (
    *("test_real_recordings", "test_aarch64", "test_kills", "test_sources", "test_disk"),
    *("test_selftrain", "test_finetune", "test_install", "test_foreign_models"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real recordings; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DITING_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no recordings: {folder} does not exist (set DITING_DATA)")
    return folder


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority; tests that need it are skipped where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: install Debian's package of that name")
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running mosquitto; tests that need it are skipped where it is not installed."""
    binary = find_mosquitto()
    if binary is None:
        pytest.skip("no mosquitto: install Debian's package of that name")
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(binary, folder)
    broker.start()
    yield broker
    broker.stop(signal.SIGKILL)
