"""A picker that others trained, from their file to picks: converted, chosen, replayed."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from box.cli import OK, USAGE, main
from converters.fields import nanoseconds
from converters.simulator import Simulation
from models.picker import Picker
from ringbuffer.segment import NS

# STA/LTA as a network: 40 s at 50 Hz, E N Z in; softmax of noise, P and S out. P where the vertical
# becomes louder than it was, S where the horizontals do.
NETWORK = """
import sys
import keras, numpy as np
from keras import layers

window = keras.Input((2000, 3))
size = layers.Concatenate()([layers.ReLU()(window), layers.ReLU()(layers.Rescaling(-1.0)(window))])
kernel = np.zeros((301, 6, 3), np.float32)
after, before = slice(150, 175), slice(0, 150)
for label, components in ((1, (2, 5)), (2, (0, 1, 3, 4))):
    for component in components:
        kernel[after, component, label] = 3 / 25 / len(components)
        kernel[before, component, label] = -9 / 150 / len(components)
logits = layers.Conv1D(3, 301, padding="same", name="logits")
model = keras.Model(window, layers.Softmax()(logits(size)))
logits.set_weights([kernel, np.array([0, -2, -2], np.float32)])
model.save(sys.argv[1])
"""
CONTRACT = """
components: [E, N, Z]
rate_hz: 50
outputs: [{labels: [noise, P, S]}]
thresholds: {P: 0.4, S: 0.4}
"""


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed (extra 'train')")
    folder = tmp_path_factory.mktemp("foreign")
    subprocess.run(
        [sys.executable, "-c", NETWORK, folder / "network.keras"],
        check=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    (folder / "contract.yaml").write_text(CONTRACT)
    out = folder / "foreign.tflite"
    words = ["convert", str(folder / "network.keras"), "--contract", str(folder / "contract.yaml")]
    words += ["--data", "simulator:4:2", "--calibrate", "simulator:8:1", "--out", str(out)]
    assert main(words) == OK
    return out


def test_a_converted_picker_replays_to_picks_where_the_waves_arrive(
    converted: Path, recordings: Path, simulation: Simulation, tmp_path: Path
) -> None:
    assert Picker(converted).window == 4000
    words = [
        "replay",
        str(recordings / "waveforms"),
        "--stations",
        str(recordings / "stations.csv"),
    ]
    assert main([*words, "--picker", str(converted), "--out", str(tmp_path)]) == OK
    with (tmp_path / "picks.csv").open() as lines:
        picks = [*csv.DictReader(lines)]
    arrivals = [
        (phase, arrival.station_id, getattr(arrival, f"{phase.lower()}_time_ns"))
        for event in simulation.truth
        for arrival in event.arrivals
        for phase in "PS"
    ]
    found = {
        (phase, station, time_ns)
        for phase, station, time_ns in arrivals
        for pick in picks
        if (pick["phase"], pick["station_id"]) == (phase, station)
        and abs(nanoseconds(pick["time"]) - time_ns) < 0.5 * NS
    }
    for phase in "PS":
        assert sum(p == phase for p, *_ in found) >= 0.6 * len(arrivals) / 2, phase


def test_a_configuration_may_choose_it_and_a_wrong_choice_is_named_with_its_field(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "box.yaml"
    good = (
        "station: {id: XX.ONE, latitude: 1, longitude: 2}\n"
        f'source: {{path: {tmp_path}}}\nbroker: {{url: "mqtt://localhost"}}\ndata_dir: {tmp_path}\n'
    )
    config.write_text(good + f"picking: {{picker: {converted}}}\n")
    assert main(["check", str(config)]) == OK
    capsys.readouterr()
    config.write_text(good + f"picking: {{first_motion: {converted}, magnitude: none.tflite}}\n")
    assert main(["check", str(config)]) == USAGE
    lines = capsys.readouterr().out.splitlines()
    assert [line.removeprefix(f"{config}: ").split(":")[0] for line in lines] == [
        "picking.first_motion",
        "picking.magnitude",
    ]
    assert "not a reader of first motions" in lines[0]
