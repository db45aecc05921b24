"""A box installs without obspy, TensorFlow and matplotlib, and picks all the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_ON_A_BOX = ("obspy", "tensorflow", "matplotlib", "pyocto", "pandas", "amqtt", "aiohttp")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environment with the box's own dependencies and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "demo-output", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    installer = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    done = subprocess.run(
        [*installer, "--constraint", str(ROOT / "constraints.txt"), str(source)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        if "No module named uv" in done.stderr or "error sending request" in done.stderr:
            pytest.skip(f"cannot install: {done.stderr.strip().splitlines()[-1]}")
        pytest.fail(done.stderr)
    return folder / "env" / "bin"


def test_a_bare_box_replays_to_the_same_picks(bare: Path, recordings: Path, tmp_path: Path):
    probe = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    present = subprocess.run(
        [bare / "python", "-c", probe, *NOT_ON_A_BOX], capture_output=True, text=True, check=True
    )
    assert present.stdout.strip() == "[]"
    arguments = ["replay", recordings / "waveforms", "--stations", recordings / "stations.csv"]
    outs = {}
    for name, command in (
        ("bare", [bare / "diting"]),
        ("full", [sys.executable, "-m", "box"]),
    ):
        outs[name] = tmp_path / name
        done = subprocess.run(
            [*command, *arguments, "--out", outs[name]], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        if name == "bare":
            assert "picks only" in done.stderr
    picks = {
        name: [row.split(",")[:10] for row in (out / "picks.csv").read_text().splitlines()]
        for name, out in outs.items()
    }
    assert len(picks["bare"]) > 30
    assert picks["bare"] == picks["full"]


def test_a_command_that_needs_more_says_what_to_install(bare: Path):
    done = subprocess.run(
        [bare / "diting", "associate", "--help"], capture_output=True, text=True, cwd=ROOT.anchor
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "pip install" in line
