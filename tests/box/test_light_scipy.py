"""A box that loads all of scipy needs half as much memory again, and twice as long to start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIGHT = "from box.light_scipy import import_signal; import_signal()\n"
COMPUTED = """
import numpy as np
from box.assembly import load_models
from box.config import PickingConfig
from models.conditioning import Conditioner
from scipy import signal
samples = np.random.default_rng(5).normal(0, 100, (3000, 3)).astype(np.float32)
models = load_models(PickingConfig())
print(signal.ellip(7, 0.1, 50, 3.0, analog=True), models.picker.probabilities(samples).tobytes())
"""
STAND_INS = """
import sys
from scipy import signal
print([name for name in ("scipy.stats", "scipy.optimize") if name in sys.modules])
print(signal.unique_roots([1.0, 1.0, 2.0])[1].tolist())        # asks scipy.spatial
print(signal.savgol_filter([0.0, 1, 2, 3, 4], 5, 2).round(6).tolist())  # scipy.ndimage
print(signal.buttord(0.2, 0.3, 3, 40)[0])                      # scipy.optimize
from scipy import stats
print(round(float(stats.norm.cdf(0.0)), 3), type(stats).__name__)
"""
UNWILLING = """
import box.light_scipy as light
def refuse(self, name):
    raise RuntimeError(name)
light._Module.__getattr__ = refuse
light.import_signal()
import sys
print("scipy.stats" in sys.modules)
"""


def said(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


def test_what_is_computed_is_the_same_to_the_bit() -> None:
    assert said(LIGHT + COMPUTED) == said(COMPUTED)


def test_what_was_left_out_is_there_when_it_is_asked_for() -> None:
    lines = said(LIGHT + STAND_INS).splitlines()
    assert lines[0] == "[]"
    assert lines[1:] == said(STAND_INS).splitlines()[1:]


def test_a_scipy_that_takes_no_stand_in_is_imported_whole() -> None:
    assert said(UNWILLING) == "True\n"


def test_the_daemon_loads_none_of_what_it_does_not_need() -> None:
    program = """
import sys
from box.cli import main
main(["box", "/nowhere.yaml"])
heavy = ("scipy.stats", "scipy.optimize", "obspy", "matplotlib", "tensorflow", "aiohttp", "pandas")
print([name for name in heavy if name in sys.modules], "scipy.signal" in sys.modules)
"""
    assert said(program) == "[] True\n"
