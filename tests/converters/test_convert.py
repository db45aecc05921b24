"""Converting what others trained: the files they wrote, and the whole way to an artefact."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import sys
import types
import zipfile
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from box.cli import OK, USAGE, main
from converters.foreign.contract import ForeignError
from converters.foreign.torch_file import is_torch_zip, read_state_dict
from models.card import read_card
from models.picker import PICKER, Picker, normalise

Floats = NDArray[np.float32]
State = dict[str, Floats]
ROOT, DEPTH, TAPS = 2, 5, 7  # filters of the first level; of PhaseNet
EPSILON = 1e-3


def needs_tensorflow() -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed (extra 'train')")


def save_like_torch(path: Path, state: State, extra: Any = None) -> None:
    """What `torch.save(state_dict, path)` writes, by hand: PyTorch is no dependency."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for module, name in ((torch, "FloatStorage"), (utils, "_rebuild_tensor_v2")):
        stand_in = type(name, (), {"__module__": module.__name__, "__qualname__": name})
        setattr(module, name, stand_in)

    class Tensor:
        def __init__(self, key: str, values: Floats) -> None:
            self.key, self.values = key, values

        def __reduce__(self) -> Any:
            strides = tuple(n // self.values.itemsize for n in self.values.strides)
            storage = Storage(self.key, self.values.size)
            arguments = (storage, 0, self.values.shape, strides, False, OrderedDict())
            return utils._rebuild_tensor_v2, arguments

    class Storage:
        def __init__(self, key: str, count: int) -> None:
            self.reference = ("storage", torch.FloatStorage, key, "cpu", count)

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: object) -> Any:
            return thing.reference if isinstance(thing, Storage) else None

    pickled = io.BytesIO()
    saved = sys.modules.get("torch"), sys.modules.get("torch._utils")
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        tensors = OrderedDict((n, Tensor(str(k), v)) for k, (n, v) in enumerate(state.items()))
        if extra is not None:
            tensors["extra"] = extra
        Pickler(pickled, protocol=2).dump(tensors)
    finally:
        for name, module in zip(("torch", "torch._utils"), saved, strict=True):
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/byteorder", "little")
        for k, values in enumerate(state.values()):
            archive.writestr(f"archive/data/{k}", np.ravel(values, order="A").tobytes())
        archive.writestr("archive/version", "3\n")


def phasenet_state(seed: int) -> State:
    """Random weights of seisbench.models.PhaseNet, with fewer filters."""
    rng = np.random.default_rng(seed)
    state: State = {}

    def tensor(name: str, *shape: int) -> None:
        fan = max(1, int(np.prod(shape[1:])))
        state[name] = (rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32)

    def norm(name: str, channels: int) -> None:
        for part, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.2, 0.2),
            ("running_mean", -0.2, 0.2),
            ("running_var", 0.5, 1.5),
        ):
            state[f"{name}.{part}"] = rng.uniform(low, high, channels).astype(np.float32)

    tensor("inc.weight", ROOT, 3, TAPS)
    tensor("inc.bias", ROOT)
    norm("in_bn", ROOT)
    filters = [ROOT * 2**d for d in range(DEPTH)]
    for d, n in enumerate(filters):
        tensor(f"down_branch.{d}.0.weight", n, filters[max(d - 1, 0)], TAPS)
        norm(f"down_branch.{d}.1", n)
        if d < DEPTH - 1:
            tensor(f"down_branch.{d}.2.weight", n, n, TAPS)
            norm(f"down_branch.{d}.3", n)
            k = DEPTH - 2 - d
            tensor(f"up_branch.{k}.0.weight", filters[d + 1], n, TAPS)
            norm(f"up_branch.{k}.1", n)
            tensor(f"up_branch.{k}.2.weight", n, 2 * n, TAPS)
            norm(f"up_branch.{k}.3", n)
    tensor("out.weight", 3, ROOT, 1)
    tensor("out.bias", 3)
    return state


def phasenet(state: State, x: Floats) -> Floats:
    """SeisBench's forward pass, in numpy: (components, 3001) -> (classes, 3001)."""

    def convolve(x: Floats, name: str, stride: int, left: int, right: int) -> Floats:
        kernel = state[f"{name}.weight"]
        padded = np.pad(x, ((0, 0), (left, right)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2], axis=1)
        y: Floats = np.einsum("oik,ijk->oj", kernel, seen[:, ::stride])
        return y + state[f"{name}.bias"][:, None] if f"{name}.bias" in state else y

    def transposed(x: Floats, name: str) -> Floats:
        kernel = state[f"{name}.weight"]
        y = np.zeros((kernel.shape[1], 4 * (x.shape[1] - 1) + TAPS))
        for tap in range(TAPS):
            y[:, tap : tap + 4 * x.shape[1] - 3 : 4] += kernel[:, :, tap].T @ x
        return y

    def relu_norm(x: Floats, name: str) -> Floats:
        part = {p: state[f"{name}.{p}"][:, None] for p in ("weight", "bias")}
        mean, variance = (state[f"{name}.running_{p}"][:, None] for p in ("mean", "var"))
        return np.maximum(
            (x - mean) / np.sqrt(variance + EPSILON) * part["weight"] + part["bias"], 0
        )

    x = relu_norm(convolve(x, "inc", 1, 3, 3), "in_bn")
    skips = []
    for d, (left, right) in enumerate(((3, 3), (2, 3), (1, 3), (2, 3), (0, 0))):
        x = relu_norm(convolve(x, f"down_branch.{d}.0", 1, 3, 3), f"down_branch.{d}.1")
        if d < DEPTH - 1:
            skips.append(x)
            x = relu_norm(convolve(x, f"down_branch.{d}.2", 4, left, right), f"down_branch.{d}.3")
    for k, skip in enumerate(reversed(skips)):
        x = relu_norm(transposed(x, f"up_branch.{k}.0"), f"up_branch.{k}.1")[:, 1:-2]
        offset = (x.shape[1] - skip.shape[1]) // 2
        x = np.concatenate((skip, x[:, offset : offset + skip.shape[1]]))
        x = relu_norm(convolve(x, f"up_branch.{k}.2", 1, 3, 3), f"up_branch.{k}.3")
    logits = convolve(x, "out", 1, 0, 0)
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def test_seisbench_phasenet_becomes_a_picker_that_computes_the_same(tmp_path: Path) -> None:
    needs_tensorflow()
    state = phasenet_state(4)
    save_like_torch(tmp_path / "mine.pt.v2", state)
    arguments = {"phases": "PSN", "component_order": "ENZ", "sampling_rate": 100, "norm": "std"}
    (tmp_path / "mine.json.v2").write_text(json.dumps({"model_args": arguments}))
    out = tmp_path / "phasenet.tflite"
    words = ["convert", str(tmp_path / "mine.pt.v2"), "--out", str(out), "--float"]
    words += ["--data", "simulator:4:2", "--calibrate", "simulator:4:1"]
    assert main(words) == OK
    card = read_card(out)
    assert card.inputs[0].labels == ("E", "N", "Z")
    assert card.outputs[0].labels == ("P", "S", "noise")
    rng = np.random.default_rng(0)
    window = rng.standard_normal((3000, 3)).astype(np.float32)
    window[1500:1800] *= 8
    seen = np.pad(normalise(window)[:, ::-1], ((1, 0), (0, 0))).T
    expected = phasenet(state, seen)[:, 1:].T
    float_ = Picker(tmp_path / "phasenet_float.tflite").probabilities(window)
    np.testing.assert_allclose(float_[:, :2], expected[:, :2], atol=1e-4)
    np.testing.assert_allclose(float_[:, 2], 1 - expected[:, 2], atol=1e-4)
    assert expected.std(axis=0).min() > 0.01  # there was something to compute
    int8 = Picker(out).probabilities(window)
    assert np.abs(int8 - float_).mean() < 0.05
    report = json.loads((tmp_path / "phasenet_parity.json").read_text())
    assert report["simulated"] is False
    assert set(report["sets"]["simulator:4:2"]["f1_loss"]) == {"P", "S"}


def test_a_state_dict_is_read_as_it_was_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    state = {
        "whole": rng.standard_normal((2, 3, 4)).astype(np.float32),
        "turned": rng.standard_normal((5, 3)).astype(np.float32).T,  # strides other than C's
    }
    path = tmp_path / "state.pth"
    save_like_torch(path, state)
    assert is_torch_zip(path)
    read = read_state_dict(path)
    assert list(read) == ["whole", "turned"]
    for name, values in state.items():
        np.testing.assert_array_equal(read[name], values)


class Exploit:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/owned",)


@pytest.mark.parametrize("extra", [Exploit(), print])
def test_a_pickle_that_calls_something_is_refused_and_nothing_called(
    tmp_path: Path, extra: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state.pt"
    save_like_torch(path, {"a": np.zeros(3, np.float32)}, extra)
    with pytest.raises(
        ForeignError, match=r"state\.pt: it wants (posix|nt|__builtin__)\.\w+, which"
    ):
        read_state_dict(path)


def test_a_damaged_archive_is_told_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_like_torch(path, {"a": np.ones(300, np.float32)})
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole.replace(b"FloatStorage", b"RiverStorage")):
        path.write_bytes(content)
        with pytest.raises(ForeignError, match=r"state\.pt: "):
            read_state_dict(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02cos\nsystem\n.")
    with pytest.raises(ForeignError, match=r"it wants os\.system"):
        read_state_dict(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    """Otherwise it would show whatever lies in memory behind it."""
    path = tmp_path / "state.pt"
    state = {"a": np.lib.stride_tricks.as_strided(np.zeros(4, np.float32), (4,), (4,))}
    save_like_torch(path, state)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    wrong = parts["archive/data.pkl"].replace(b"K\x04\x85", b"K\x63\x85", 1)
    assert wrong != parts["archive/data.pkl"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (parts | {"archive/data.pkl": wrong}).items():
            archive.writestr(name, content)
    with pytest.raises(ForeignError, match=r"lies outside its storage of 4"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("none.keras", None, r"none\.keras: No such file"),
        ("text.keras", b"hello", r"text\.keras: not DiTingMotion; --contract has to say"),
        ("old.pt", b"\x80\x02\x8a\nl\xfc", r"old\.pt: not what torch\.save writes"),
        ("x.tflite", b"\0\0\0\0TFL3", r"x\.tflite: --contract has to say"),
    ],
)
def test_what_cannot_be_converted_is_told_in_a_line(
    tmp_path: Path,
    name: str,
    content: bytes | None,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    out = str(tmp_path / "out" / "x.tflite")
    assert main(["convert", str(tmp_path / name), "--out", out]) == USAGE
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("diting: ")

    assert re.search(complaint, error)


def test_a_wrong_contract_is_named_with_its_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.keras").write_bytes(b"")
    contract = tmp_path / "contract.yaml"
    for text, field in (
        ("normalisation: loud", r"$.normalisation"),
        ("outputs: [{labels: [P, S], step: one}]", r"$.outputs[0].step"),
        ("speed: 3", "speed"),
    ):
        contract.write_text(text)
        words = ["convert", str(tmp_path / "x.keras"), "--contract", str(contract)]
        assert main([*words, "--out", str(tmp_path / "x.tflite")]) == USAGE
        error = capsys.readouterr().err
        assert error.startswith(f"diting: {contract}: ")
        assert field in error


def test_a_truncated_artefact_is_told_in_a_line_and_takes_nothing_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, contract = tmp_path / "cut.tflite", tmp_path / "contract.yaml"
    source.write_bytes(PICKER.read_bytes()[:5000])
    contract.write_text("kind: picker\n")
    words = ["convert", str(source), "--contract", str(contract)]
    assert main([*words, "--out", str(tmp_path / "x.tflite")]) == USAGE
    assert capsys.readouterr().err.startswith(f"diting: {source}: ")
    assert not (tmp_path / "x.tflite").exists()


def test_red_pan_needs_no_more_than_a_card(tmp_path: Path, data_dir: Path) -> None:
    from converters.teachers import RedPan

    source, out = data_dir / "weights" / "REDPAN_30s_v2.tflite", tmp_path / "redpan.tflite"
    assert main(["convert", str(source), "--out", str(out)]) == OK
    window = np.random.default_rng(0).standard_normal((3000, 3)).astype(np.float32)
    window[1500:] *= 5
    picker = Picker(out)
    np.testing.assert_array_equal(
        picker.probabilities(window), RedPan(source).probabilities(window)
    )
    # The network itself, as its authors call it: E N Z, picks and mask in two tensors.
    from models.interpreter import load_interpreter, read_artefact

    _, network = load_interpreter(read_artefact(source), source)
    network.set_tensor(
        network.get_input_details()[0]["index"], normalise(window)[None, :, ::-1].copy()
    )
    network.invoke()
    picks, mask = (network.get_tensor(d["index"])[0] for d in network.get_output_details())
    np.testing.assert_array_equal(picker.probabilities(window)[:, :2], picks[:, :2])
    np.testing.assert_array_equal(picker.probabilities(window)[:, 2], mask[:, 0])
