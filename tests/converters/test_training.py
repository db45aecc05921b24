"""The training loop: a run that broke off goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from box.cli import INTERRUPTED, main
from converters import train
from converters.training import TrainingError, apart
from models.card import MODELS

# Runs once with a kill in the middle, and once without but with all that is to be compared.
SCRIPT = """
import os, signal, sys
from pathlib import Path
import keras, numpy as np
from converters.training import TrainingError, fit

def train(work, kill_at=0, patience=None, seed=1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([
        keras.Input((20, 2)), keras.layers.Conv1D(4, 3), keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.2), keras.layers.Flatten(), keras.layers.Dense(1),
    ])
    rate = keras.optimizers.schedules.CosineDecay(0.01, 60)
    model.compile(keras.optimizers.AdamW(rate), loss="mse")
    drawn = 0

    def draw(rng):
        nonlocal drawn
        drawn += 1
        if drawn == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        x = rng.standard_normal((8, 20, 2)).astype("f4")
        return x, x[:, 0, :1]

    losses = fit(model, draw, Path(work), steps=5, epochs=6, seed=seed,
                 validation=draw(np.random.default_rng(99)), patience=patience)
    return [losses, *model.get_weights()]

def error(work, **how):
    try:
        train(work, **how)
    except TrainingError as error:
        print(error)

if sys.argv[1] == "kill":
    train("killed", kill_at=20)
np.savez("killed.npz", *train("killed"))
np.savez("whole.npz", *train("whole"))
np.savez("patient.npz", *train("patient", patience=1))
error("killed", seed=2)
Path("killed/checkpoint.npz").write_bytes(b"rubbish")
error("killed")
"""


def script(folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, what],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def result(file: Path) -> list[np.ndarray]:
    with np.load(file) as arrays:
        return list(arrays.values())


def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed (extra 'train')")
    assert script(tmp_path, "kill").returncode == -signal.SIGKILL
    rows = (tmp_path / "killed" / "loss.csv").read_text().count("\n") - 1
    assert 1 <= rows < 6
    again = script(tmp_path, "go on")
    assert again.returncode == 0, again.stderr
    assert "epoch" not in again.stderr  # no progress in a pipe
    for one, other in zip(
        *(result(tmp_path / f"{n}.npz") for n in ("whole", "killed")), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert (tmp_path / "killed" / "loss.csv").read_text().count("\n") == 7
    assert (tmp_path / "killed" / "loss.png").exists()

    losses = result(tmp_path / "patient.npz")[0]
    assert len(losses) == min(6, int(losses[:, 1].argmin()) + 2)

    of_another, of_none = again.stdout.splitlines()
    assert "checkpoint.npz: of another training (seed 1)" in of_another
    assert "checkpoint.npz: no checkpoint of a training" in of_none


def interrupted(_: object) -> int:
    raise KeyboardInterrupt


def failed(_: object) -> int:
    raise TrainingError("work: it cannot go on")


@pytest.mark.parametrize(
    ("run", "status", "said"),
    [(interrupted, INTERRUPTED, "goes on from training/mine"), (failed, 2, "it cannot go on")],
)
def test_an_end_before_its_time_is_told_in_a_line(
    run: object,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(train.TRAINERS["fmp"], "run", run)
    assert main(["train", "fmp", "--out", "mine.tflite"]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("diting: ")
    assert said in line


def test_what_goes_wrong_in_a_process_apart_comes_back() -> None:
    assert apart(divmod, 7, 2) == (3, 1)
    with pytest.raises(TrainingError, match="cannot go on"):
        apart(failed, None)


def test_a_smoke_run_leaves_what_ships_alone(tmp_path: Path) -> None:
    shipped = MODELS / "picker.tflite"
    assert train.destination(shipped, tmp_path, smoke=True) == tmp_path.resolve() / shipped.name
    assert train.destination(Path(os.path.relpath(shipped)), tmp_path, smoke=False) == shipped


@pytest.mark.parametrize("wrong", [["--epochs", "0"], ["--batch", "-1"], ["--steps", "x"]])
def test_a_training_of_nothing_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "picker", *wrong])


def test_a_place_that_cannot_be_written_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for out, field in (
        (tmp_path / "model.bin", ".tflite"),
        (tmp_path / "file" / "x.tflite", "file"),
    ):
        assert main(["train", "picker", "--smoke", "--out", str(out)]) == 2
        message = capsys.readouterr().err
        assert message.startswith("diting: --out: ")
        assert field in message
