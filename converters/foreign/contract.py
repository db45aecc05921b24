"""What has to be known of somebody else's network before a box can use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from models.card import Card, CardError, Dataset, Input, Normalisation, Output, Positive


class ForeignError(Exception):
    """A file that cannot be converted; the message names it and what is wrong with it."""


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output tensor; the fields are those of `models.card.Output`."""

    labels: tuple[str, ...]
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    start: int = 0
    step: int = 1


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A card without what the network itself tells (YAML or JSON).

    labels of a picker's outputs: P, S, detection, noise, in the order of the network; whatever
    else they are called, they are not used. Those of a first-motion model: up, down, undecided;
    impulsive, emergent.
    """

    kind: Literal["picker", "fmp"] = "picker"
    components: tuple[str, ...] = ("Z", "N", "E")
    rate_hz: Positive = 100.0
    band_hz: tuple[Positive, Positive] = (1.0, 45.0)
    normalisation: Normalisation = "standard per component"
    outputs: tuple[Told, ...] = (Told(labels=("P", "S", "noise")),)
    samples: int | None = None  # of the window, where the network takes any number
    thresholds: dict[str, float] = msgspec.field(default_factory=lambda: {"P": 0.3, "S": 0.3})
    description: str = ""
    licence: str = "not known"
    training_data: tuple[Dataset, ...] = ()
    limits: tuple[str, ...] = ()

    def card(
        self,
        name: str,
        inputs: list[tuple[int, ...]],
        outputs: list[tuple[int, ...]],
        dtype: Literal["int8", "float32"] = "int8",
    ) -> Card:
        """The card of a network of such shapes, but for the hash and size that `write_card`
        fills in; raises ForeignError where they don't fit."""
        if len(inputs) != 1 or len(outputs) != len(self.outputs):
            raise ForeignError(
                f"contract: 1 input and {len(self.outputs)} outputs; the network has "
                f"{len(inputs)} and {len(outputs)}"
            )
        return Card(
            name=name,
            version="1",
            sha256="",
            size_bytes=0,
            description=self.description,
            licence=self.licence,
            inputs=(
                Input(
                    name="window",
                    shape=inputs[0],
                    dtype=dtype,
                    labels=self.components,
                    units="any",
                    rate_hz=self.rate_hz,
                    band_hz=self.band_hz,
                    normalisation=self.normalisation,
                ),
            ),
            outputs=tuple(
                Output(name=f"output_{k}", shape=shape, dtype=dtype, **msgspec.structs.asdict(told))
                for k, (shape, told) in enumerate(zip(outputs, self.outputs, strict=True))
            ),
            training_data=self.training_data,
            held_out=(),
            thresholds=self.thresholds,
            limits=self.limits,
        )


class Foreign(NamedTuple):
    """A network in a file of others.

    build: makes the Keras model; called in a process that may load TensorFlow, hence picklable.
    None for what is a TFLite artefact already.
    """

    contract: Contract
    build: Callable[[], Any] | None


def read_contract(path: Path) -> Contract:
    """A contract from YAML or JSON. Raises CardError, which names file and field."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Contract)
    except OSError as error:
        raise CardError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: {error}") from None
