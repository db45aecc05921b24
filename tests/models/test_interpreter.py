"""The interpreter seam: one artefact, two engines, and files that are not what they should be."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.card import MAX_BYTES, MODELS, read_card, read_manifest, sha256, write_card
from models.interpreter import ENGINES, Model, ModelError
from models.picker import PICKER, normalise

INSTALLED = [name for name, module in ENGINES.items() if find_spec(module.split(".")[0])]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A picker artefact with its card, to be spoiled."""
    for suffix in (".tflite", ".json"):
        shutil.copy(PICKER.with_suffix(suffix), tmp_path)
    return tmp_path / PICKER.name


def window(seed: int = 0) -> np.ndarray:
    """A burst in noise, normalised."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal((3000, 3)).astype(np.float32)
    decay = np.exp(-np.arange(1500) / 300)[:, None]
    samples[1500:] += 20 * decay * rng.standard_normal((1500, 3))
    return normalise(samples)[None].astype(np.float32)


@pytest.mark.parametrize("engine", INSTALLED)
def test_every_engine_runs_the_artefact(engine: str) -> None:
    model = Model(PICKER, engine)
    (probabilities,) = model.run(window())
    assert model.engine == engine
    assert probabilities.shape == (1, 3000, 3)
    assert probabilities.dtype == np.float32
    assert probabilities.min() >= 0
    assert 0.1 < probabilities.max() <= 1


def test_engines_agree_but_for_a_few_steps_here_and_there() -> None:
    if len(INSTALLED) < 2:
        pytest.skip(f"only {INSTALLED} installed: nothing to compare")
    first, second = (Model(PICKER, engine) for engine in INSTALLED)
    for seed in range(5):
        (a,), (b,) = first.run(window(seed)), second.run(window(seed))
        steps = np.abs(a - b) * 256  # rounding differs in each layer, and adds up
        assert steps.max() <= 20
        assert np.median(steps) == 0
        assert np.mean(steps > 1.5) < 0.1


def test_two_runs_give_the_same_bits() -> None:
    (first,), (second,) = Model(PICKER).run(window()), Model(PICKER).run(window())
    np.testing.assert_array_equal(first, second)


def test_a_missing_artefact_is_named(copy: Path) -> None:
    copy.unlink()
    with pytest.raises(ModelError, match=r"picker\.tflite: No such file"):
        Model(copy)


def test_an_artefact_without_its_card_is_refused(copy: Path) -> None:
    copy.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"picker\.json: No such file"):
        Model(copy)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"<html>not found</html>", bytes(5000)])
def test_garbage_is_not_a_model(copy: Path, content: bytes) -> None:
    copy.write_bytes(content)
    with pytest.raises(ModelError, match=r"picker\.tflite: not a TFLite model"):
        Model(copy)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_truncated_artefact_is_refused_before_it_crashes_the_engine(
    copy: Path, part: float
) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ModelError, match=r"picker\.tflite: sha256 is .*, card says"):
        Model(copy)


@pytest.mark.parametrize("engine", INSTALLED)
def test_what_the_engine_refuses_is_a_model_error(copy: Path, engine: str) -> None:
    card = read_card(copy)
    copy.write_bytes(copy.read_bytes()[:8] + bytes(64))
    write_card(copy, card)  # a card that vouches for rubbish
    with pytest.raises(ModelError, match=f"picker.tflite: {engine} refuses it"):
        Model(copy, engine)


def test_shapes_other_than_the_cards_are_refused(copy: Path) -> None:
    card = read_card(copy)
    wrong = msgspec.structs.replace(card.inputs[0], shape=(1, 6000, 3))
    write_card(copy, msgspec.structs.replace(card, inputs=(wrong,)))
    with pytest.raises(ModelError, match=r"int8 \[1, 3000, 3\], card says int8 \[1, 6000, 3\]"):
        Model(copy)


def test_a_card_that_is_not_one_is_named_with_its_field(copy: Path) -> None:
    card = copy.with_suffix(".json")
    card.write_bytes(card.read_bytes().replace(b'"size_bytes": ', b'"size_bytes": "many", "n": '))
    with pytest.raises(ModelError, match=r"picker\.json: .*size_bytes"):
        Model(copy)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ModelError, match="engine: 'tpu' is none of tflite-runtime"):
        Model(PICKER, "tpu")


@pytest.mark.parametrize("engine", INSTALLED)
def test_the_environment_chooses_the_engine(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITING_ENGINE", engine)
    assert Model(PICKER).engine == engine


def test_loading_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Model(PICKER).run(window())
    assert capfd.readouterr() == ("", "")


def test_manifest_and_cards_name_the_artefacts_that_are_there() -> None:
    artefacts = sorted(MODELS.glob("*.tflite"))
    assert artefacts
    assert read_manifest() == {file.name: sha256(file) for file in artefacts}
    for file in artefacts:
        card = read_card(file)
        assert card.sha256 == sha256(file)
        assert card.size_bytes == file.stat().st_size <= MAX_BYTES
