"""`diting evaluate`: what a model is worth on a labelled data set.

Each kind of model has a module here with `score(dataset, artefact, threshold) -> figures`, a
JSON document. People get the same figures as a table, int8 and its float parent side by side.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from converters.datasets import DatasetError
from models.card import MODELS, CardError, read_card
from models.interpreter import ModelError

SCORERS = {
    "picker": "converters.score_picker",
    "fmp": "converters.score_fmp",
    "magnitude": "converters.score_magnitude",
}
Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=SCORERS, help="what the model does")
    parser.add_argument(
        "dataset",
        type=Path,
        help="folder in SeisBench layout or DiTing's, or with miniSEED and picks.csv; or "
        "simulator:COUNT[:SEED]",
    )
    parser.add_argument("--model", type=Path, help="artefact (default: the one shipped)")
    parser.add_argument(
        "--threshold",
        type=probability,
        default=0.3,
        help="probability from which an answer counts, between 0 and 1",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document and nothing else")


def probability(text: str) -> float:
    """A number between 0 and 1, both excluded; argparse tells of any other."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Score the artefact, and its float parent where that lies beside it."""
    artefact = args.model or MODELS / f"{args.kind}.tflite"
    try:
        scorer = import_module(SCORERS[args.kind])
        figures = {
            name: scorer.score(args.dataset, file, args.threshold)
            for name, file in variants(artefact).items()
        }
    except (DatasetError, ModelError, CardError) as error:
        print(f"diting: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=2) if args.json else table(figures))
    return 0


def variants(artefact: Path) -> dict[str, Path]:
    """The artefact by its arithmetic, int8 or float, and its float parent if it has one."""
    if not artefact.is_file():
        raise ModelError(f"{artefact}: No such file or directory")
    kind = "float" if read_card(artefact).inputs[0].dtype == "float32" else "int8"
    parent = artefact.with_name(f"{artefact.stem}_float.tflite")
    return {kind: artefact} | ({"float": parent} if parent.is_file() else {})


def table(found_by: dict[str, Row]) -> str:
    """Figures of one variant or two, line by line, and by how much they differ.

    found_by: variant -> figures, nested dictionaries alike in form; each innermost one is a row.
    """
    found = {name: dict(_rows(figures)) for name, figures in found_by.items()}
    first, *second = found.values()
    width = max(len(path) for path in first) + 2
    lines: list[str] = []
    columns: list[str] = []
    for path, row in first.items():
        for name, rows in found.items() if path == "" else ():
            lines += [f"{name}: " + ", ".join(f"{k} {v}" for k, v in rows[""].items() if _told(v))]
        names = [name for name, value in row.items() if not _told(value)]
        if not names:
            continue
        if names != columns:
            columns = names
            lines.append(" " * (width + 6) + "".join(_cell(name, name) for name in columns))
        lines += [
            f"{path:{width}}{name:6}"
            + "".join(_cell(rows.get(path, {}).get(c), c) for c in columns)
            for name, rows in found.items()
        ]
        differences = [
            _difference(row[c], rows.get(path, {}).get(c)) for rows in second for c in columns
        ]
        if any(differences):
            cells = "".join(_cell(d, c) for d, c in zip(differences, columns, strict=True))
            lines.append(f"{'':{width}}{'±':6}" + cells)
    return "\n".join(lines)


def _rows(nested: Row, above: str = "") -> Iterator[tuple[str, Row]]:
    """(where it stands, what stands there besides dictionaries)."""
    here = {str(key): value for key, value in nested.items() if not isinstance(value, dict)}
    if here:
        yield above, here
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{above} {key}".strip())


def _told(value: Any) -> bool:
    return isinstance(value, str)


def _difference(a: Any, b: Any) -> Any:
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    return round(a - b, 4) or "" if numbers else ""


def _cell(value: Any, column: str) -> str:
    text = "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.rjust(max(len(column), 6) + 2)
