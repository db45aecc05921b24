"""The configuration of a box: the structs below are its schema, defaults and documentation."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from box.vote import Merge

Fraction01 = Annotated[float, Meta(gt=0, lt=1)]
Seconds = Annotated[float, Meta(gt=0)]


class StationConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where the box stands."""

    id: Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,8}\.[A-Z0-9-]{1,8}$")]  # NET.STA
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    elevation_m: Annotated[float, Meta(ge=-11000, le=9000)] = 0.0
    stationxml: str | None = None  # file or folder; gives coordinates and responses
    sensitivity: Annotated[float, Meta(gt=0)] | None = None  # counts per m/s, without StationXML


class SourceConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where the samples come from."""

    type: Literal["miniseed"] = "miniseed"
    path: str  # file, folder, or SDS root
    speed: Annotated[float, Meta(gt=0)] | None = 1.0  # 1 is real time, null as fast as it goes


class BrokerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(pattern=r"^mqtts?://")]  # mqtt[s]://[user:pass@]host[:port]


class PickingConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How probabilities become picks; a threshold that is not set is the model's own."""

    merge: Merge = "median"
    p_threshold: Fraction01 | None = None
    s_threshold: Fraction01 | None = None
    picker: str | None = None  # model file, its card beside it, in place of the built-in one
    first_motion: str | None = None
    magnitude: str | None = None


class TriggerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The station's own trigger on the picker's detection level."""

    on: Fraction01 = 0.5
    off: Fraction01 = 0.3
    off_after_s: Seconds = 5.0
    longest_s: Seconds = 300.0


class ClockConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Uncertainty of the time stamps, carried in each pick."""

    locked_uncertainty_s: Annotated[float, Meta(ge=0)] = 0.001
    unlocked_uncertainty_s: Annotated[float, Meta(ge=0)] = 0.5


class BoxConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`diting box CONFIG.yaml`."""

    station: StationConfig
    source: SourceConfig
    broker: BrokerConfig
    data_dir: str = "/var/lib/diting"  # the outbox lives here
    ring_s: Annotated[float, Meta(ge=60)] = 600.0  # samples kept per channel
    reorder_s: Annotated[float, Meta(gt=0, le=30)] = 2.0  # how long a late packet is waited for
    health_every_s: Annotated[float, Meta(ge=10)] = 300.0
    picking: PickingConfig = msgspec.field(default_factory=PickingConfig)
    trigger: TriggerConfig = msgspec.field(default_factory=TriggerConfig)
    clock: ClockConfig = msgspec.field(default_factory=ClockConfig)
