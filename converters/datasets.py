"""Data sets of labelled recordings behind one reader, whatever their layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from converters.continuous import read_continuous, read_events, read_miniseed, waveform_files
from converters.diting_layout import is_diting, read_diting
from converters.fields import DatasetError, nanoseconds, read_rows
from converters.folds import by_event, fold_of, is_test_fold, split
from converters.records import COMPONENTS, Arrival, Event, Record
from converters.seisbench_layout import is_seisbench, read_seisbench

__all__ = [
    "COMPONENTS",
    "Arrival",
    "DatasetError",
    "Event",
    "Record",
    "by_event",
    "fold_of",
    "is_test_fold",
    "nanoseconds",
    "read_continuous",
    "read_diting",
    "read_events",
    "read_miniseed",
    "read_records",
    "read_rows",
    "read_seisbench",
    "split",
]
SIMULATOR = "simulator"


def read_records(source: Path | str) -> Iterator[Record]:
    """The records of a data set; DatasetError where it is none, or is damaged.

    source: a folder in SeisBench layout, one of DiTing's, or one of continuous recordings; or
    `simulator:COUNT` or `simulator:COUNT:SEED`, which takes no data at all.
    """
    name = str(source)
    if name == SIMULATOR or name.startswith(f"{SIMULATOR}:"):
        from converters.simulated import simulated_records

        yield from simulated_records(*_simulation(name))
        return
    folder = Path(source)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    if is_diting(folder):
        yield from read_diting(folder)
    elif is_seisbench(folder):
        yield from read_seisbench(folder)
    elif waveform_files(folder):
        yield from read_continuous(folder)
    else:
        raise DatasetError(
            f"{folder}: neither waveforms*.hdf5 (SeisBench), nor DiTing's files, nor miniSEED"
        )


def _simulation(name: str) -> tuple[int, int]:
    """(count, seed) of `simulator:COUNT[:SEED]`."""
    numbers = name.split(":")[1:]
    if len(numbers) not in (1, 2) or not all(n.isdecimal() and n.isascii() for n in numbers):
        raise DatasetError(f"{name}: want {SIMULATOR}:COUNT or {SIMULATOR}:COUNT:SEED")
    count, seed = int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 1
    if count < 1:
        raise DatasetError(f"{name}: COUNT must be at least 1")
    return count, seed
