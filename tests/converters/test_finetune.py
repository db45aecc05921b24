"""Customising a picker: what is learnt from which record, and what is kept from it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from converters import finetune
from converters.datasets import Arrival, Record
from converters.finetune import (
    BETWEEN_S,
    BLOCK_S,
    LEAD_S,
    fold,
    grouping,
    labelled_stretch,
    pieces,
    prolong,
)
from converters.training import TrainingError
from models.card import MODELS, read_card
from models.conditioning import RATE
from models.picker import WINDOW, Picker

RNG = np.random.default_rng(0)
START_NS = 1_600_000_000 * 10**9


class Silent:
    """A parent that sees nothing but one faint S, 5 s after the beginning of each window."""

    def predict(self, windows: np.ndarray, verbose: int) -> np.ndarray:
        curves = np.zeros_like(windows)
        curves[:, 480:520, 1] = 0.4
        return curves


def record(name: str = "a", seconds: float = 60.0, **labels: object) -> Record:
    samples = RNG.standard_normal((round(seconds * 100), 3))
    made = Record(name, "XX.A", START_NS, Fraction(100), samples)
    return replace(made, **labels)  # type: ignore[arg-type]


P_AND_S = (Arrival("P", 20.0), Arrival("S", 24.0))


def test_labels_win_over_the_parent_near_them_and_only_there() -> None:
    (learnt,) = labelled_stretch(record(arrivals=P_AND_S, seconds=90), Silent(), finetune_rng())
    lead = len(learnt.samples) - 56 * RATE  # the record is cut 32 s after its S
    assert learnt.targets[lead + 20 * RATE, 0] == pytest.approx(1)
    assert learnt.targets[lead + 24 * RATE, 1] == pytest.approx(1)
    assert learnt.targets[lead + 5 * RATE, 1] == pytest.approx(0.4, abs=0.01)
    assert learnt.targets[lead + 15 * RATE, 1] == 0  # 5 s after the second window's beginning


def finetune_rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_nothing_is_learnt_from_what_is_short_or_that_nobody_labelled() -> None:
    assert labelled_stretch(record(), Silent(), finetune_rng()) == []
    assert labelled_stretch(record(seconds=29, arrivals=P_AND_S), Silent(), finetune_rng()) == []


def test_early_onsets_come_to_stand_late_in_the_window() -> None:
    samples = RNG.standard_normal((40 * RATE, 3)).astype(np.float32) * np.float32([1, 5, 10])
    targets = np.zeros_like(samples)
    rng = np.random.default_rng(1)
    leads = []
    for _ in range(100):
        longer, wanted = prolong(samples, targets, first_onset=2.5 * RATE, rng=rng)
        assert longer.shape == wanted.shape
        lead = len(longer) - len(samples)
        leads.append(lead / RATE)
        np.testing.assert_array_equal(longer[lead:], samples)
        if lead > 5 * RATE and longer[:lead].any():  # noise like that before the onset
            before = samples[RATE // 2 : 240].std(axis=0)
            np.testing.assert_allclose(longer[:lead].std(axis=0), before, rtol=0.2)
    assert 20 < np.sum(np.array(leads) == 0) < 50
    assert max(leads) > 0.9 * LEAD_S


def test_parts_are_made_by_event_or_station_where_these_are_known() -> None:
    def many(**names: str) -> list[Record]:
        made = []
        for k in range(40):
            changed = {key: value.format(k) for key, value in names.items()}
            made.append(record(**changed))  # type: ignore[arg-type]
        return made

    assert grouping(many(event_id="ev{}", station_id="XX.S{}")) == "event"
    assert grouping(many(station_id="XX.S{}")) == "station"
    assert grouping(many(name="r{}")) == "record"
    assert grouping([record(continuous=True)]) == "time"
    parts = [fold(r, "event") for r in many(event_id="ev{}", name="{}")]
    assert parts == [fold(r, "event") for r in many(event_id="ev{}", name="other {}")]
    assert set(parts) == {"train", "validation", "test"}


def test_continuous_recordings_are_cut_at_the_same_times_at_all_stations() -> None:
    arrivals = (Arrival("P", 100.0), Arrival("P", 400.0))
    whole = record(seconds=1800, continuous=True, arrivals=arrivals)
    late = replace(whole, start_ns=START_NS + 77 * 10**9, station_id="XX.B")
    parts: dict[int, str] = {}
    for piece in [*pieces([whole]), *pieces([late])]:
        begin, length = piece.start_ns / 1e9, len(piece.samples) / 100
        assert length >= WINDOW / RATE
        assert begin % BLOCK_S + length <= BLOCK_S - BETWEEN_S + 0.02
        block = int(begin // BLOCK_S)
        assert parts.setdefault(block, fold(piece, "time")) == fold(piece, "time")
    times = [p.start_ns / 1e9 + a.seconds for p in pieces([whole]) for a in p.arrivals]
    assert times == pytest.approx([START_NS / 1e9 + 100, START_NS / 1e9 + 400])
    assert set(parts.values()) == {"train", "validation", "test"}


def test_the_default_picker_is_not_written_over(tmp_path: Path) -> None:
    finetune.refuse_default(tmp_path / "x.tflite")
    args = argparse.Namespace(out=MODELS / "picker.tflite")
    with pytest.raises(TrainingError, match="default models"):
        finetune.run(args)


def test_the_smoke_run_leaves_a_picker_with_scores_before_and_after(tmp_path: Path) -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed (extra 'train')")
    out = tmp_path / "mine.tflite"
    command = ["train", "picker", "--finetune", "any", "--smoke", "--licence", "CC-BY-4.0"]
    done = subprocess.run(
        [sys.executable, "-m", "box", *command, "--out", out, "--work", tmp_path / "work"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    card = read_card(out)
    assert card.name == "mine"
    assert card.licence == card.training_data[-1].licence == "CC-BY-4.0"
    assert "station" in card.held_out[0].use
    assert {"int8", "float", "before"} <= card.scores.keys()
    assert Picker(out).probabilities(np.ones((WINDOW, 3), np.float32)).shape == (WINDOW, 3)
    assert (tmp_path / "mine_float.tflite").exists()
    assert (tmp_path / "work" / "mine.keras").exists()
