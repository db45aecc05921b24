"""`diting train`: one trainer per model."""

from __future__ import annotations

import argparse
import sys

from cloud.velocity import VelocityError
from converters import train_fmp, train_magnitude, train_picker
from converters.datasets import DatasetError
from converters.quantise import QuantiseError
from models.interpreter import ModelError

TRAINERS = {"picker": train_picker, "fmp": train_fmp, "magnitude": train_magnitude}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{picker,fmp,magnitude}")
    for kind, trainer in TRAINERS.items():
        trainer.add_arguments(kinds.add_parser(kind, help=(trainer.__doc__ or "").split("\n")[0]))


def run(args: argparse.Namespace) -> int:
    try:
        return int(TRAINERS[args.kind].run(args))
    except (DatasetError, ModelError, QuantiseError, VelocityError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"train: needs {error.name} (extra 'train')", file=sys.stderr)
        return 2
