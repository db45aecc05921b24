"""Cards: what they must say, and what they used to call things."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from models.card import Card, CardError, Input, Output, card_path, read_card, write_card


def card(**fields: object) -> Card:
    known: dict[str, object] = {
        "name": "x",
        "version": "1",
        "sha256": "",
        "size_bytes": 0,
        "description": "",
        "licence": "MIT",
        "inputs": (Input(name="window", shape=(1, 3000, 3), labels=("Z", "N", "E")),),
        "outputs": (Output(name="curves", shape=(1, 3000, 2), labels=("P", "S")),),
        "training_data": (),
        "held_out": (),
    }
    return Card(**(known | fields))  # type: ignore[arg-type]


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    path = tmp_path / "x.tflite"
    path.write_bytes(b"anything")
    write_card(path, card())
    return path


def test_a_card_comes_back_with_the_hash_of_its_artefact(artefact: Path) -> None:
    read = read_card(artefact)
    assert msgspec.structs.replace(read, sha256="", size_bytes=0) == card()
    assert read.size_bytes == len(b"anything")


@pytest.mark.parametrize(
    ("right", "wrong", "field"),
    [
        ('"normalisation": "none"', '"normalisation": "quiet"', r"inputs\[0\]\.normalisation"),
        ('"rate_hz": 100.0', '"rate_hz": 0', r"inputs\[0\]\.rate_hz"),
        ('"activation": "none"', '"activation": "tanh"', r"outputs\[0\]\.activation"),
        ('"step": 1', '"step": 0', r"outputs\[0\]\.step"),
        ('"thresholds": {}', '"thresholds": {"P": 7}', r"thresholds"),
    ],
)
def test_what_a_card_cannot_say_is_named_with_its_field(
    artefact: Path, right: str, wrong: str, field: str
) -> None:
    text = card_path(artefact).read_text()
    assert right in text
    card_path(artefact).write_text(text.replace(right, wrong))
    with pytest.raises(CardError, match=rf"x\.json: .*{field}"):
        read_card(artefact)
