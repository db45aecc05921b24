"""Pickers that others trained: whatever goes into them and comes out, a box sees one thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.card import Card, Input, Output
from models.interpreter import ModelError
from models.picker import Picker, normalise

Floats = NDArray[np.float32]
Network = Callable[[Floats], tuple[Floats, ...]]
P_AT, S_AT = 1234, 1800


@pytest.fixture
def adapt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Picker]:
    """A picker whose artefact is a function."""

    def make(inputs: Input, outputs: tuple[Output, ...], network: Network) -> Picker:
        class Artefact:
            engine = "none"
            card = Card(
                name="x",
                version="1",
                sha256="",
                size_bytes=0,
                description="",
                licence="",
                inputs=(inputs,),
                outputs=outputs,
                training_data=(),
                held_out=(),
                thresholds={"P": 0.3, "S": 0.3},
            )

            def __init__(self, *_: object) -> None:
                pass

            def run(self, values: Floats) -> tuple[Floats, ...]:
                assert values.shape == inputs.shape
                given = network(values)
                assert [g.shape for g in given] == [o.shape for o in outputs]
                return given

        monkeypatch.setattr("models.picker.Model", Artefact)
        return Picker(Path("x.tflite"))

    return make


def earthquake(length: int, p: int = P_AT, s: int = S_AT) -> Floats:
    """A smooth bump on Z where P is, on N where S is, and a constant slope on E."""
    at = np.arange(length)
    bumps = [np.exp(-0.5 * ((at - onset) / 20) ** 2) for onset in (p, s)]
    return np.stack((*bumps, np.linspace(-1, 1, length)), axis=1).astype(np.float32)


def test_any_order_of_components_and_classes_and_an_extra_axis(
    adapt: Callable[..., Picker],
) -> None:
    """As PhaseNet: [1, 3000, 1, 3], E N Z in; noise, P, S out."""
    window = earthquake(3000)

    def network(values: Floats) -> tuple[Floats, ...]:
        np.testing.assert_allclose(values[0, :, 0, ::-1], normalise(window), rtol=1e-6)
        p, s = window[:, 0], window[:, 1]
        return (np.stack((1 - np.maximum(p, s), p, s), axis=1)[None, :, None],)

    picker = adapt(
        Input(
            name="x",
            shape=(1, 3000, 1, 3),
            labels=("E", "N", "Z"),
            normalisation="standard per component",
        ),
        (Output(name="y", shape=(1, 3000, 1, 3), labels=("noise", "P", "S")),),
        network,
    )
    curves = picker.probabilities(window)
    assert picker.window == 3000
    np.testing.assert_allclose(curves[:, :2], window[:, :2])
    np.testing.assert_allclose(curves[:, 2], window[:, :2].max(axis=1), atol=1e-6)


def test_channels_first_logits_and_the_vertical_alone(adapt: Callable[..., Picker]) -> None:
    window = earthquake(3000)

    def network(values: Floats) -> tuple[Floats, ...]:
        np.testing.assert_allclose(values[0, 0], window[:, 0])
        logits = np.stack((8 * values[0, 0] - 4, np.full(3000, -9, np.float32)))
        return (logits[None].astype(np.float32),)

    picker = adapt(
        Input(name="x", shape=(1, 1, 3000), labels=("Z",)),
        (Output(name="y", shape=(1, 2, 3000), labels=("P", "S"), activation="sigmoid"),),
        network,
    )
    curves = picker.probabilities(window)
    assert curves[:, 0].argmax() == P_AT
    assert curves[P_AT, 0] == pytest.approx(1 / (1 + np.exp(-4)))
    assert curves[0, 0] == pytest.approx(1 / (1 + np.exp(4)))
    np.testing.assert_array_equal(curves[:, 2], curves[:, :2].max(axis=1))


def test_softmax_over_the_classes_of_each_sample(adapt: Callable[..., Picker]) -> None:
    logits = np.zeros((1, 3000, 3), np.float32)
    logits[0, P_AT, 0] = 5
    picker = adapt(
        Input(name="x", shape=(1, 3000, 3), labels=("Z", "N", "E")),
        (Output(name="y", shape=(1, 3000, 3), labels=("P", "S", "noise"), activation="softmax"),),
        lambda _: (logits,),
    )
    curves = picker.probabilities(earthquake(3000))
    assert curves[0] == pytest.approx((1 / 3, 1 / 3, 2 / 3))
    assert curves[P_AT, 0] == pytest.approx(np.exp(5) / (np.exp(5) + 2))


@pytest.mark.parametrize("rate", [50.0, 40.0, 200.0, 62.5])
def test_another_rate_costs_no_time(adapt: Callable[..., Picker], rate: float) -> None:
    """What the network says at its rate is told where it happened at 100 Hz."""
    length = int(30 * rate)

    def network(values: Floats) -> tuple[Floats, ...]:
        return (np.clip(values[:, :, :2], 0, 1),)

    picker = adapt(
        Input(name="x", shape=(1, length, 3), labels=("Z", "N", "E"), rate_hz=rate),
        (Output(name="y", shape=(1, length, 2), labels=("P", "S")),),
        network,
    )
    window = earthquake(3000)
    curves = picker.probabilities(window)
    assert picker.window == 3000
    assert curves.shape == (3000, 3)
    np.testing.assert_allclose(curves[50:-50, :2], window[50:-50, :2], atol=0.02)


def test_what_is_more_than_whole_seconds_is_filled_before_the_window(
    adapt: Callable[..., Picker],
) -> None:
    """As SeisBench's PhaseNet, of 3001 samples."""

    def network(values: Floats) -> tuple[Floats, ...]:
        assert not values[0, 0].any()
        return (values[:, :, :2],)

    picker = adapt(
        Input(name="x", shape=(1, 3001, 3), labels=("Z", "N", "E")),
        (Output(name="y", shape=(1, 3001, 2), labels=("P", "S")),),
        network,
    )
    window = earthquake(3000)
    np.testing.assert_allclose(picker.probabilities(window)[:, :2], window[:, :2])


def test_coarse_curves_over_a_part_of_the_window(adapt: Callable[..., Picker]) -> None:
    """One value in 4 samples, from sample 200 on; before and after, nothing is told."""

    def network(values: Floats) -> tuple[Floats, ...]:
        return (np.ascontiguousarray(values[:, 200:2800:4, :2]),)

    picker = adapt(
        Input(name="x", shape=(1, 3000, 3), labels=("Z", "N", "E")),
        (Output(name="y", shape=(1, 650, 2), labels=("P", "S"), start=200, step=4),),
        network,
    )
    window = earthquake(3000)
    curves = picker.probabilities(window)
    np.testing.assert_allclose(curves[200:2796, :2], window[200:2796, :2], atol=0.02)
    assert not curves[:196].any()
    assert not curves[2800:].any()


def test_a_narrower_band_is_filtered_and_its_delay_taken_back(
    adapt: Callable[..., Picker],
) -> None:
    t = np.arange(3000) / 100
    tones = {f: np.sin(2 * np.pi * f * t) * np.exp(-0.5 * ((t - 15) / 2) ** 2) for f in (5, 40)}

    def network(values: Floats) -> tuple[Floats, ...]:
        return (values[:, :, :2],)

    picker = adapt(
        Input(name="x", shape=(1, 3000, 3), labels=("Z", "N", "E"), band_hz=(1, 20)),
        (Output(name="y", shape=(1, 3000, 2), labels=("P", "S")),),
        network,
    )
    window = np.stack((tones[5], tones[40], tones[5]), axis=1).astype(np.float32)
    curves = picker.probabilities(window)
    assert np.abs(curves[:, 1]).max() < 0.1
    assert np.abs(curves[500:2500, 0] - tones[5][500:2500]).max() < 0.05


def test_picks_and_detection_may_come_in_separate_tensors(
    adapt: Callable[..., Picker],
) -> None:
    """As RED-PAN: picks in one tensor, detection in another."""
    window = earthquake(3000)
    mask = np.zeros((1, 3000, 2), np.float32)
    mask[0, 1000:2000, 0] = 1
    picker = adapt(
        Input(name="x", shape=(1, 3000, 3), labels=("Z", "N", "E")),
        (
            Output(name="a", shape=(1, 3000, 3), labels=("P", "S", "noise")),
            Output(name="b", shape=(1, 3000, 2), labels=("detection", "no detection")),
        ),
        lambda values: (values, mask),
    )
    curves = picker.probabilities(window)
    np.testing.assert_array_equal(curves[:, :2], window[:, :2])
    np.testing.assert_array_equal(curves[:, 2], mask[0, :, 0])


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"labels": ("X", "N", "E")}, r"inputs\.labels: \['X', 'N', 'E'\] are not components"),
        ({"normalisation": "standard and sign"}, r"inputs\.normalisation"),
        ({"shape": (1, 300, 3)}, r"inputs\.shape: 3 s is not 5 to 120 s"),
        ({"shape": (1, 3000, 4)}, r"x: shape \[1, 3000, 4\] is not time by"),
        ({"band_hz": (0.1, 20.0)}, r"inputs\.band_hz"),
        ({"band_hz": (20.0, 10.0)}, r"inputs\.band_hz"),
    ],
)
def test_what_no_box_can_give_is_refused_with_its_field(
    adapt: Callable[..., Picker], fields: dict[str, object], complaint: str
) -> None:
    known = {"name": "x", "shape": (1, 3000, 3), "labels": ("Z", "N", "E")}
    output = Output(name="y", shape=(1, 3000, 2), labels=("P", "S"))
    with pytest.raises(ModelError, match=f"x.tflite: not a picker: {complaint}"):
        adapt(Input(**(known | fields)), (output,), lambda x: (x,))  # type: ignore[arg-type]


def test_curves_without_s_are_no_picker(adapt: Callable[..., Picker]) -> None:
    inputs = Input(name="x", shape=(1, 3000, 3), labels=("Z", "N", "E"))
    output = Output(name="y", shape=(1, 3000, 2), labels=("P", "noise"))
    with pytest.raises(ModelError, match=r"outputs\.labels: no S"):
        adapt(inputs, (output,), lambda x: (x,))
