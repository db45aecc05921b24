"""The configuration of a box: the structs below are its schema, defaults and documentation."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from box.vote import Merge
from uplink.connection import BrokerConfig
from uplink.remote import PublicKey

Fraction01 = Annotated[float, Meta(gt=0, lt=1)]
Seconds = Annotated[float, Meta(gt=0)]
StationId = Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,8}\.[A-Z0-9-]{1,8}$")]  # NET.STA
Location = Annotated[str, Meta(pattern=r"^[A-Z0-9-]{0,2}$")]
ChannelCode = Annotated[str, Meta(pattern=r"^[A-Z0-9]{3}$")]
ChannelCodeOrNone = Annotated[str, Meta(pattern=r"^([A-Z0-9]{3})?$")]
ChannelId = Annotated[
    str, Meta(pattern=r"^[A-Z0-9-]{1,8}\.[A-Z0-9-]{1,8}\.[A-Z0-9-]{0,2}\.[A-Z0-9]{3}$")
]  # NET.STA.LOC.CHA
Word = Annotated[str, Meta(pattern=r"^[!-~]+$")]  # printable, without a space
FullScale = Annotated[int, Meta(gt=0, le=2**31)]  # counts of a converter
Days = Annotated[float, Meta(gt=0, le=36_500)]
Rate = Annotated[float, Meta(gt=0, le=10_000)]  # Hz


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class StationConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where the box stands."""

    id: StationId
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    elevation_m: Annotated[float, Meta(ge=-11000, le=9000)] = 0.0
    stationxml: str | None = None  # file or folder; gives coordinates and responses
    sensitivity: Annotated[float, Meta(gt=0)] | None = None  # counts per m/s, without StationXML
    full_scale_counts: FullScale | None = None  # in place of `quality`'s


class MiniSeedConfig(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="miniseed"
):
    """Recordings, replayed."""

    path: str  # file, folder, or SDS root
    speed: Annotated[float, Meta(gt=0)] | None = 1.0  # 1 is real time, null as fast as it goes


class ShakeConfig(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="shake"
):
    """A Raspberry Shake's data cast, by UDP."""

    channels: Annotated[list[ChannelCode], Meta(min_length=1)]  # those that the instrument has
    station: StationId | None = None  # NET.STA; may be left out where the box has one only
    location: Location = "00"
    rate: Rate = 100.0
    host: str = "0.0.0.0"  # address to listen on
    port: Annotated[int, Meta(ge=0, le=65535)] = 8888
    sender: str | None = None  # address from which datagrams are taken; null: from anywhere

    def __post_init__(self) -> None:
        for name, address in (("host", self.host), ("sender", self.sender)):
            if address is not None and not _is_address(address):
                raise ValueError(f"{name}: {address!r} is not an IP address")


class SeedLinkConfig(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="seedlink"
):
    """A SeedLink server."""

    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")]
    channels: Annotated[list[ChannelId], Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None  # 18000, with TLS 18500
    protocol: Literal[3, 4] | None = None  # null: 4 where the server speaks it, else 3
    tls: bool = False
    ca_file: str | None = None  # certificates to trust in place of the system's
    user: Word | None = None
    password: Word | None = None
    token: Word | None = None  # JSON Web Token, in place of user and password
    keepalive_s: Seconds = 30.0  # of silence, until the server is asked for a sign of life
    timeout_s: Seconds = 90.0  # of silence, until the connection is given up

    def __post_init__(self) -> None:
        self.port = self.port or (18500 if self.tls else 18000)
        if (self.user or self.token) and not self.tls:
            raise ValueError("tls: must be on where there are credentials")
        if (self.user is None) != (self.password is None) or (self.user and self.token):
            raise ValueError("user, password, token: either the first two or the last")
        if (self.user or self.token) and self.protocol == 3:
            raise ValueError("protocol: 3 has no credentials")


class AnyShakeConfig(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="anyshake"
):
    """An AnyShake Explorer, by a serial line."""

    device: str  # /dev/serial/by-id/…
    protocol: Literal[1, 3] = 3
    channels: Annotated[list[ChannelCodeOrNone], Meta(min_length=1, max_length=8)] = msgspec.field(
        default_factory=lambda: ["EHZ", "EHE", "EHN"]
    )  # in the order in which the device sends them; "" leaves one out
    station: StationId | None = None  # NET.STA; may be left out where the box has one only
    location: Location = "00"
    baud_rate: Annotated[int, Meta(ge=1200, le=4_000_000)] = 115_200
    rate: Rate | None = None  # of protocol 1, which does not tell
    timeout_s: Seconds = 10.0  # of silence, until the line is opened anew
    # What the time of a frame of protocol 3 with GNSS is of: its end, as the protocol is described,
    # or its first samples, as the published firmware and AnyShake Observer have it.
    timestamp: Literal["begin", "end"] = "end"

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.protocol == 1):
            raise ValueError("rate: is for protocol 1, and needed there")


SourceConfig = MiniSeedConfig | ShakeConfig | SeedLinkConfig | AnyShakeConfig


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
    """Uncertainty of the time stamps, carried in each pick, and what is taken for a time at all."""

    locked_uncertainty_s: Annotated[float, Meta(ge=0)] = 0.001
    unlocked_uncertainty_s: Annotated[float, Meta(ge=0)] = 0.5  # where no lock is known of
    # Of a clock that runs free, since its last lock: quartz as it is in digitizers and computers is
    # cut to 20 ppm at 25 degrees and off by as much again outdoors, 2.6 s a day together.
    drift_ppm: Annotated[float, Meta(ge=0, le=1000)] = 30.0
    # A live source with an earlier time has a clock that is not set (1970), or counts the weeks of
    # GPS from a wrong rollover.
    earliest_year: Annotated[int, Meta(ge=1970, le=2100)] = 2010


class QualityConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What of a signal is taken for a fault: see box/quality.py and box/quarantine.py."""

    # of the converter; where it is not known, clipping shows in flat tops alone
    full_scale_counts: FullScale | None = None
    offset_fraction: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of full scale
    # RMS of a second about its mean, below which it is dead: a converter finer than its noise has
    # 1.5 counts at the least (63 channels near Ridgecrest, in two hours).
    flat_counts: Annotated[float, Meta(ge=0)] = 0.3
    # So long; null for a converter coarser than the noise, which is flat in quiet hours.
    stuck_s: Seconds | None = 10.0
    spikes_per_minute: Annotated[int, Meta(ge=1)] = 12
    # New picks, beyond which a station shouts: more than three and two times what the busiest
    # does in a dense aftershock sequence (tests/box/test_quarantine.py).
    picks_per_minute: Annotated[int, Meta(ge=1)] = 60
    picks_per_hour: Annotated[int, Meta(ge=1)] = 1500
    quarantine_s: Annotated[float, Meta(ge=60)] = 600.0  # below both, until it is let out


class RingConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The newest packets of a station on disk, from which a restarted box goes on."""

    size_mb: Annotated[int, Meta(ge=1, le=1_000_000)] = 64  # per station, when it is made
    flush_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0  # what a power cut can take


class OutboxConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What waits for the broker, per station: see uplink/outbox.py and uplink/sending.py."""

    max_mb: Annotated[int, Meta(ge=1, le=10_000)] = 16
    max_packets: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000
    pick_days: Days = 365.0  # an age beyond which nobody wants it any more
    event_days: Days = 90.0
    health_days: Days = 7.0
    waveform_days: Days = 1.0
    live_s: Seconds = 30.0  # an age beyond which a pick is no cause for an alarm
    backlog_per_s: Annotated[float, Meta(gt=0, le=10_000)] = 10.0  # packets


class WaveformsConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Cuts of waveforms sent to the broker, behind everything else: see box/waveforms.py."""

    on_request: bool = True
    at_trigger: bool = False  # whenever the station triggers, from …
    before_s: Annotated[float, Meta(ge=0, le=600)] = 30.0  # … this long before it
    after_s: Annotated[float, Meta(gt=0, le=600)] = 60.0  # … to this long after it
    longest_s: Annotated[float, Meta(gt=0, le=3600)] = 600.0  # of a cut; longer ones are refused
    most_pending: Annotated[int, Meta(ge=1, le=100)] = 8  # requests that wait for their samples
    bytes_per_s: Annotated[float, Meta(ge=100, le=10_000_000)] = 4000.0

    def __post_init__(self) -> None:
        if self.at_trigger and self.before_s + self.after_s > self.longest_s:
            raise ValueError("longest_s: less than before_s and after_s together")


class ArchiveConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An SDS tree of miniSEED; the oldest day goes where either limit is reached."""

    path: str
    max_mb: Annotated[int, Meta(ge=1)] = 4096
    max_days: Annotated[int, Meta(ge=1, le=100_000)] = 60


class SeedLinkServerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the box records, given to whoever asks by SeedLink 3 or 4; nobody can write."""

    host: str = "127.0.0.1"  # address to listen on
    port: Annotated[int, Meta(ge=0, le=65535)] = 18000
    allow: list[str] = msgspec.field(
        default_factory=lambda: ["127.0.0.0/8", "::1"]
    )  # networks and addresses of clients; everybody else is turned away
    organization: Annotated[str, Meta(pattern=r"^[ -~]{1,80}$")] = "diting"
    ring_mb: Annotated[int, Meta(ge=1, le=100_000)] = 64  # per station, when it is made
    max_clients: Annotated[int, Meta(ge=1, le=1000)] = 20
    idle_s: Seconds = 300.0  # until a client that neither asks nor takes what it is sent is left

    def __post_init__(self) -> None:
        if not _is_address(self.host):
            raise ValueError(f"host: {self.host!r} is not an IP address")
        for network in self.allow:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"allow: {error}") from None


class RemoteConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Being configured from afar: see box/remote/state.py for what can be."""

    key: PublicKey | None = None  # only what its owner has signed is followed; null: whatever comes


class BoxConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`diting box CONFIG.yaml`."""

    stations: list[StationConfig] = msgspec.field(name="station")  # one, or a list
    sources: list[SourceConfig] = msgspec.field(name="source")  # one, or a list
    broker: BrokerConfig
    remote: RemoteConfig | None = None  # null: this file alone counts
    data_dir: str = "/var/lib/diting"  # the outboxes and rings live here
    ring: RingConfig = msgspec.field(default_factory=RingConfig)
    archive: ArchiveConfig | None = None  # null: there is none
    seedlink_server: SeedLinkServerConfig | None = None  # null: there is none
    # What is recorded for these two waits for a record to be full, but not longer than this.
    longest_record_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    ring_s: Annotated[float, Meta(ge=60)] = 600.0  # samples kept in memory per channel
    reorder_s: Annotated[float, Meta(gt=0, le=30)] = 2.0  # how long a late packet is waited for
    health_every_s: Annotated[float, Meta(ge=10)] = 300.0
    watermark_every_s: Annotated[float, Meta(ge=1)] | None = 60.0  # null: none
    outbox: OutboxConfig = msgspec.field(default_factory=OutboxConfig)
    waveforms: WaveformsConfig = msgspec.field(default_factory=WaveformsConfig)
    silent_restart_s: Annotated[float, Meta(ge=60)] = 3600.0  # see box/watchdog.py
    picking: PickingConfig = msgspec.field(default_factory=PickingConfig)
    trigger: TriggerConfig = msgspec.field(default_factory=TriggerConfig)
    clock: ClockConfig = msgspec.field(default_factory=ClockConfig)
    quality: QualityConfig = msgspec.field(default_factory=QualityConfig)
