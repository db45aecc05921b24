"""One run of every model over the same records; what `bench/models.py` is the command of."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.evidence import limits, page
from bench.evidence.degraded import degraded
from bench.evidence.found import (
    FLOOR,
    Contestant,
    Found,
    equally_many,
    find,
    recordings,
    reliability,
    sweep_through,
)
from bench.evidence.measured import SCSN, Motions, estimate_magnitudes, read_motions
from bench.evidence.peers import convert_missing
from bench.evidence.plots import Pictures
from bench.speed import measure_all
from converters.datasets import Record
from converters.score_picker import PHASES, compare, match
from converters.teachers import RedPan
from models.card import MODELS
from models.interpreter import ModelError
from models.picker import Picker

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DITING_DATA", ROOT.parent / "shared" / "data"))
RED_PAN, PHASENET = "RED-PAN, float", "PhaseNet, float"
OURS, OURS_FLOAT = "ours, int8", "ours, float"
AUTHORS = {"P": 0.3, "S": 0.3}  # thresholds that the peers' authors use
COMPLETE = ("ncedc_stead", "diting_sichuan")  # sets whose labels leave out little
SWEPT = ("ncedc_stead", "ridgecrest_foreshocks")
GRID = [round(0.01 * percent, 2) for percent in range(round(100 * FLOOR), 97, 2)]
BINS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01]
Sets = dict[str, list[Record]]


def contestants(data: Path, peers: Path) -> Iterator[Contestant]:
    """The pickers that can be had; a line for those that cannot."""
    ours = Picker().thresholds
    candidates = {
        OURS: (MODELS / "picker.tflite", ours),
        OURS_FLOAT: (MODELS / "picker_float.tflite", ours),
        RED_PAN: (data / "weights" / "REDPAN_30s_v2.tflite", AUTHORS),
        PHASENET: (peers / "phasenet_float.tflite", AUTHORS),
        "PhaseNet, int8": (peers / "phasenet.tflite", AUTHORS),
    }
    for name, (artefact, thresholds) in candidates.items():
        load = partial(RedPan if name == RED_PAN else Picker, artefact)
        try:
            load()
        except ModelError as error:
            print(f"left out: {name}: {error}")
            continue
        yield Contestant(name, artefact, thresholds, lambda load=load: load().probabilities)  # type: ignore[misc]


def compare_pickers(
    pickers: list[Contestant], sets: Sets, work: Path, pictures: Pictures
) -> dict[str, str]:
    """The tables about pickers; draws their pictures."""
    found = {
        name: {one.name: find(one, name, records, work) for one in pickers}
        for name, records in sets.items()
    }
    scores = {
        name: {one.name: compare(by[one.name], one.thresholds) for one in pickers}
        for name, by in found.items()
    }
    curves, used = {}, {}
    for name, by in found.items():
        curves[name] = {one: _curve(recordings) for one, recordings in by.items()}
        used[name] = {
            one: {phase: (s[phase]["precision"], s[phase]["recall"]) for phase in PHASES}
            for one, s in scores[name].items()
        }
    pictures.precision_recall(curves, used)
    first = next(iter(found))
    pictures.residuals(
        {
            one.name: {p: _residuals(found[first][one.name], p, one.thresholds[p]) for p in PHASES}
            for one in pickers
        }
    )
    sweeps = {
        name: {one.name: sweep_through(one, name, sets[name], work) for one in pickers}
        for name in SWEPT
        if name in sets
    }
    sweeps = {name: by for name, by in sweeps.items() if all(by.values())}
    if sweeps:
        pictures.positions(sweeps)
    equal = {
        name: {one.name: _at_equal(by[one.name], scores[name][RED_PAN]) for one in pickers}
        for name, by in found.items()
        if RED_PAN in by
    }
    tables = {
        "pickers": page.pickers(scores),
        "equal": page.equal_picks(equal),
        "positions": page.positions(sweeps),
    }
    judges = {one.name: one.thresholds for one in pickers if one.name in (OURS, RED_PAN, PHASENET)}
    if len(judges) == 3:
        seen = {name: {one: by[one] for one in judges} for name, by in found.items()}
        tables["errors"] = limits.errors_table(seen, judges)
        tables["ceilings"] = limits.ceilings_table(seen, judges)
    if COMPLETE[0] in sets:
        ours = next(one for one in pickers if one.name == OURS)
        tables["degraded"] = degraded(ours, COMPLETE[0], sets[COMPLETE[0]], work)
    return tables


def _curve(found: list[Found]) -> dict[str, list[tuple[float, float, float]]]:
    points: dict[str, list[tuple[float, float, float]]] = {phase: [] for phase in PHASES}
    for threshold in GRID:
        scores = compare(found, dict.fromkeys(PHASES, threshold))
        for phase in PHASES:
            precision, recall = scores[phase]["precision"], scores[phase]["recall"]
            if precision is not None and recall is not None:
                points[phase].append((threshold, precision, recall))
    return points


def _residuals(found: list[Found], phase: str, threshold: float) -> list[float]:
    pairs = [match(one.labels[phase], one.picks(phase, threshold)) for one in found]
    return [residual for matched in pairs for residual in matched if residual is not None]


def _at_equal(found: list[Found], peer: dict[str, Any]) -> dict[str, tuple[int, float, float]]:
    """Phase -> picks, recall, residual std at as many picks as the peer makes."""
    thresholds = {phase: equally_many(found, phase, peer[phase]["picks"]) for phase in PHASES}
    scores = compare(found, thresholds)
    keys = ("picks", "recall", "residual_std_s")
    return {phase: tuple(scores[phase][key] for key in keys) for phase in PHASES}


def read_first_motions(peers: Path, sets: Sets) -> dict[str, Motions]:
    """First motions by our models and DiTingMotion, on what SCSN's analysts read."""
    records = [record for name in SCSN for record in sets.get(name, [])]
    candidates = {
        OURS: MODELS / "fmp.tflite",
        OURS_FLOAT: MODELS / "fmp_float.tflite",
        "DiTingMotion, float": peers / "ditingmotion_float.tflite",
        "DiTingMotion, int8": peers / "ditingmotion.tflite",
    }
    motions = {}
    for name, artefact in candidates.items():
        try:
            motions[name] = read_motions(artefact, records)
        except ModelError as error:
            print(f"left out: {name}: {error}")
    return motions


def draw_answers(
    pickers: list[Contestant], sets: Sets, work: Path, motions: dict[str, Motions], to: Pictures
) -> None:
    """Reliability and confusion, of pickers and of first motions."""
    complete = {
        one.name: [
            f for name in COMPLETE if name in sets for f in find(one, name, sets[name], work)
        ]
        for one in pickers
    }
    bins = {
        f"{phase} picks": {name: reliability(f, phase, BINS) for name, f in complete.items() if f}
        for phase in PHASES
    }
    bins["first motions"] = {name: m.reliability(BINS[5:]) for name, m in motions.items()}
    to.reliability({name: by for name, by in bins.items() if by})
    tables = {
        f"picks, {one.name}": compare(complete[one.name], one.thresholds)["confusion"]
        for one in pickers
        if one.name in (OURS, RED_PAN) and complete[one.name]
    }
    tables |= {
        f"first motions,\n{name}": m.confusion()
        for name, m in motions.items()
        if name in (OURS, "DiTingMotion, float")
    }
    to.confusion(tables)


def measure_magnitudes(data: Path, sets: Sets, pictures: Pictures) -> str:
    """The table about magnitudes; draws their picture."""
    artefact = MODELS / "magnitude.tflite"
    known, unknown = (estimate_magnitudes(artefact, data, sets, s) for s in (True, False))
    drawn = {"int8, S known": known.model, "physics alone, S known": known.physics}
    pictures.magnitudes(known.truth, drawn, known.by_event())
    return page.magnitudes({"int8, S known": known, "int8, S unknown": unknown})


def main(description: str) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser("python -m bench.models", description=description)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of recordings and weights")
    parser.add_argument("--work", type=Path, default=ROOT / "bench" / "out", help="what is kept")
    parser.add_argument(
        "--peers", type=Path, help="converted models of others (default: WORK/peers)"
    )
    parser.add_argument("--sets", nargs="+", metavar="SET", help="only these; writes into WORK")
    parser.add_argument("--fast", action="store_true", help="a few records; writes into WORK")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"nothing to do: {args.data} is not there (set DITING_DATA or give --data)")
        return 0
    began = time.monotonic()
    peers = args.peers or args.work / "peers"
    convert_missing(args.data, peers)
    sets = recordings(args.data, args.fast)
    sets = {name: records for name, records in sets.items() if name in (args.sets or sets)}
    pickers = list(contestants(args.data, peers))
    docs = args.work if args.fast or args.sets else ROOT / "docs"
    pictures = Pictures(docs / "images", [one.name for one in pickers])
    tables = compare_pickers(pickers, sets, args.work, pictures)
    motions = read_first_motions(peers, sets)
    draw_answers(pickers, sets, args.work, motions, pictures)
    if any(m.readings for m in motions.values()):
        tables["motions"] = page.motions(motions)
    if set(SCSN) <= set(sets):
        tables["magnitudes"] = measure_magnitudes(args.data, sets, pictures)
    others = [one for one in pickers if one.name not in (OURS, OURS_FLOAT)]
    names = {one.artefact.stem: f"{one.name}, from samples" for one in others}
    tables["speed"] = page.speed(measure_all([one.artefact for one in others]), names)
    text = page.fill_in((ROOT / "docs" / "models.md").read_text(), page.illustrated(tables))
    (docs / "models.md").write_text(text)
    print(f"{docs / 'models.md'}: written after {time.monotonic() - began:.0f} s")
    return 0
