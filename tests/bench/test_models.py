"""The page about models: words of hand survive, and figures are what was found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.evidence.found import Found, equally_many, reliability
from bench.evidence.measured import Magnitudes, Motions
from bench.evidence.page import fill_in, table

ROOT = Path(__file__).resolve().parents[2]
FOUND = Found(
    labels={"P": [10.0, 20.0]},
    peaks={"P": [(10.1, 0.9), (15.0, 0.8), (20.0, 0.4), (30.0, 0.2)]},
)


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = "Words.\n<!-- a -->\nold\nrows\n<!-- / -->\nMore.\n<!-- b -->\nkept\n<!-- / -->\n"
    expected = page.replace("old\nrows", r"new \1")
    assert fill_in(page, {"a": r"new \1"}) == expected
    assert fill_in(expected, {"a": r"new \1"}) == expected
    with pytest.raises(ValueError, match="marks of c"):
        fill_in(page, {"c": "lost"})


def test_the_page_has_marks_for_every_table() -> None:
    names = ("pickers", "equal", "positions", "speed", "motions", "magnitudes")
    fill_in((ROOT / "docs" / "models.md").read_text(), dict.fromkeys(names, ""))


def test_a_table_has_as_many_columns_as_its_head() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


@pytest.mark.parametrize(("picks", "made"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_at_equal_picks_a_picker_makes_no_more(picks: int, made: int) -> None:
    threshold = equally_many([FOUND], "P", picks)
    assert len(FOUND.picks("P", threshold)) == made


def test_picks_that_tie_are_all_left_out_rather_than_one_too_many() -> None:
    tied = Found({"P": []}, {"P": [(1.0, 0.5), (5.0, 0.5), (9.0, 0.7)]})
    assert len(tied.picks("P", equally_many([tied], "P", 2))) == 1


def test_reliability_counts_each_pick_in_its_bin() -> None:
    bins = reliability([FOUND], "P", [0.0, 0.5, 1.0])
    assert bins == [(pytest.approx(0.3), 1, 2), (pytest.approx(0.85), 1, 2)]


def test_first_motions_are_undecided_as_a_box_would_say() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
    motions = Motions(0.7, probabilities, ["up", "up", "down"], {0.0: 0.5})
    assert motions.said == ["up", "undecided", "undecided"]
    assert motions.confusion()["up"] == {"up": 1, "down": 0, "undecided": 1}
    assert motions.figures() == {"forced": 0.5, "decided": pytest.approx(1 / 3), "accuracy": 1.0}


def test_the_trend_of_magnitudes_is_that_of_their_errors() -> None:
    truth = np.array([0.0, 0.0, 0.0, 4.0, 4.0, 4.0])
    pulled = Magnitudes(truth, 0.8 * truth + 0.1, np.full(6, 0.5), truth)
    figures = pulled.figures()
    assert figures["trend"] == pytest.approx(-0.2)
    assert figures["bias"] == pytest.approx(-0.3)
    assert pulled.figures("physics")["std"] == 0
    np.testing.assert_allclose(pulled.by_event(), [[0, 4], [0.1, 3.3]])


@pytest.mark.parametrize("command", [["bench/models.py"], ["-m", "bench.models"]])
def test_without_recordings_it_says_so_and_all_is_well(command: list[str], tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    done = subprocess.run(
        [sys.executable, *command, "--data", nowhere, "--work", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert nowhere in done.stdout
