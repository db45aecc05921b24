"""No artefact is shipped that is not the manifest's, or worse than its card says."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from converters.gate import FALL, GATE, MEASURES, RISE, gate_figures, refusals
from models.card import MAX_BYTES, MODELS, read_card, read_manifest, sha256, write_card
from models.interpreter import load_interpreter

ARTEFACTS = sorted(MODELS.rglob("*.tflite"))


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda file: str(file.relative_to(MODELS)))
def test_the_artefact_is_the_one_of_its_manifest_and_of_its_card(artefact: Path) -> None:
    card, found = read_card(artefact), sha256(artefact)
    assert read_manifest(artefact.with_name("manifest.json"))[artefact.name] == found
    assert (card.sha256, card.size_bytes) == (found, artefact.stat().st_size)
    assert card.size_bytes <= MAX_BYTES


def test_manifests_name_nothing_that_is_not_there() -> None:
    manifests = list(MODELS.rglob("manifest.json"))
    assert MODELS / "manifest.json" in manifests
    for manifest in manifests:
        here = {file.name for file in manifest.parent.glob("*.tflite")}
        assert set(read_manifest(manifest)) == here, manifest


def test_every_card_has_its_artefact() -> None:
    cards = {file.with_suffix(".tflite") for file in MODELS.rglob("*.json")}
    assert cards - {file.with_name("manifest.tflite") for file in cards} == set(ARTEFACTS)


@pytest.mark.parametrize("kind", MEASURES)
def test_the_artefact_is_as_good_as_its_card(kind: str, data_dir: Path) -> None:
    pytest.importorskip("obspy")
    pytest.importorskip("h5py")
    artefact = MODELS / f"{kind}.tflite"
    promised = read_card(artefact).scores[GATE]
    assert refusals(promised, gate_figures(kind, artefact, data_dir)) == []


@pytest.mark.parametrize("kind", ["fmp", "magnitude"])
def test_damaged_weights_are_refused(kind: str, data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("obspy")
    artefact = damaged(MODELS / f"{kind}.tflite", tmp_path)
    promised = read_card(artefact).scores[GATE]
    assert refusals(promised, gate_figures(kind, artefact, data_dir))


def test_a_threshold_that_was_moved_is_refused(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("obspy")
    artefact = copied(MODELS / "fmp.tflite", tmp_path)
    card = read_card(artefact)
    promised = card.scores[GATE]
    write_card(artefact, msgspec.structs.replace(card, thresholds={"decided": 0.98}))
    lines = refusals(promised, gate_figures("fmp", artefact, data_dir))
    assert any("decided" in line for line in lines)


def test_worse_is_told_from_better() -> None:
    card = {"P": {"recall": 0.9, "residual_std_s": 0.05}, "M": {"bias": -0.1}}
    better = {"P": {"recall": 1.0, "residual_std_s": 0.01}, "M": {"bias": 0.0}}
    one_answer_off = {"P": {"recall": 0.89, "residual_std_s": 0.053}, "M": {"bias": -0.11}}
    worse = {"P": {"recall": 0.87, "residual_std_s": 0.06}, "M": {"bias": 0.13}}
    assert refusals(card, better) == refusals(card, one_answer_off) == []
    assert len(refusals(card, worse)) == 3
    assert refusals(card, {"P": card["P"]}) == ["M: bias is None, card says -0.1"]
    assert refusals({}, better) == ["its card vouches for nothing"]
    assert not FALL.keys() & RISE.keys()


def copied(artefact: Path, folder: Path) -> Path:
    """A copy of an artefact with its card."""
    for suffix in (".tflite", ".json"):
        shutil.copy(artefact.with_suffix(suffix), folder)
    return folder / artefact.name


def damaged(artefact: Path, folder: Path) -> Path:
    """A copy whose weights are a tenth noise, and a card that vouches for it all the same."""
    copy = copied(artefact, folder)
    content = copy.read_bytes()
    _, interpreter = load_interpreter(content, copy)
    rng = np.random.default_rng(0)
    places = []
    for tensor in interpreter.get_tensor_details():
        if tensor["dtype"] is not np.int8 or np.prod(tensor["shape"]) < 100:
            continue
        try:
            weights = interpreter.get_tensor(tensor["index"])
        except ValueError:  # an activation that was optimised away
            continue
        if (place := content.find(weights.tobytes())) >= 0:
            noise = rng.normal(0, 0.1 * np.abs(weights).max(), weights.shape)
            noisy = np.clip(np.rint(weights + noise), -127, 127).astype(np.int8)
            places.append((place, noisy.tobytes()))
    assert places
    for place, noisy in places:
        content = content[:place] + noisy + content[place + len(noisy) :]
    copy.write_bytes(content)
    write_card(copy, read_card(copy))
    return copy
