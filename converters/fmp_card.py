"""The first-motion model's scores, measured on what it has not learnt from, and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.datasets import is_test_fold, read_continuous, read_seisbench
from converters.score_fmp import compare
from models.card import Card, Dataset, Input, Output
from models.conditioning import BAND_HZ, RATE
from models.fmp import CHANNELS, CLASSES, NORMALISATION, WINDOW, FirstMotion

TRAINING_DATA = (
    Dataset(
        name="simulated onsets",
        use="double couples in a layered earth, in noise of ridgecrest_quiet",
        licence="MIT (converters.synthetics)",
    ),
    Dataset(
        name="ridgecrest_aftershocks",
        use="first motions read by rule where they stand far above the noise, at picks of RED-PAN "
        "(MIT) and stations outside the test fold (converters.datasets.is_test_fold)",
        licence="MIT; CI and PB networks",
    ),
    Dataset(
        name="ncedc_stead",
        use="analysts' first motions at stations outside the test fold",
        licence="MIT (PhaseNet repository); NCEDC",
    ),
    Dataset(name="ridgecrest_quiet", use="noise only, no label", licence="MIT; CI and PB networks"),
)
LOOKED_AT = (
    "the threshold's policy (wanted precision 0.9, validation mix 75:25 of first motions read by "
    "rule and by analysts) and the mix of training were changed after scores on it had been seen"
)
HELD_OUT = (
    Dataset(
        name="ridgecrest_foreshocks",
        use="analysts' first motions at their picks; none entered training, calibration or the "
        f"fit of the threshold; {LOOKED_AT}",
        licence="MIT (RED-PAN repository); SCEDC",
    ),
    Dataset(
        name="ridgecrest_quiet",
        use="analysts' first motions of 2 events, never in training; the noise of the recordings "
        f"was seen; {LOOKED_AT}",
        licence="MIT; SCEDC",
    ),
    Dataset(
        name="ncedc_stead, test fold",
        use="analysts' first motions; temperature and threshold were chosen on these stations and "
        f"those of ridgecrest_aftershocks in the fold; {LOOKED_AT}",
        licence="MIT; NCEDC",
    ),
)


def fmp_card(decided: float, scores: dict[str, Any]) -> Card:
    """The card, but for the hash and size that `write_card` fills in.

    decided: probability from which up or down is said.
    """
    return Card(
        name="fmp",
        version="1",
        sha256="",
        size_bytes=0,
        description="First motion of P on the vertical, from 0.64 s before the pick to 0.64 s "
        "after it; models.fmp averages over the window and its mirror image",
        licence="MIT",
        inputs=(
            Input(
                name="window",
                shape=(1, WINDOW, CHANNELS),
                labels=("linear", "logarithmic"),
                units="any; up is positive",
                rate_hz=float(RATE),
                band_hz=BAND_HZ,
                normalisation=NORMALISATION,
            ),
        ),
        outputs=(Output(name="probabilities", shape=(1, len(CLASSES)), labels=CLASSES),),
        training_data=TRAINING_DATA,
        held_out=HELD_OUT,
        thresholds={"decided": decided},
        scores=scores,
        limits=(
            "learnt for picks within 0.12 s of the onset",
            "cannot know of verticals wired upside down",
            "few real first motions: 74 of analysts and about 200 read by rule",
        ),
    )


def measure(artefact: Path, parent: Path, data: Path) -> dict[str, Any]:
    """Data set -> figures of the artefact, and of the float model it came from."""
    sets = {
        name: list(read_continuous(data / name))
        for name in ("ridgecrest_foreshocks", "ridgecrest_quiet")
    }
    labelled = read_seisbench(data / "labelled" / "ncedc_stead")
    sets["ncedc_stead, test fold"] = [r for r in labelled if is_test_fold(r.station_id)]
    models = {"int8": FirstMotion(artefact), "float": FirstMotion(parent)}
    return {
        name: {kind: compare(records, model) for kind, model in models.items()}
        for name, records in sets.items()
    }
