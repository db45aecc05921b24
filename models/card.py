"""Model cards: what goes into an artefact, what comes out, and what it was measured to do.

Beside every `NAME.tflite` lies `NAME.json`, its card; the card names the artefact's SHA-256, and
an artefact without a card, or other than its card says, is not loaded. `manifest.json` lists the
artefacts of this folder with their hashes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

MODELS = Path(__file__).resolve().parent
MANIFEST = MODELS / "manifest.json"
MAX_BYTES = 500_000  # of an artefact that ships; loaded in a blink, carried by a radio link


class CardError(Exception):
    """A card or manifest that is missing or wrong; the message names file and field."""


Normalisation = Literal[
    "none",
    # of a picker's window (models.picker); the mean of each component goes in any case
    "standard per component",  # over its standard deviation
    "compressed per component",  # the same, and then about the square root of it, its sign kept
    "standard per window",  # over the standard deviation of all components
    "peak per component",  # over its largest absolute value
    "peak per window",  # over the largest absolute value of all components
    # of a first motion's vertical, which becomes two channels (models.fmp)
    "linear and logarithmic",
    "standard and sign",
    # of a magnitude's record (models.magnitude)
    "by the peak of the record from P on",
]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output of a model, in the order of the artefact."""

    name: str
    shape: tuple[Annotated[int, msgspec.Meta(ge=1)], ...]  # batch first
    dtype: Literal["int8", "float32"] = "int8"
    labels: tuple[str, ...] = ()  # of the axis of components or classes; the other is time
    units: str = ""


class Input(Tensor, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input and how samples become it."""

    rate_hz: Positive = 100.0
    band_hz: tuple[Positive, Positive] = (1.0, 45.0)
    normalisation: Normalisation = "none"


class Output(Tensor, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An output and how it becomes probabilities."""

    activation: Literal["none", "sigmoid", "softmax"] = "none"  # that is still to be applied
    start: Annotated[int, msgspec.Meta(ge=0)] = 0  # sample of the input where it begins
    step: Annotated[int, msgspec.Meta(ge=1)] = 1  # samples of the input from one to the next


class Dataset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Data that made or judged a model."""

    name: str
    use: str
    licence: str


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The card of one artefact."""

    name: str
    version: str
    sha256: str
    size_bytes: int
    description: str
    licence: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    training_data: tuple[Dataset, ...]
    held_out: tuple[Dataset, ...]  # never trained on; `use` tells what else they decided
    thresholds: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1)]] = {}
    scores: dict[str, Any] = {}  # data set -> figures, of the artefact and of its float parent
    limits: tuple[str, ...] = ()  # what it is known to do badly


def card_path(artefact: Path) -> Path:
    """Where the card of an artefact lies."""
    return artefact.with_suffix(".json")


def sha256(path: Path) -> str:
    """Hash of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_card(artefact: Path) -> Card:
    """The card beside an artefact; CardError where it is missing or malformed."""
    card: Card = _read(card_path(artefact), Card)
    return card


def write_card(artefact: Path, card: Card) -> None:
    """Write the card beside its artefact, with the artefact's present hash and size."""
    _write(card_path(artefact), stamped(artefact, card))


def stamped(artefact: Path, card: Card) -> Card:
    """The card with the artefact's present hash and size."""
    size = artefact.stat().st_size
    return msgspec.structs.replace(card, sha256=sha256(artefact), size_bytes=size)


def read_manifest(path: Path = MANIFEST) -> dict[str, str]:
    """File name -> SHA-256 of every artefact of a release."""
    hashes: dict[str, str] = _read(path, dict[str, str])
    return hashes


def write_manifest(path: Path = MANIFEST) -> None:
    """List every artefact that lies beside the manifest."""
    _write(path, {file.name: sha256(file) for file in sorted(path.parent.glob("*.tflite"))})


def _read(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise CardError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: {error}") from None


def _write(path: Path, content: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
