"""`diting evaluate picker`: counting hits, and telling people what is missing."""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from converters import evaluate
from converters.datasets import Arrival, Record
from converters.picker_labels import gaussians
from converters.score_picker import POSITIONS_S, Voted, compare, match, sweep, variation
from converters.voting import vote
from models.card import MODELS
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
    assert calls == 56  # the first one when a box has had 5 s, zeros before
    assert merged[3500].tolist() == [1, 1, 1]
    assert merged[2900:3100].max() == 0


def test_an_onset_soon_after_the_start_is_voted_on_as_a_box_would() -> None:
    samples = np.zeros((2 * WINDOW, 3), np.float32)
    samples[200] = 1
    merged = vote(lambda window: (window > 0.5).astype(np.float32), samples)
    assert merged[200].tolist() == [1, 1, 1]
    assert vote(lambda window: window, samples[:700])[200].tolist() == [1, 1, 1]


def ticking(p_s: float, s_s: float, seconds: float) -> Record:
    """A record of spikes at P and S, which the filter delays."""
    samples = np.zeros((round(seconds * 100), 3), np.int32)
    samples[round(p_s * 100), 0] = samples[round(s_s * 100), 1] = 10**6
    arrivals = (Arrival("P", p_s), Arrival("S", s_s))
    return Record("XX.A", "XX.A", 0, Fraction(100), samples, arrivals)


def spikes(window: np.ndarray) -> np.ndarray:
    """A picker that finds them, but sees P on the left half only."""
    found = (np.abs(window) > 0.5 * np.abs(window).max(axis=0)).astype(np.float32)
    found[WINDOW // 2 :, 0] = 0
    return found


def test_a_picker_that_is_blind_in_half_of_the_window_varies_with_the_position() -> None:
    by_position = sweep(spikes, [ticking(40, 43, 80)], {"P": 0.5, "S": 0.5})
    assert list(by_position["P"]) == [str(position) for position in POSITIONS_S]
    recalls = {int(p): figures["recall"] for p, figures in by_position["P"].items()}
    assert recalls == {p: float(p < 15) for p in POSITIONS_S}
    assert variation(by_position["P"]) == 1
    counted = [figures["labels"] for figures in by_position["S"].values()]
    assert counted == [int(p + 3 < 29.5) for p in POSITIONS_S]  # where the window holds S


def test_picks_beside_the_arrivals_are_false_but_not_those_far_away() -> None:
    def twice(window: np.ndarray) -> np.ndarray:
        found = spikes(window)
        return np.maximum(found, np.roll(found, 500, axis=0))

    figures = sweep(twice, [ticking(40, 43, 80)], {"P": 0.5, "S": 0.5})
    assert figures["P"]["4"]["picks"] == 2
    assert figures["P"]["4"]["precision"] == 0.5
    far = sweep(spikes, [ticking(40, 43, 80), ticking(40, 43, 65)], {"P": 0.5, "S": 0.5})
    assert far["P"]["4"]["labels"] == 1  # the short one cannot have P everywhere


def test_int8_stands_beside_float_with_what_differs() -> None:
    int8 = {"dataset": "a", "P": {"recall": 0.9, "picks": 7}, "S": {"recall": 1.0, "picks": 5}}
    parent = {"dataset": "a", "P": {"recall": 0.9, "picks": 7}, "S": {"recall": 0.8, "picks": 5}}
    lines = evaluate.table({"int8": int8, "float": parent}).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["float:", "dataset", "a"],
        ["recall", "picks"],
        ["P", "int8", "0.9", "7"],
        ["P", "float", "0.9", "7"],
        ["S", "int8", "1", "5"],
        ["S", "float", "0.8", "5"],
        ["±", "0.2"],
    ]


def test_a_float_artefact_is_not_called_int8() -> None:
    parent = MODELS / "picker_float.tflite"
    assert evaluate.variants(parent) == {"float": parent}
    assert list(evaluate.variants(MODELS / "picker.tflite")) == ["int8", "float"]


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


@pytest.mark.parametrize("threshold", ["0", "1", "-0.1", "30", "nan", "high"])
def test_a_threshold_that_is_no_probability_is_refused(
    threshold: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        run("picker", "simulator:1", f"--threshold={threshold}")
    assert refused.value.code == 2
    assert "--threshold" in capsys.readouterr().err


def test_a_picker_is_scored_without_any_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Records of noise, which have no arrival, included."""
    assert run("picker", "simulator:10", "--json") == 0
    figures = json.loads(capsys.readouterr().out)["int8"]
    assert figures["records"] == 10
    assert figures["P"]["labels"] == 8
    assert figures["P"]["recall"] > 0.8


def test_an_error_is_one_line_that_names_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("picker", "simulator:none") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("diting: simulator:none: ")
