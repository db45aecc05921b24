"""CPU time per window of our picker and of RED-PAN, in turns: `python -m bench.picker`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.teachers import RedPan
from models.interpreter import ENGINES, ModelError
from models.picker import PICKER, WINDOW, Picker

Floats = NDArray[np.float32]
ROUNDS, WINDOWS = 25, 8  # each picker judges 8 windows, then the next one does
DATA = Path(os.environ.get("DITING_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
RED_PAN = DATA / "weights" / "REDPAN_30s_v2.tflite"


def pickers() -> Iterator[tuple[str, Callable[[Floats], Floats]]]:
    """(name, probabilities) of what can be run here; a line for what cannot."""
    parent = PICKER.with_name("picker_float.tflite")
    for engine in ENGINES:
        try:
            yield f"ours, int8, {engine}", Picker(PICKER, engine).probabilities
            yield f"ours, float, {engine}", Picker(parent, engine).probabilities
            yield f"RED-PAN, float, {engine}", RedPan(RED_PAN, engine).probabilities
        except ModelError as error:
            print(f"left out: {error}")


def main() -> None:
    windows = np.random.default_rng(0).normal(size=(WINDOWS, WINDOW, 3)).astype(np.float32)
    found = dict(pickers())
    for probabilities in found.values():
        probabilities(windows[0])  # the first call also allocates
    spent: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(ROUNDS):
        for name, probabilities in found.items():
            started = time.process_time()
            for window in windows:
                probabilities(window)
            spent[name].append((time.process_time() - started) / WINDOWS)
    medians = {name: float(np.median(times)) for name, times in spent.items()}
    ours = next(iter(medians.values()))
    for name, median in medians.items():
        print(
            f"{name:32} {1e3 * median:6.2f} ms of CPU per 30 s window"
            f" (least {1e3 * min(spent[name]):.2f}), {median / ours:.2f} × the first"
        )


if __name__ == "__main__":
    main()
