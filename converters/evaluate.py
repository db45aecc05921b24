"""`diting evaluate`: what a model is worth on a labelled data set.

Each kind of model has a module here with `score(dataset, artefact, threshold) -> figures`, a
JSON document, and `describe(figures) -> str`, the same for people.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from converters.datasets import DatasetError
from models.card import MODELS
from models.interpreter import ModelError

SCORERS = {
    "picker": "converters.score_picker",
    "fmp": "converters.score_fmp",
    "magnitude": "converters.score_magnitude",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=SCORERS, help="what the model does")
    parser.add_argument(
        "dataset",
        type=Path,
        help="folder in SeisBench layout, or with waveforms/*.mseed and picks.csv",
    )
    parser.add_argument("--model", type=Path, help="artefact (default: the one shipped)")
    parser.add_argument(
        "--threshold", type=float, default=0.3, help="probability from which an answer counts"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document and nothing else")


def run(args: argparse.Namespace) -> int:
    """Score the artefact, and its float parent where that lies beside it."""
    artefact = args.model or MODELS / f"{args.kind}.tflite"
    try:
        scorer = import_module(SCORERS[args.kind])
        figures = {
            name: scorer.score(args.dataset, file, args.threshold)
            for name, file in _variants(artefact).items()
        }
    except (DatasetError, ModelError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, scores in figures.items():
            print(f"{name}\n{scorer.describe(scores)}")
    return 0


def _variants(artefact: Path) -> dict[str, Path]:
    parent = artefact.with_name(f"{artefact.stem}_float.tflite")
    return {"int8": artefact} | ({"float": parent} if parent.exists() else {})
