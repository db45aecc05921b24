"""Model cards: what goes into an artefact, what comes out, and what it was measured to do.

Beside every `NAME.tflite` lies `NAME.json`, its card; the card names the artefact's SHA-256, and
an artefact without a card, or other than its card says, is not loaded. `manifest.json` lists the
artefacts of this folder with their hashes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

MODELS = Path(__file__).resolve().parent
MANIFEST = MODELS / "manifest.json"
MAX_BYTES = 500_000  # of an artefact; what a box loads in a blink and a radio link can carry


class CardError(Exception):
    """A card or manifest that is missing or wrong; the message names file and field."""


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output of a model, in the order of the artefact."""

    name: str
    shape: tuple[int, ...]  # batch first
    dtype: Literal["int8", "float32"] = "int8"
    labels: tuple[str, ...] = ()  # of the last axis
    units: str = ""


class Input(Tensor, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input and how samples become it."""

    rate_hz: float = 100.0
    band_hz: tuple[float, float] = (1.0, 45.0)
    normalisation: str = "none"


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
    outputs: tuple[Tensor, ...]
    training_data: tuple[Dataset, ...]
    held_out: tuple[Dataset, ...]  # never trained on; `use` tells what else they decided
    thresholds: dict[str, float] = {}
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
    size = artefact.stat().st_size
    stamped = msgspec.structs.replace(card, sha256=sha256(artefact), size_bytes=size)
    _write(card_path(artefact), stamped)


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
