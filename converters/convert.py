"""`diting convert`: somebody else's network -> int8 TFLite with a card, and how well it agrees."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.convert_parity import describe_parity, is_close, parity
from converters.datasets import DatasetError, Record, is_test_fold, read_records
from converters.foreign.contract import Contract, Foreign, ForeignError, read_contract
from converters.foreign.keras_file import read_keras
from converters.foreign.phasenet import read_checkpoint, read_seisbench
from converters.foreign.tflite_file import describe, read_tflite
from converters.foreign.torch_file import is_torch_zip
from converters.quantise import QuantiseError, to_float32, to_int8, to_int8_weights
from converters.training import apart, write_float
from models import fmp
from models.card import Card, CardError, read_card, write_card
from models.conditioning import RATE
from models.interpreter import Model, ModelError
from models.picker import Into

Floats = NDArray[np.float32]
SCORED, CALIBRATION = "simulator:60:2", "simulator:60:1"  # where no data are given
EXAMPLES = 400  # inputs that show the quantiser the range of every activation
WITHIN = 99.9  # per cent of the samples in them within which int8 does not saturate
CHECKED = 8  # of them on which TFLite is compared with Keras
CLOSE = 1e-3  # that float TFLite must come to Keras
INT8, INT8_WEIGHTS = "int8", "int8 weights, float32 arithmetic"


class Stretch(NamedTuple):
    """A conditioned record (n, 3), and the indices of its P and S."""

    samples: Floats
    p: list[int]
    s: list[int]


class Converted(NamedTuple):
    """What comes back from the process that had TensorFlow loaded."""

    card: Card  # of the int8 artefact
    int8: bytes
    int8_weights: bytes
    float32: bytes
    checked: list[tuple[Floats, list[Floats]]]  # inputs, and the outputs of Keras


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """\
SOURCE is known by what it holds:
  a folder with a TensorFlow 1 checkpoint, or its .index   PhaseNet of AI4EPS
  .pt, .pth of torch.save, its .json beside it if any      PhaseNet of SeisBench (state dict)
  .keras, .h5, .hdf5                                       any Keras model; DiTingMotion as it is
  .tflite                                                  stays as it is and gets a card;
                                                           RED-PAN as it is
Any other network needs --contract, a YAML or JSON file; these are its fields and defaults:
  kind: picker                      # or fmp
  components: [Z, N, E]             # in the network's order
  rate_hz: 100
  band_hz: [1, 45]                  # narrower than that of the box: filtered again, causally
  samples: null                     # of the window, where the network takes any number
  normalisation: standard per component   # standard|peak per component|window, none;
                                          # fmp: linear and logarithmic, standard and sign
  outputs:                          # one entry per tensor
    - labels: [P, S, noise]         # or detection; fmp: up, down, undecided; impulsive, emergent
      activation: none              # still to be applied: sigmoid, softmax
      start: 0                      # sample of the input where the output begins
      step: 1                       # samples of the input from one value to the next
  thresholds: {P: 0.3, S: 0.3}      # fmp: {decided: 0.0}
  description, licence, training_data: [{name, use, licence}], limits: [..]
The axes of a tensor are found by its shape: [1, 3000, 3], [1, 3, 3000], [1, 3000, 1, 3].

Leaves OUT, its card OUT.json and the report OUT_parity.json. A box takes OUT by its card:
`picking: {picker: OUT}` (or first_motion), and so does `diting replay --picker OUT`."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="what others trained")
    parser.add_argument("--out", type=Path, required=True, metavar="NAME.tflite")
    parser.add_argument("--contract", type=Path, metavar="FILE", help="what goes in and comes out")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="DATASET",
        help="labelled sets on which float and int8 are compared (default: simulated records)",
    )
    parser.add_argument(
        "--calibrate",
        nargs="+",
        default=[],
        metavar="DATASET",
        help="records that set the ranges of int8 (default: a fifth of the stations of --data, "
        "which is then not compared on)",
    )
    parser.add_argument(
        "--float", action="store_true", help="keep the float32 model too, as NAME_float.tflite"
    )
    parser.add_argument(
        "--arithmetic",
        choices=("best", "int8"),
        default="best",
        help="best: where int8 throughout costs more than 0.01 of F1, or changes more than 1.5%% "
        "of first motions, weights alone are int8 (default); int8: whatever it costs",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the report, nothing else")


def run(args: argparse.Namespace) -> int:
    try:
        if args.out.suffix != ".tflite":
            raise ForeignError(f"--out: {args.out}: does not end in .tflite")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        foreign = identify(args.source, args.contract)
        report = _card_only(args, foreign) if foreign.build is None else _convert(args, foreign)
    except (ForeignError, DatasetError, ModelError, CardError, QuantiseError) as error:
        print(f"diting: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report) if args.json else describe_parity(report))
    return 0


def identify(source: Path, contract_file: Path | None = None) -> Foreign:
    """What a file or folder holds. Raises ForeignError, CardError."""
    contract = read_contract(contract_file) if contract_file else None
    if source.is_dir() or source.suffix in (".index", ".meta"):
        foreign = read_checkpoint(source)
    elif not source.exists():
        raise ForeignError(f"{source}: No such file or directory")
    elif source.read_bytes()[4:8] == b"TFL3":
        return read_tflite(source, contract)
    elif is_torch_zip(source) or {".pt", ".pth"} & set(source.suffixes):
        foreign = read_seisbench(source)
    else:
        return read_keras(source, contract)
    return foreign._replace(contract=contract or foreign.contract)


def _card_only(args: argparse.Namespace, foreign: Foreign) -> dict[str, Any]:
    try:  # in a process of its own: an interpreter crashes on a truncated artefact
        card = apart(describe, args.source, foreign.contract, args.out.stem)
    except BrokenProcessPool:
        raise ForeignError(f"{args.source}: damaged: the interpreter crashes on it") from None
    if args.source.resolve() != args.out.resolve():
        shutil.copyfile(args.source, args.out)
    write_card(args.out, card)
    return {
        "artefact": str(args.out),
        "bytes": args.out.stat().st_size,
        "sets": {},
        "not_close_enough": {},
    }


def _convert(args: argparse.Namespace, foreign: Foreign) -> dict[str, Any]:
    assert foreign.build is not None
    scored, calibration = _material(args.data, args.calibrate)
    stretches = [_stretch(record) for record in calibration]
    converted = apart(quietly, foreign, args.out.stem, stretches, args.seed)
    variants = {INT8: converted.int8, INT8_WEIGHTS: converted.int8_weights}
    if args.arithmetic != "best":
        variants = {INT8: converted.int8}
    tried: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory(prefix="diting-") as folder:
        keep = args.out.parent if args.float else Path(folder)
        parent = keep / f"{args.out.stem}_float.tflite"
        write_float(parent, converted.float32, converted.card)
        largest = _check(parent, converted.checked)
        for arithmetic in variants:
            _write(args.out, arithmetic, variants[arithmetic], converted.card)
            try:
                tried[arithmetic] = parity(foreign.contract.kind, parent, args.out, scored)
            except ModelError:  # an operation that knows int8 weights with int8 only
                if arithmetic == INT8:
                    raise
                continue
            if is_close(tried[arithmetic]):
                break
    arithmetic = [*tried][-1]
    _write(args.out, arithmetic, variants[arithmetic], converted.card)
    sets = tried.pop(arithmetic)
    report = {
        "artefact": str(args.out),
        "arithmetic": arithmetic,
        "bytes": len(variants[arithmetic]),
        "float_bytes": len(converted.float32),
        "calibrated_on": args.calibrate or args.data or [CALIBRATION],
        "simulated": not args.data,
        "float_tflite_from_keras": largest,
        "sets": sets,
        "not_close_enough": tried,
    }
    write_card(args.out, msgspec.structs.replace(read_card(args.out), scores=sets))
    args.out.with_name(f"{args.out.stem}_parity.json").write_text(json.dumps(report, indent=2))
    return report


def _write(out: Path, arithmetic: str, content: bytes, card: Card) -> None:
    if arithmetic == INT8:
        out.write_bytes(content)
        write_card(out, card)
    else:
        write_float(out, content, card)


def _material(
    data: list[str], calibrate: list[str]
) -> tuple[dict[str, list[Record]], list[Record]]:
    """Records to compare on, by set, and others to calibrate on. Raises DatasetError."""
    if not data:
        return {SCORED: [*read_records(SCORED)]}, _read(calibrate or [CALIBRATION])
    sets = {name: [*read_records(name)] for name in data}
    if calibrate:
        return sets, _read(calibrate)
    calibration = [r for records in sets.values() for r in records if is_test_fold(r.station_id)]
    if not calibration:  # too few stations to spare any
        return sets, _read([CALIBRATION])
    rest = {n: [r for r in rs if not is_test_fold(r.station_id)] for n, rs in sets.items()}
    return rest, calibration


def _read(names: Iterable[str]) -> list[Record]:
    return [record for name in names for record in read_records(name)]


def _stretch(record: Record) -> Stretch:
    onsets = [
        [round((a.seconds + record.delay_s) * RATE) for a in record.arrivals if a.phase == phase]
        for phase in "PS"
    ]
    return Stretch(record.conditioned(), *onsets)


def quietly(*arguments: Any) -> Converted:
    """`convert`, in a process that will say nothing: TensorFlow's compiler cannot be told to."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    return convert(*arguments)


def convert(foreign: Foreign, name: str, stretches: list[Stretch], seed: int) -> Converted:
    """Build, quantise and describe a network; loads TensorFlow.

    Raises ForeignError, ModelError where network and contract are at odds, QuantiseError.
    """
    assert foreign.build is not None
    model = _of_one(foreign.build(), foreign.contract)
    inputs, outputs = (
        [tuple(int(n) for n in tensor.shape) for tensor in tensors]
        for tensors in (model.inputs, model.outputs)
    )
    card = foreign.contract.card(name, inputs, outputs)
    rng = np.random.default_rng(seed)
    make = _first_motions if foreign.contract.kind == "fmp" else _windows
    examples = [*make(card, stretches, rng)]
    if not examples:
        raise ForeignError(f"--calibrate: no record there is fit for {foreign.contract.kind}")
    checked = [(x, [np.asarray(y) for y in _listed(model(x))]) for x in examples[:CHECKED]]
    # Ranges come from the extremes: a few spikes would take the resolution from all the rest.
    limit = np.percentile(np.abs(np.concatenate(examples)), WITHIN)
    int8 = to_int8(model, ([np.clip(example, -limit, limit)] for example in examples))
    return Converted(card, int8, to_int8_weights(model), to_float32(model), checked)


def _of_one(model: Any, contract: Contract) -> Any:
    """The model for a batch of one, of as many samples as the contract says where it leaves that
    open, and with its outputs as a list."""
    import keras

    if len(model.inputs) != 1:
        raise ForeignError(f"the network has {len(model.inputs)} inputs instead of 1")
    shape = (1, *(n or contract.samples for n in model.inputs[0].shape[1:]))
    if None in shape:
        raise ForeignError("contract: samples: the network takes any number; how many is it to be?")
    window = keras.Input(batch_shape=shape)
    return keras.Model(window, _listed(model(window)))


def _listed(outputs: Any) -> list[Any]:
    import keras

    flat: list[Any] = keras.tree.flatten(outputs)
    return flat


def _windows(card: Card, stretches: list[Stretch], rng: np.random.Generator) -> Iterator[Floats]:
    """Inputs of a picker: half of them anywhere, half with an onset anywhere in them."""
    into = Into(card.inputs)
    long = [s for s in stretches if len(s.samples) >= into.window]
    labelled = [(s, at) for s in long for at in (*s.p, *s.s)]
    for number in range(EXAMPLES if long else 0):
        stretch, first = long[int(rng.integers(len(long)))], None
        if labelled and number % 2:
            stretch, at = labelled[int(rng.integers(len(labelled)))]
            first = at - int(rng.integers(into.window))
        last = len(stretch.samples) - into.window
        first = int(rng.integers(last + 1)) if first is None else min(max(first, 0), last)
        yield into.prepare(stretch.samples[first : first + into.window])


def _first_motions(
    card: Card, stretches: list[Stretch], rng: np.random.Generator
) -> Iterator[Floats]:
    """Inputs of a first-motion model: verticals around P, both ways up, picked a little off."""
    normalise = fmp.NORMALISATIONS[card.inputs[0].normalisation]
    onsets = [(stretch.samples[:, 0], at) for stretch in stretches for at in stretch.p]
    for number in rng.permutation(len(onsets))[: EXAMPLES // 2]:
        vertical, at = onsets[number]
        first = at - fmp.BEFORE + int(rng.integers(-5, 6))
        window = vertical[max(first, 0) : first + fmp.WINDOW]
        if len(window) == fmp.WINDOW and (seen := normalise(window)) is not None:
            yield from (seen[None], -seen[None])


def _check(parent: Path, checked: list[tuple[Floats, list[Floats]]]) -> float:
    """Largest difference between float TFLite and Keras. Raises QuantiseError where it is large."""
    model = Model(parent)
    largest = max(
        float(np.abs(mine - theirs).max())
        for x, outputs in checked
        for mine, theirs in zip(model.run(x), outputs, strict=True)
    )
    if not largest <= CLOSE:
        raise QuantiseError(f"{parent.name}: TFLite is off by {largest:.3g} from Keras")
    return largest
