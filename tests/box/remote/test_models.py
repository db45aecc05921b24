"""Models from afar: tried where they can do no harm, kept where there is room."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from box.remote.models import SPARE, tidy, try_apart
from box.remote.self_test import RECORD, try_models
from box.remote.state import model_path
from models.card import card_path, read_card, write_card
from models.fmp import FMP
from models.magnitude import MAGNITUDE
from models.picker import PICKER
from uplink.remote import ModelFile


@pytest.mark.parametrize("name", ["picker", "picker_float", "regional/picker_sichuan"])
def test_what_ships_passes(name: str) -> None:
    assert try_models({"picker": str(PICKER.parent / f"{name}.tflite")}) == []


def with_card(path: Path, like: Path) -> Path:
    write_card(path, read_card(like))
    return path


def test_a_model_that_kills_its_interpreter_does_not_kill_the_box(tmp_path: Path) -> None:
    """Whole by its hash, and a quarter of it missing."""
    artefact = tmp_path / "picker.tflite"
    artefact.write_bytes(PICKER.read_bytes()[: PICKER.stat().st_size * 3 // 4])
    [problem] = asyncio.run(try_apart({"picker": with_card(artefact, PICKER)}))
    assert problem.startswith(("self-test: died of SIG", f"{artefact}: "))


def test_a_model_for_something_else_is_refused_in_a_line(tmp_path: Path) -> None:
    [problem] = asyncio.run(try_apart({"picker": MAGNITUDE}))
    assert "not a picker" in problem
    [problem] = asyncio.run(try_apart({"first_motion": tmp_path / "none.tflite"}))
    assert "No such file" in problem


def test_a_first_motion_that_is_upside_down_is_found_out(tmp_path: Path) -> None:
    artefact = Path(shutil.copy(FMP, tmp_path / "fmp.tflite"))
    text = card_path(FMP).read_text()
    turned = text.replace('"up"', '"UP"').replace('"down"', '"up"').replace('"UP"', '"down"')
    card_path(artefact).write_text(turned)
    [problem] = asyncio.run(try_apart({"first_motion": artefact}))
    assert problem == "first_motion: up, where it is down"


def test_the_record_is_small() -> None:
    assert RECORD.stat().st_size < 60_000


def test_models_in_use_and_the_newest_others_are_kept(tmp_path: Path) -> None:
    files = [
        ModelFile(sha256=f"{n}" * 64, size=1, card_sha256="c" * 64, card_size=1) for n in range(6)
    ]
    (tmp_path / "models").mkdir()
    for age, file in enumerate(files):
        path = model_path(tmp_path, file)
        for each in (path, card_path(path)):
            each.touch()
            os.utime(each, (1000 + age, 1000 + age))
    tidy(tmp_path, files[:1])
    left = {path.name[0] for path in (tmp_path / "models").iterdir()}
    assert left == {"0", *(str(n) for n in range(6 - SPARE, 6))}
    assert len(list((tmp_path / "models").iterdir())) == 2 * (1 + SPARE)
