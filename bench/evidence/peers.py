"""The weights that others published, as artefacts that a box can run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from models.card import card_path

ROOT = Path(__file__).resolve().parents[2]
# Name -> weights, and records for the ranges of int8: none that peers are compared on.
SOURCES = {
    "phasenet": ("phasenet_190703", "ridgecrest_aftershocks"),
    "ditingmotion": ("DiTingMotionJul.hdf5", "labelled/ncedc_stead"),
}


def convert_missing(data: Path, folder: Path) -> None:
    """Put NAME.tflite and NAME_float.tflite of each into the folder, if they are not there.

    By `diting convert`, in a process of its own: TensorFlow and tflite_runtime don't share one.
    """
    for name, (weights, calibration) in SOURCES.items():
        out = folder / f"{name}.tflite"
        if out.exists() and card_path(out).exists():
            continue
        source = data / "weights" / weights
        print(f"converting {source}", file=sys.stderr)
        command = [sys.executable, "-m", "box", "convert", str(source), "--out", str(out)]
        command += ["--float", "--calibrate", str(data / calibration)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            print(f"left out: {source}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
