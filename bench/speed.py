"""CPU time per window of every model on each engine: `python -m bench.speed [ARTEFACT…]`.

Each engine has a process of its own, in which the models take turns. ARTEFACT: pickers that
others trained, with their cards, or RED-PAN's file without one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.teachers import RedPan
from models.card import MODELS, card_path
from models.fmp import WINDOW as FMP_WINDOW
from models.fmp import FirstMotion
from models.interpreter import ENGINES, Model, ModelError
from models.magnitude import WINDOW as MAGNITUDE_WINDOW
from models.magnitude import StationMagnitude
from models.picker import PICKER, WINDOW, Picker, compress

ROUNDS, WINDOWS = 40, 8  # each model judges 8 windows, then the next one does
ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, float]  # of a call: median and least CPU time (ms), "median" and "least"
Call = Callable[[int], Any]  # of a window's number


def measure_all(peers: list[Path]) -> dict[str, dict[str, Row]]:
    """Engine -> what was called -> CPU time; without the engines that are not installed."""
    found = {}
    for engine in ENGINES:
        command = [sys.executable, "-m", "bench.speed", "--engine", engine, *map(str, peers)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            found[engine] = json.loads(done.stdout)
        else:
            print(f"left out: {engine}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return found


def measure(engine: str, peers: list[Path]) -> dict[str, Row]:
    """What was called -> CPU time, in this process. Raises ModelError."""
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(WINDOWS, WINDOW, 3)).astype(np.float32)
    calls = _ours(engine, windows) | {
        peer.stem: _judging(_peer(peer, engine), windows) for peer in peers
    }
    for call in calls.values():
        call(0)  # the first one also allocates
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.process_time()
            for number in range(WINDOWS):
                call(number)
            spent[name].append(1e3 * (time.process_time() - started) / WINDOWS)
    return {
        name: {"median": round(float(np.median(times)), 4), "least": round(min(times), 4)}
        for name, times in spent.items()
    }


def _ours(engine: str, windows: NDArray[np.float32]) -> dict[str, Call]:
    model = Model(PICKER, engine)
    ready = [compress(window)[None] for window in windows]
    motion = FirstMotion(engine=engine)
    magnitude = StationMagnitude(engine=engine)
    parent = Picker(MODELS / "picker_float.tflite", engine)
    return {
        "picker, the interpreter alone": lambda _: model._interpreter.invoke(),
        "picker, through the seam": lambda k: model.run(ready[k]),
        "picker, from samples": _judging(Picker(PICKER, engine).probabilities, windows),
        "picker_float, from samples": _judging(parent.probabilities, windows),
        "fmp, from samples (twice: mirrored)": lambda k: motion.classify(
            windows[k, :FMP_WINDOW, 0]
        ),
        "magnitude, from samples": lambda k: magnitude.estimate(windows[k, :MAGNITUDE_WINDOW], 4.0),
    }


def _judging(picker: Callable[[Any], Any], windows: NDArray[np.float32]) -> Call:
    return lambda number: picker(windows[number])


def _peer(artefact: Path, engine: str) -> Callable[[Any], Any]:
    if card_path(artefact).exists():
        return Picker(artefact, engine).probabilities
    return RedPan(artefact, engine).probabilities


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench.speed", description=__doc__)
    parser.add_argument("peers", nargs="*", type=Path, metavar="ARTEFACT")
    parser.add_argument("--engine", choices=ENGINES, help="this one in this process, as JSON")
    args = parser.parse_args()
    if args.engine:
        try:
            print(json.dumps(measure(args.engine, args.peers)))
        except ModelError as error:
            print(error, file=sys.stderr)
            return 2
        return 0
    for engine, rows in measure_all(args.peers).items():
        ours = rows["picker, from samples"]["median"]
        print(f"{engine}: ms of CPU per window, median and least of {ROUNDS} rounds")
        for name, row in rows.items():
            ratio = row["median"] / ours
            print(f"  {name:38} {row['median']:7.3f} {row['least']:7.3f} {ratio:6.2f} × ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
