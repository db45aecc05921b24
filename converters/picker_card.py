"""The picker's thresholds and scores, measured on what it has not learnt from, and its card."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from converters.datasets import is_test_fold, read_continuous, read_seisbench
from converters.gate import record
from converters.picker_labels import PHASES, QUIET, Labels, teacher_picks, validation_set
from converters.score_picker import Voted, compare, sweep, vote_all
from converters.voting import vote
from models.card import Card, Dataset, Input, Output, write_card
from models.conditioning import BAND_HZ, RATE
from models.peaks import find_peaks
from models.picker import NORMALISATION, WINDOW, Picker

TEACHER_THRESHOLD = 0.3  # the one that its authors recommend
CANDIDATES = tuple(round(0.01 * percent, 2) for percent in range(15, 100))

TEACHERS_SAW = "onsets that RED-PAN and PhaseNet (both MIT) see by median vote"
TRAINING_DATA = (
    Dataset(
        name="ridgecrest_aftershocks",
        use=f"22 stations, 35 of 40 min, {TEACHERS_SAW}, certain where they belong to one of the "
        "earthquakes that association and location find in them; the last 5 min for validation "
        "and thresholds",
        licence="MIT; CI and PB networks",
    ),
    Dataset(
        name="ridgecrest_quiet",
        use="22 stations, the first 15 min, labelled in the same way: noise",
        licence="MIT; CI and PB networks",
    ),
    Dataset(
        name="ncedc_stead",
        use="records of stations outside the test fold (converters.datasets.is_test_fold), "
        f"analysts' P and S; beside them {TEACHERS_SAW}",
        licence="MIT (PhaseNet, EQTransformer repositories)",
    ),
    Dataset(
        name="turkiye_ceyt",
        use=f"40 min of long coda, {TEACHERS_SAW}",
        licence="GPL-3 repository (SAIPy); KO network",
    ),
    Dataset(
        name="simulator",
        use="600 records (converters.simulated), for S long after P and any azimuth",
        licence="MIT",
    ),
)
LOOKED_AT = "looked at when choosing among training runs, so its figures are mildly optimistic"
DELAY_SET = (
    "the teachers' delays (converters.picker_labels.TEACHER_DELAYS) were set from residuals on"
)
HELD_OUT = (
    Dataset(
        name="ridgecrest_foreshocks",
        use=f"never in training, labels or thresholds; {LOOKED_AT}",
        licence="MIT (RED-PAN repository); SCEDC",
    ),
    Dataset(
        name="ridgecrest_quiet, second half",
        use="two small events, otherwise noise; same stations as in training; never in training "
        f"or thresholds; {LOOKED_AT}; {DELAY_SET} all of ridgecrest_quiet",
        licence="MIT; SCEDC",
    ),
    Dataset(
        name="ncedc_stead, test fold",
        use="records of 32 stations, never in training or thresholds; "
        f"{LOOKED_AT}; {DELAY_SET} all of ncedc_stead, this fold included; PhaseNet, a teacher, "
        "may have learnt from some of its records",
        licence="MIT",
    ),
    Dataset(
        name="diting_sichuan",
        use=f"test only: every fifth record; {LOOKED_AT}",
        licence="CC BY-NC 4.0 (SWaG repository)",
    ),
)


def picker_card(thresholds: dict[str, float], scores: dict[str, Any]) -> Card:
    """The card, but for the hash and size that `write_card` fills in."""
    return Card(
        name="picker",
        version="1",
        sha256="",
        size_bytes=0,
        description="U-Net over 30 s of three components; independent sigmoids of P, S and "
        "detection at each sample; trained for onsets anywhere in the window",
        licence="MIT",
        inputs=(
            Input(
                name="window",
                shape=(1, WINDOW, 3),
                labels=("Z", "N", "E"),
                units="any; horizontals need not be turned north",
                rate_hz=float(RATE),
                band_hz=BAND_HZ,
                normalisation=NORMALISATION,
            ),
        ),
        outputs=(
            Output(name="probabilities", shape=(1, WINDOW, 3), labels=(*PHASES, "detection")),
        ),
        training_data=TRAINING_DATA,
        held_out=HELD_OUT,
        thresholds=thresholds,
        scores=scores,
        limits=(
            "S without horizontals is a guess",
            "learnt from California within about 60 km, where S trails P by less than 10 s, and "
            "from simulation beyond",
        ),
    )


def complete_card(artefact: Path, labels: Labels) -> None:
    """Put thresholds, chosen on the validation part, and scores on test sets into the card."""
    picker = Picker(artefact)
    parent = Picker(artefact.with_name(f"{artefact.stem}_float.tflite"))
    thresholds = choose_thresholds(picker, labels)
    data = labels.data
    scores = {
        name: measure(variant, thresholds, data)
        for name, variant in (("int8", picker), ("float", parent))
    }
    for file, variant in ((artefact, picker), (parent.path, parent)):
        write_card(
            file, msgspec.structs.replace(variant.card, thresholds=thresholds, scores=scores)
        )
    record("picker", artefact, data)


def measure(picker: Picker, thresholds: dict[str, float], data: Path) -> dict[str, Any]:
    """Test set -> figures at the thresholds."""
    quiet = vote_all(picker.probabilities, read_continuous(data / "ridgecrest_quiet"))
    ncedc_stead = [
        labelled
        for labelled in read_seisbench(data / "labelled" / "ncedc_stead")
        if is_test_fold(labelled.station_id)
    ]
    foreshocks = read_continuous(data / "ridgecrest_foreshocks")
    sichuan = islice(read_seisbench(data / "labelled" / "diting_sichuan"), None, None, 5)
    return {
        "ridgecrest_foreshocks": compare(vote_all(picker.probabilities, foreshocks), thresholds),
        "ridgecrest_quiet, second half": compare(
            [replace(voted, span=(QUIET / RATE, np.inf)) for voted in quiet], thresholds
        ),
        "ncedc_stead, test fold": {
            **compare(vote_all(picker.probabilities, ncedc_stead), thresholds),
            "by_p_position_s": sweep(picker.probabilities, ncedc_stead, thresholds),
        },
        "diting_sichuan": compare(vote_all(picker.probabilities, sichuan), thresholds),
    }


def choose_thresholds(picker: Picker, labels: Labels) -> dict[str, float]:
    """Thresholds that suit the validation part of ridgecrest_aftershocks.

    P: the one that agrees best (F1) with its labels. S, of which an association needs fewer and
    is spoilt by too many: the lowest at which the picker makes no more picks than RED-PAN at the
    0.3 of its authors.
    """
    voted = []
    for stretch in validation_set(labels):
        onsets: dict[str, list[float]] = {
            phase: [at / RATE for at, _ in find_peaks(stretch.targets[:, k], TEACHER_THRESHOLD)]
            for k, phase in enumerate(PHASES)
        }
        curves = vote(picker.probabilities, stretch.samples)
        voted.append(Voted(onsets, (0.0, np.inf), curves, delay_s=0.0))
    scores = {at: compare(voted, dict.fromkeys(PHASES, at)) for at in CANDIDATES}
    enough = teacher_picks(labels, PHASES.index("S"), TEACHER_THRESHOLD)
    return {
        "P": max(CANDIDATES, key=lambda at: scores[at]["P"]["f1"]),
        "S": next(at for at in CANDIDATES if scores[at]["S"]["picks"] <= enough),
    }
