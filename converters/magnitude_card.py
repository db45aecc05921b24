"""The magnitude model's scores, measured on what it has not learnt from, and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloud.velocity import VelocityModel
from converters.datasets import is_test_fold, read_continuous
from converters.magnitude_data import catalogued
from converters.picked import picked
from converters.score_magnitude import compare
from models.card import Card, Dataset, Input, Output
from models.conditioning import BAND_HZ, RATE
from models.magnitude import BINS, SCALARS, StationMagnitude

TRAINING_DATA = (
    Dataset(
        name="simulated records",
        use="M -0.5 to 6.5 within 150 km, with noise of ridgecrest_quiet and simulated noise",
        licence="MIT (converters.magnitude_data)",
    ),
    Dataset(
        name="ridgecrest_aftershocks",
        use="automatic magnitudes of 38 events, at stations outside the test fold "
        "(converters.datasets.is_test_fold), picks of RED-PAN (MIT)",
        licence="MIT; CI and PB networks; AI-PAL authors",
    ),
    Dataset(
        name="ncedc_stead",
        use="shapes and times only, of records with P and S at stations outside the test fold; "
        "NCEDC's amplitudes are unusable, 4 to 16 orders of magnitude too small for their "
        "magnitudes, which are not used either",
        licence="MIT (PhaseNet, EQTransformer repositories)",
    ),
)
HELD_OUT = (
    Dataset(
        name="ridgecrest_foreshocks",
        use="15 events, M 0.4 to 4; neither waveforms nor magnitudes entered training; retrained "
        "after the simulator's calibration had changed while figures on it had been seen",
        licence="MIT (RED-PAN repository); SCEDC",
    ),
    Dataset(
        name="ridgecrest_quiet",
        use="2 events, M 0.4 and 1.5; their magnitudes were not seen, the noise around them was",
        licence="MIT; SCEDC",
    ),
    Dataset(
        name="ridgecrest_aftershocks, test fold",
        use="6 stations; only the scale of sigma was chosen on them",
        licence="MIT; AI-PAL authors",
    ),
)


def magnitude_card(scores: dict[str, Any]) -> Card:
    """The card, but for the hash and size that `write_card` fills in."""
    return Card(
        name="magnitude",
        version="1",
        sha256="",
        size_bytes=0,
        description="Local magnitude at one station: ML (Hutton & Boore 1987) of the largest "
        "Wood-Anderson amplitude at 8 km per second of S-P, plus the residual that this network "
        "reads from the shape of the record; models.magnitude.make_features makes both",
        licence="MIT",
        inputs=(
            Input(
                name="shape",
                shape=(1, BINS, 3),
                labels=("vertical", "horizontal", "wood_anderson"),
                units="envelope in bins of 0.25 s from 1 s before P, 25 s; 1 is the peak and -1 "
                "four decades below it, or no sample yet",
                rate_hz=float(RATE),
                band_hz=BAND_HZ,
                normalisation="by the peak of the record from P on",
            ),
            Input(
                name="scalars",
                shape=(1, len(SCALARS)),
                labels=SCALARS,
                rate_hz=float(RATE),
                band_hz=BAND_HZ,
            ),
        ),
        outputs=(
            Output(name="residual", shape=(1, 1), units="magnitude"),
            Output(name="log_sigma", shape=(1, 1), units="natural logarithm of magnitude"),
        ),
        training_data=TRAINING_DATA,
        held_out=HELD_OUT,
        scores=scores,
        limits=(
            "knows no station corrections: sites that amplify read high at every earthquake",
            "learnt from real records of M 1.2 to 2.7 and tested up to M 4; beyond that it rests "
            "on simulation, and above M 6 local magnitude saturates",
            "another earthquake within the 25 s is taken for part of the first",
        ),
    )


def measure(artefact: Path, parent: Path, data: Path, labels: Path) -> dict[str, Any]:
    """Data set -> figures of the artefact, and of the float model it came from."""
    velocity = VelocityModel.read(data / "ridgecrest_foreshocks" / "velocity_p.txt")
    weights = data / "weights" / "REDPAN_30s_v2.tflite"
    sets = {}
    for name in ("ridgecrest_foreshocks", "ridgecrest_quiet"):
        sets[name] = list(catalogued(data / name, read_continuous(data / name), velocity))
    folder = data / "ridgecrest_aftershocks"
    aftershocks = picked(read_continuous(folder), weights, labels / "aftershocks")
    fold = (record for record in aftershocks if is_test_fold(record.station_id))
    sets["ridgecrest_aftershocks, test fold"] = list(catalogued(folder, fold, velocity))
    models = {"int8": StationMagnitude(artefact), "float": StationMagnitude(parent)}
    return {
        name: {kind: compare(shakings, model) for kind, model in models.items()}
        for name, shakings in sets.items()
    }
