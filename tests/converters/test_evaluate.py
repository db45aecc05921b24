"""`diting evaluate picker`: counting hits, and telling people what is missing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from converters import evaluate
from converters.picker_labels import gaussians
from converters.score_picker import Voted, compare, match
from converters.voting import vote
from models.picker import WINDOW


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args(words))


def test_a_label_takes_its_closest_pick_and_only_that() -> None:
    assert match([10.0, 10.6], [10.5]) == [None, pytest.approx(-0.1)]
    assert match([10.0], [10.6]) == [None]
    assert match([10.0], [10.4, 9.9]) == [pytest.approx(-0.1)]


def test_mistaken_phases_and_false_picks_are_told_apart() -> None:
    curves = np.zeros((6000, 3), np.float32)
    curves[:, 0] = gaussians(6000, [(1000, 0.9), (2000, 0.9)], 10)  # P where P is, and where S is
    curves[:, 1] = gaussians(6000, [(4000, 0.9)], 10)  # S where nothing is
    voted = Voted({"P": [10.0], "S": [20.0]}, (0.0, np.inf), curves, delay_s=0.0)
    scores = compare([voted], {"P": 0.5, "S": 0.5})
    assert scores["P"]["recall"] == 1
    assert scores["P"]["precision"] == 0.5
    assert scores["S"]["recall"] == 0
    assert scores["confusion"] == {
        "P": {"P": 1, "S": 0, "none": 0},
        "S": {"P": 1, "S": 0, "none": 0},
        "none": {"P": 0, "S": 1, "none": 0},
    }


def test_the_median_forgets_what_few_windows_saw() -> None:
    calls = 0

    def picker(window: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return (window > 0.5).astype(np.float32) if calls % 3 else np.ones_like(window)

    samples = np.zeros((2 * WINDOW, 3), np.float32)
    samples[3500] = 1
    merged = vote(picker, samples)
    assert calls == 31
    assert merged[3500].tolist() == [1, 1, 1]
    assert merged[2900:3100].max() == 0


@pytest.mark.parametrize("form", ["nothing", "seisbench", "miniseed", "picks", "binary picks"])
def test_a_data_set_that_is_none_is_named(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if form == "seisbench":
        (tmp_path / "waveforms.hdf5").write_bytes(b"rubbish")
        (tmp_path / "metadata.csv").write_text("trace_name\n")
    if form in ("miniseed", "picks", "binary picks"):
        (tmp_path / "waveforms").mkdir()
        (tmp_path / "waveforms" / "XX.A.mseed").write_bytes(b"rubbish")
    if form == "picks":
        (tmp_path / "picks.csv").write_text("station_id,phase,time\nXX.A,P,yesterday\n")
    if form == "binary picks":
        (tmp_path / "picks.csv").write_bytes(b"\xff\xfe\x00rubbish")
    assert run("picker", str(tmp_path)) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_a_recording_is_scored_as_json(
    data_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("obspy")
    source = data_dir / "ridgecrest_foreshocks"
    (tmp_path / "waveforms").mkdir()
    (tmp_path / "waveforms" / "CI.CLC.mseed").symlink_to(source / "waveforms" / "CI.CLC.mseed")
    (tmp_path / "picks.csv").symlink_to(source / "picks.csv")
    assert run("picker", str(tmp_path), "--json") == 0
    figures = json.loads(capsys.readouterr().out)["int8"]
    assert figures["P"]["recall"] > 0.8
    assert figures["S"]["labels"] > 5


def test_a_model_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("picker", str(tmp_path), "--model", str(tmp_path / "none.tflite")) == 2
    assert "none.tflite: No such file" in capsys.readouterr().err
