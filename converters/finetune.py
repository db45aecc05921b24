"""Customise the picker on a network's own labelled records (as KFpicker: Hong et al. 2023, doi
10.3389/feart.2023.1306488).

Onsets may stand at one and the same place in the records of a network; here they come anywhere in
the window. What the labels leave open (detection, and what lies far from labelled arrivals) stays
as the parent says.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from converters.augment import Floats, Generator, Stretch, render
from converters.datasets import DatasetError, Record, read_records
from converters.picker_card import CANDIDATES, picker_card
from converters.picker_labels import APART, PHASES, SIGMA, TEACHER_LOWEST, gaussians, stretch
from converters.quantise import to_int8, write_artefact
from converters.score_picker import Voted, compare, span_of, vote_all
from converters.train_picker import PARENT, build, cross_entropy, keep, representative, write_models
from converters.training import TrainingError, apart, fit
from models.card import MODELS, Card, Dataset, read_card, write_card
from models.conditioning import RATE
from models.peaks import find_peaks
from models.picker import NORMALISATION, NORMALISATIONS, PICKER, WINDOW, Picker

LEARNING_RATES = {"last": 1e-3, "all": 3e-4, "new": 3e-3}  # new: a network that knows nothing
PATIENCE = 8  # epochs
LITTLE = 10_000  # onsets, below which the statistics of normalisation layers stay the parent's
MOST = 20_000  # stretches learnt from; 100 kB each
VOTE_STRIDE = 1000  # samples between the windows of the parent's vote
LEAD_S = 28.0  # of what may be put before a record, so that its onsets come late in a window
TAIL_S = 32.0  # of a record after its last labelled arrival
BLOCK_S, BETWEEN_S = 300.0, 30.0  # a continuous recording is cut into these, and they are apart
ENOUGH = {"event": 20, "station": 10}  # of them to make folds of
SMOKE_DATASET = "simulator:24"

Fold = Literal["train", "validation", "test"]
CAVEATS = {
    "time": "recordings cut in blocks of 5 min, the same at all stations",
    "event": "no event is in two parts; stations are",
    "station": "no station is in two parts; events may be",
    "record": "by a hash of the record's name: parts may share events and stations, so that "
    "scores tell of this network and not of another",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("customising a picker on a network's own records")
    group.add_argument(
        "--finetune", metavar="DATASET", help="labelled records: any layout that evaluate reads"
    )
    group.add_argument(
        "--layers", choices=("last", "all"), default="all", help="what is learnt anew"
    )
    group.add_argument(
        "--from",
        dest="parent",
        type=Path,
        metavar="FILE.keras",
        help="network to begin with (default: the built-in picker's)",
    )
    group.add_argument(
        "--licence", default="not stated", help="of the records; goes into the card, and binds"
    )


def run(args: argparse.Namespace) -> int:
    """Learn, quantise, set thresholds, measure; leaves artefact, float parent, card, network."""
    refuse_default(args.out)
    if args.smoke:
        args.epochs, args.steps, args.batch = 2, 2, 8
        args.finetune = SMOKE_DATASET
    parent = load_parent(args.parent, untrained=args.smoke)
    by = grouping(read_records(args.finetune))
    records = pieces(read_records(args.finetune))
    rng = np.random.default_rng(args.seed)
    parts: dict[Fold, list[Stretch]] = {"train": [], "validation": [], "test": []}
    for record in records:
        part = fold(record, by)
        if part != "test" and len(parts[part]) < MOST:
            parts[part] += labelled_stretch(record, parent, rng)
    if not (parts["train"] and parts["validation"]):
        raise DatasetError(f"{args.finetune}: too few labelled records of 30 s to learn from")
    before = artefact_of_parent(args, parent, parts["train"])
    what = f"{args.finetune}, {args.layers} layers, from {args.parent or PARENT.name}"
    model = retrain(parent, parts["train"], parts["validation"], args, args.layers, what)
    write_models(model, parts["train"], args, args.out, card(args, parts, by))
    keep(model, args.work / f"{args.out.stem}.keras")
    apart(complete_card, args.out, before, args.finetune, by)
    return 0


def refuse_default(out: Path) -> None:
    """Raises TrainingError where the artefact would be written over what everybody uses."""
    if out.resolve().parent == MODELS:
        raise TrainingError(f"--out: {out}: the default models are kept from this; name another")


def load_parent(path: Path | None, untrained: bool = False) -> Any:
    """A picker's network as Keras keeps it; raises TrainingError where the file holds none."""
    import keras

    if path is None and untrained:
        return build()
    file = parent_file(path)
    try:
        model = keras.saving.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{file}: no Keras network: {str(error).splitlines()[0]}") from None
    if model.input_shape != (None, WINDOW, 3) or model.output_shape != (None, WINDOW, 3):
        raise TrainingError(f"{file}: not a picker: {model.input_shape} in")
    return model


def parent_file(path: Path | None) -> Path:
    """The network to begin with, by default the built-in picker's; raises TrainingError."""
    file = path or PARENT
    if not file.is_file():
        raise TrainingError(f"{file}: no such network to begin with")
    return file


def grouping(records: Iterable[Record]) -> str:
    """What the parts of a data set are made by: time, event, station or record."""
    names: dict[str, set[str]] = {"event": set(), "station": set()}
    count = known = 0
    for record in records:
        if record.continuous:
            return "time"
        count += 1
        known += bool(record.event_id)
        names["event"].add(record.event_id)
        names["station"].add(record.station_id)
    if known < count:
        names["event"].clear()
    return next((by for by, enough in ENOUGH.items() if len(names[by]) >= enough), "record")


def pieces(records: Iterable[Record]) -> Iterator[Record]:
    """The records, continuous ones in blocks that begin at whole multiples of BLOCK_S."""
    for record in records:
        if not record.continuous:
            yield record
            continue
        start_s, rate = record.start_ns / 1e9, float(record.rate)
        first = int(start_s // BLOCK_S)
        last = int((start_s + len(record.samples) / rate) // BLOCK_S)
        for block in range(first, last + 1):
            begin_s = max(block * BLOCK_S - start_s, 0.0)
            end_s = (block + 1) * BLOCK_S - BETWEEN_S - start_s
            begin, end = round(begin_s * rate), round(end_s * rate)
            samples = record.samples[begin : max(begin, end)]
            if len(samples) >= WINDOW / RATE * rate:
                yield replace(
                    record,
                    name=f"{record.name}.{block}",
                    start_ns=record.start_ns + round(begin / rate * 1e9),
                    samples=samples,
                    arrivals=tuple(
                        replace(a, seconds=a.seconds - begin / rate)
                        for a in record.arrivals
                        if begin <= a.seconds * rate < end
                    ),
                )


def fold(record: Record, by: str) -> Fold:
    """The part that a record falls into: a fifth tests, a tenth to a fifth validates."""
    if by == "time":
        block = int(record.start_ns / 1e9 // BLOCK_S)
        order: tuple[Fold, ...] = ("train", "validation", "train", "test", "train")
        return order[block % len(order)]
    name = {"event": record.event_id, "station": record.station_id, "record": record.name}[by]
    digest = hashlib.sha256(name.encode()).digest()
    return "test" if digest[0] % 5 == 0 else "validation" if digest[1] % 8 == 0 else "train"


def labelled_stretch(record: Record, parent: Any, rng: Generator) -> list[Stretch]:
    """A record to learn from, with something before it in most cases; none where it is short or
    nobody labelled it."""
    samples = record.conditioned()
    if len(samples) < WINDOW or not (record.arrivals or record.continuous):
        return []
    onsets = [(a.phase, (a.seconds + record.delay_s) * RATE) for a in record.arrivals]
    first, last = (round((s + record.delay_s) * RATE) for s in _bounds(record))
    targets = as_parent_says(parent, samples)
    for k, phase in enumerate(PHASES):
        known = [(at, 1.0) for name, at in onsets if name == phase]
        own = find_peaks(targets[:, k], TEACHER_LOWEST)
        known += [
            (at, height)
            for at, height in own
            if not first <= at < last and all(abs(at - other) > APART for other, _ in known)
        ]
        targets[:, k] = gaussians(len(samples), known, SIGMA[k])
    if not record.continuous:
        end = max(WINDOW, round(max(at for _, at in onsets) + TAIL_S * RATE))
        samples, targets = prolong(samples[:end], targets[:end], min(at for _, at in onsets), rng)
    return [stretch(samples, targets, 1.0)]


def _bounds(record: Record) -> tuple[float, float]:
    """Seconds between which the labels tell everything."""
    low, high = span_of(record)
    return max(low, 0.0), min(high, len(record.samples) / float(record.rate))


def as_parent_says(parent: Any, samples: Floats) -> Floats:
    """The parent's probabilities over a whole recording, shape (n, 3)."""
    starts = [*range(0, len(samples) - WINDOW, VOTE_STRIDE), len(samples) - WINDOW]
    normalise = NORMALISATIONS[NORMALISATION]
    windows = np.stack([normalise(samples[start : start + WINDOW]) for start in starts])
    said = np.asarray(parent.predict(windows, verbose=0))
    total, count = np.zeros(samples.shape, np.float32), np.zeros((len(samples), 1), np.float32)
    for start, curves in zip(starts, said, strict=True):
        total[start : start + WINDOW] += curves
        count[start : start + WINDOW] += 1
    merged: Floats = total / count
    return merged


def prolong(
    samples: Floats, targets: Floats, first_onset: float, rng: Generator
) -> tuple[Floats, Floats]:
    """Put something before a record, so that its onsets can stand late in a window.

    A third stays as it is, as when a station has just come up; a third gets silence, as after a
    gap; a third gets noise of the same spectrum as what precedes its first onset.
    """
    kind, length = int(rng.integers(3)), int(rng.uniform(0, LEAD_S) * RATE)
    if kind == 0 or not length:
        return samples, targets
    lead = np.zeros((length, 3), np.float32)
    # The filter's first second is not yet the noise.
    noise = samples[RATE // 2 : max(0, int(first_onset) - RATE // 10)]
    if kind == 1 and len(noise) >= RATE // 2:
        lead = _alike(noise, length, rng)
    silent = np.zeros((length, 3), np.float32)
    return np.concatenate([lead, samples]), np.concatenate([silent, targets])


def _alike(noise: Floats, length: int, rng: Generator) -> Floats:
    """More of a noise (n, c): of the same spectrum and level, its phases drawn anew."""
    shape = np.abs(np.fft.rfft(noise - noise.mean(axis=0), axis=0))
    frequencies = np.linspace(0, 1, length // 2 + 1)
    level = np.stack(
        [np.interp(frequencies, np.linspace(0, 1, len(shape)), part) for part in shape.T], axis=1
    )
    phases = np.exp(2j * np.pi * rng.random(level.shape))
    more = np.fft.irfft(level * phases, length, axis=0)
    more *= noise.std(axis=0) / (more.std(axis=0) + 1e-30)
    alike: Floats = more.astype(np.float32)
    return alike


def retrain(
    model: Any,
    training: list[Stretch],
    validation: list[Stretch],
    args: argparse.Namespace,
    layers: str,
    what: str,
) -> Any:
    """The network, trained on until the validation part gains no more; progress and checkpoints
    as `training.fit` keeps them in `args.work`. what: tells this run from others."""
    import keras

    keras.utils.set_random_seed(args.seed)
    onsets = sum(len(s.picks) for s in training)
    choose_layers(model, layers, freeze_statistics=layers != "new" and onsets < LITTLE)
    rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATES[layers], args.epochs * args.steps, alpha=0.02
    )
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-5), loss=cross_entropy)
    held_out = render(np.random.default_rng(args.seed), validation, 8 * args.batch)
    fit(
        model,
        lambda rng: render(rng, training, args.batch),
        args.work,
        steps=args.steps,
        epochs=args.epochs,
        seed=args.seed,
        validation=held_out,
        patience=PATIENCE,
        run=what,
        quantity="cross-entropy",
    )
    return model


def choose_layers(model: Any, layers: str, freeze_statistics: bool) -> None:
    """Let only the last layer with weights learn, or all of them; a normalisation layer that
    does not learn keeps using its parent's statistics."""
    import keras

    weighted = [layer for layer in model.layers if layer.weights]
    for layer in weighted:
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        learns = layers != "last" or layer is weighted[-1]
        layer.trainable = learns and not (normalises and freeze_statistics)


def artefact_of_parent(args: argparse.Namespace, parent: Any, training: list[Stretch]) -> Path:
    """What the customised picker is compared with: the shipped one, or the parent's int8."""
    if args.parent is None and not args.smoke:
        return PICKER
    args.work.mkdir(parents=True, exist_ok=True)
    artefact: Path = args.work / "parent.tflite"
    write_artefact(artefact, to_int8(parent, representative(training, args)))
    write_card(artefact, picker_card(dict.fromkeys(PHASES, 0.3), {}))
    return artefact


def card(args: argparse.Namespace, parts: dict[Fold, list[Stretch]], by: str) -> Card:
    """The card, but for thresholds and scores."""
    name, onsets = Path(args.finetune).name, sum(len(s.picks) for s in parts["train"])
    learnt = Dataset(
        name=name,
        use=f"customised on: {len(parts['train'])} records with {onsets} onsets; {args.layers} "
        f"layers; {len(parts['validation'])} more for early stopping and thresholds",
        licence=args.licence,
    )
    begun = beginnings(args.parent)
    known = name in {dataset.name for dataset in begun}
    kept = Dataset(
        name=f"{name}, test part",
        use=f"never customised on; {CAVEATS[by]}"
        + ("; the network that training began with had learnt from part of it" if known else ""),
        licence=args.licence,
    )
    return msgspec.structs.replace(
        picker_card(dict.fromkeys(PHASES, 0.3), {}),
        name=args.out.stem,
        description=f"the picker customised on {name}; a regional variant, not the default",
        licence=args.licence,
        training_data=(*begun, learnt),
        held_out=(kept,),
        limits=(f"made for the network of {name}",),
    )


def beginnings(parent: Path | None) -> tuple[Dataset, ...]:
    """What the weights that a training began with had been made of."""
    if parent is None:
        return read_card(PICKER).training_data
    return (
        Dataset(name=parent.name, use="the network that training began with", licence="its own"),
    )


def complete_card(artefact: Path, before: Path, dataset: str, by: str) -> None:
    """Thresholds from the validation part, and the test part's scores before and after."""
    parts: dict[Fold, list[Record]] = {"train": [], "validation": [], "test": []}
    for record in pieces(read_records(dataset)):
        part = fold(record, by)
        if part != "train":
            parts[part].append(record)
    name = f"{Path(dataset).name}, test part"
    after, beside = Picker(artefact), Picker(artefact.with_name(f"{artefact.stem}_float.tflite"))
    parent = Picker(before)
    thresholds, parents = (
        best_thresholds(vote_all(picker.probabilities, parts["validation"]))
        for picker in (after, parent)
    )
    scores = {
        kind: {name: compare(vote_all(picker.probabilities, parts["test"]), at)}
        for kind, picker, at in (
            ("int8", after, thresholds),
            ("float", beside, thresholds),
            ("before", parent, parent.thresholds),
            ("before, with thresholds for this network", parent, parents),
        )
    }
    for picker in (after, beside):
        completed = msgspec.structs.replace(picker.card, thresholds=thresholds, scores=scores)
        write_card(picker.path, completed)


def best_thresholds(voted: list[Voted]) -> dict[str, float]:
    """Those of the highest F1 of each phase."""
    scores = [compare(voted, dict.fromkeys(PHASES, candidate)) for candidate in CANDIDATES]
    return {
        phase: CANDIDATES[int(np.argmax([score[phase]["f1"] for score in scores]))]
        for phase in PHASES
    }
