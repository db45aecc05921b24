"""The first-motion model's scores, measured on what it has not learnt from, and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.datasets import is_test_fold, read_continuous, read_seisbench
from converters.fmp_data import EMERGENT_PART, EMERGENT_SNR, IMPULSIVE_PART, IMPULSIVE_SNR
from converters.score_fmp import compare
from models.card import Card, Dataset, Input, Output
from models.conditioning import BAND_HZ, RATE
from models.fmp import CHANNELS, CLARITIES, CLASSES, NORMALISATION, WINDOW, FirstMotion

KEPT_OUT = (
    "at stations outside the test fold (converters.datasets.is_test_fold), a fifth of them for "
    "calibration, threshold and the curve of losses alone (converters.fmp_data.serves)"
)
TRAINING_DATA = (
    Dataset(
        name="simulated onsets",
        use="double couples in a layered earth, seen through accelerometers and linear-phase "
        "filters too, in recorded noise",
        licence="MIT (converters.synthetics)",
    ),
    Dataset(
        name="ridgecrest_aftershocks",
        use="first motions read by rule where they stand far above the noise, at picks of RED-PAN "
        f"(MIT), {KEPT_OUT}",
        licence="MIT; CI and PB networks",
    ),
    Dataset(
        name="ncedc_stead",
        use="first motions read by analysts, and by rule at analysts' picks; noise before P; "
        f"{KEPT_OUT}",
        licence="MIT (PhaseNet and EQTransformer repositories); NCEDC, STEAD",
    ),
    Dataset(
        name="ridgecrest_quiet",
        use=f"noise only, no label, {KEPT_OUT}",
        licence="MIT; CI and PB networks",
    ),
)
LOOKED_AT = (
    "scores on it of other designs were known when this one's noise and stretching were chosen"
)
HELD_OUT = (
    Dataset(
        name="ridgecrest_foreshocks",
        use="analysts' first motions at their picks; neither its labels nor its waveforms entered "
        f"training, calibration or the choice of the threshold; {LOOKED_AT}",
        licence="MIT (RED-PAN repository); SCEDC",
    ),
    Dataset(
        name="ridgecrest_quiet",
        use="analysts' first motions and onsets of 2 events, never in training; the noise of the "
        "recordings was, and the limits of the rule for clarity were chosen by its onsets; "
        f"{LOOKED_AT}",
        licence="MIT; SCEDC",
    ),
    Dataset(
        name="ncedc_stead, test fold",
        use=f"analysts' first motions at the stations of the test fold; {LOOKED_AT}",
        licence="MIT; NCEDC",
    ),
)
CLARITY_RULE = (
    "impulsive and emergent are learnt by rule: a first swing (0.08 s) of at least "
    f"{IMPULSIVE_SNR:g} standard deviations of the noise and {IMPULSIVE_PART:g} of the largest "
    f"motion within 0.5 s, and one below {EMERGENT_SNR:g} or {EMERGENT_PART:g}"
)


def fmp_card(decided: float, scores: dict[str, Any]) -> Card:
    """The card, but for the hash and size that `write_card` fills in.

    decided: probability from which up or down is said.
    """
    return Card(
        name="fmp",
        version="2",
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
        outputs=(
            Output(name="polarity", shape=(1, len(CLASSES)), labels=CLASSES),
            Output(name="clarity", shape=(1, len(CLARITIES)), labels=CLARITIES),
        ),
        training_data=TRAINING_DATA,
        held_out=HELD_OUT,
        thresholds={"decided": decided},
        scores=scores,
        limits=(
            "learnt for picks within 0.14 s of the onset",
            "a pick that is off by 0.1 s costs 4 points or more",
            "calls impulsive two thirds of the onsets that SCSN's analysts call emergent",
            "cannot know of verticals wired upside down",
            "few real first motions: some 60 of analysts and 250 read by rule; weak ones of "
            "instruments unlike those of Ridgecrest are read worse than the foreshocks",
            CLARITY_RULE,
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
