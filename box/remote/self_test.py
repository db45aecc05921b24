"""Trying models on a record that comes with them, before they judge anything that matters.

`python -m box.remote.self_test FIELD=FILE.tflite …` prints a JSON list of what is wrong with them.
A process of its own, since an interpreter can die of an artefact.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from fractions import Fraction

import msgspec
import numpy as np

from box.assembly import load_models
from box.config import ClockConfig, PickingConfig, TriggerConfig
from box.pipeline import StationPipeline
from box.stations import Station
from box.stretch import Models
from models.card import MODELS, CardError
from models.conditioning import RATE
from models.interpreter import ModelError
from ringbuffer.segment import NS, Segment
from uplink.packets import Phase, Pick, PickFlag

RECORD = MODELS / "self_test.npz"  # made by converters/self_test_record.py
TOLERANCE_S: dict[Phase, float] = {"P": 0.3, "S": 0.5}
MAGNITUDE_TOLERANCE = 1.0
MOST_OTHERS = 2  # picks of neither phase that a good model may make
BEGIN_NS = 1_735_689_600 * NS  # of the record: any time will do


def self_test(models: Models) -> list[str]:
    """What models get wrong in the built-in record, a line each.

    The whole of a box's pipeline judges it, so that what is tried is what will be used.
    """
    with np.load(RECORD) as record:
        truth = {name: record[name][()] for name in record.files}
    names = [f"XX.TEST.00.HH{component}" for component in "ZNE"]
    station = Station("XX.TEST", 0.0, 0.0, 0.0, sensitivity=float(truth["sensitivity"]))
    pipeline = StationPipeline(
        station, names, models, PickingConfig(), TriggerConfig(), ClockConfig(), 120.0, 2.0
    )
    told = []
    for first in range(0, truth["counts"].shape[1], RATE):
        for name, counts in zip(names, truth["counts"], strict=True):
            part = counts[first : first + RATE].astype(np.int32)
            start_ns = BEGIN_NS + first * NS // RATE
            told += pipeline.feed(Segment(name, start_ns, Fraction(RATE), part))
    told += pipeline.flush()
    last = {(p.phase, p.id): p for p in told if isinstance(p, Pick)}
    picks = [p for p in last.values() if PickFlag.RETRACTED not in p.flags]
    return _problems(picks, truth)


def _problems(picks: list[Pick], truth: dict[str, np.ndarray]) -> list[str]:  # type: ignore[type-arg]
    problems = []
    found: dict[Phase, Pick] = {}
    for phase, tolerance in TOLERANCE_S.items():
        true_ns = BEGIN_NS + round(float(truth[f"{phase.lower()}_s"]) * NS)
        near = [p for p in picks if p.phase == phase and abs(p.time_ns - true_ns) < tolerance * NS]
        if near:
            found[phase] = near[0]
        else:
            problems.append(f"picker: no {phase} within {tolerance} s of where it is")
    if (others := len(picks) - len(found)) > MOST_OTHERS:
        problems.append(f"picker: {others} picks of nothing")
    if (p := found.get("P")) is not None:
        if p.polarity and p.polarity != truth["polarity"]:
            problems.append(f"first_motion: {p.polarity}, where it is {truth['polarity']}")
        off = None if p.magnitude is None else abs(p.magnitude - float(truth["magnitude"]))
        if off is None or off > MAGNITUDE_TOLERANCE:
            problems.append(f"magnitude: {p.magnitude}, where it is {truth['magnitude']}")
    return problems


def try_models(paths: Mapping[str, str]) -> list[str]:
    """What is wrong with artefacts, and with what they get wrong; the others are built in.

    paths: field of `PickingConfig` -> artefact.
    """
    try:
        models = load_models(msgspec.convert(dict(paths), PickingConfig))
    except (ModelError, CardError, OSError) as error:
        return str(error).splitlines()
    return self_test(models)


if __name__ == "__main__":
    print(json.dumps(try_models(dict(word.split("=", 1) for word in sys.argv[1:]))))
