"""One station's box: samples in, packets out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.metadata import version

import msgspec

from box.config import PickingConfig, TriggerConfig
from box.host_clock import HostClock
from box.journal import Journal, pieces
from box.pipeline import Settings, StationPipeline
from box.recording import Recording
from box.sources.live import Source
from box.stations import Station
from box.stretch import Models
from box.waveforms import Waveforms
from ringbuffer.segment import Segment
from uplink.outbox import Kind, Packet
from uplink.packets import (
    Event,
    Health,
    Pick,
    PickFlag,
    Presence,
    System,
    Watermark,
    encode_event,
    encode_json,
    encode_pick,
    encode_watermark,
)
from uplink.session import Session
from uplink.topics import topic

LATE_NS = 30_000_000_000  # after their arrival, samples are too old for a live alarm
LONGEST_WAIT_NS = 3_000_000_000  # for an instant at which new settings can be noted


class Box:
    """Takes segments, journals, archives and judges them, and publishes what is to be told."""

    def __init__(
        self,
        pipeline: StationPipeline,
        session: Session,
        now_ns: Callable[[], int],
        observer: Callable[[str, bytes], None] = lambda station_id, payload: None,
        journal: Journal | None = None,
        recording: Recording | None = None,
        waveforms: Waveforms | None = None,
    ) -> None:
        """observer: is shown the payload of each pick that goes out. journal: without one, what
        was not told is lost with the process."""
        self.pipeline = pipeline
        self.session = session
        self.station_id = pipeline.station.station_id
        self._now_ns = now_ns
        self._observer = observer
        self.journal = journal
        self._recording = recording
        self.waveforms = waveforms
        self._wanted: Settings | None = None  # as soon as that can be noted
        self._wanted_since_ns = 0

    def take(self, segment: Segment) -> None:
        """Digest a segment that has just arrived."""
        arrived_ns = self._now_ns()
        if self.journal is None:
            self._publish(self.pipeline.feed(segment), arrived_ns)
            return
        for packet in pieces(segment):
            position = self.journal.keep(packet, arrived_ns)
            if self._recording is not None:
                self._recording.put(packet, position)
            self._publish(self.pipeline.feed(packet), arrived_ns, position)
            self.journal.mark(self.pipeline, arrived_ns)
        if self._wanted is not None:
            self._settle_settings()

    def reconfigure(self, picking: PickingConfig, trigger: TriggerConfig) -> None:
        """Judge by other thresholds from now on, or as soon as no packet is waited for: only then
        can that be noted, for the box that goes on after a kill."""
        self._wanted = picking, trigger
        self._wanted_since_ns = self._now_ns()
        self._settle_settings()

    def _settle_settings(self) -> None:
        now_ns = self._now_ns()
        patient = abs(now_ns - self._wanted_since_ns) < LONGEST_WAIT_NS
        if self._wanted is None or (patient and not self.can_be_noted):
            return
        self.pipeline.reconfigure(*self._wanted)
        self._wanted = None
        self.hand_over()

    @property
    def can_be_noted(self) -> bool:
        """Whether nothing is in the making that a note has no place for."""
        begun = self.journal is not None and self.pipeline.has_begun
        return not begun or self.pipeline.memory() is not None

    def hand_over(self) -> None:
        """Note where the pipeline stands, so that another one can go on from here."""
        if self.journal is not None:
            self.journal.mark(self.pipeline, self._now_ns(), at_once=True)

    def resume(self) -> None:
        """Go on where the process before this one was: tell what it had not yet told."""
        if self.journal is None:
            return
        known = self.session.position
        now_ns = self._now_ns()
        settings = self.pipeline.settings
        for record, packet in self.journal.resume(self.pipeline, now_ns):
            told = self.pipeline.feed(packet)
            if record.seq > known:
                # Of what comes from the future, by a clock that woke an hour ago, nobody can tell.
                late = abs(now_ns - record.arrived_ns) > LATE_NS
                self._publish(told, record.arrived_ns, record.seq, late)
        if self.pipeline.settings != settings:
            self.reconfigure(*settings)

    def finish(self) -> None:
        """The stream has ended."""
        now_ns = self._now_ns()
        # Noted first: to settle a pick twice, in two ways, would be worse than not at all.
        position = self.journal.finish(now_ns) if self.journal else 0
        self._publish(self.pipeline.flush(), now_ns, position)

    def report_health(
        self,
        sources: Iterable[Source] = (),
        system: System | None = None,
        host: HostClock | None = None,
    ) -> None:
        """sources: those of this station, whose counters and troubles are told with it."""
        now_ns = self._now_ns()
        counters = self.pipeline.counters.as_dict()
        notes = []
        for source in sources:
            counted = asdict(source.counters)
            counters |= {f"{source.name} {name}": count for name, count in counted.items()}
            notes += source.problems
        notes += self.pipeline.signal.notes + self.session.problems
        if self.journal is not None:
            counters |= {f"ring {key}": count for key, count in self.journal.counters.items()}
            notes += self.journal.problems
        if self._recording is not None:
            counters |= self._recording.counters
            notes += self._recording.problems
        if self.waveforms is not None:
            counters |= {f"waveforms {key}": n for key, n in self.waveforms.counters.items()}
        clock = self.pipeline.clock_health()
        notes += host.problems if host else []
        health = Health(
            time_ns=now_ns,
            data_until_ns=self.pipeline.data_until_ns,
            counters={k: v for k, v in counters.items() if v},
            notes=notes,
            channels=self.pipeline.channel_health(),
            system=system,
            uplink=self.session.state(),
            clock_uncertainty_s=clock.uncertainty_s if clock else 0.0,
            clock=clock,
            host_clock=host.health() if host else None,
        )
        name = topic(self.station_id, "health")
        self.session.publish([Packet(name, encode_json(health), Kind.HEALTH, now_ns)])

    def tell_watermark(self) -> None:
        """Until when there is nothing more to tell, but for what waits in the outbox."""
        if until_ns := self.pipeline.data_until_ns:
            watermark = Watermark(until_ns, self.session.picks_waiting)
            self.session.state_retained("watermark", encode_watermark(watermark))

    def _publish(
        self, told: list[Pick | Event], arrived_ns: int, position: int = 0, late: bool = False
    ) -> None:
        """position: of the samples in the ring. late: these came too long ago for an alarm."""
        if late:
            told = [_historical(packet) for packet in told]
        if told:
            self.session.publish([self._pack(packet, arrived_ns) for packet in told], position)

    def _pack(self, packet: Pick | Event, arrived_ns: int) -> Packet:
        if isinstance(packet, Event):
            if self.waveforms is not None:
                self.waveforms.triggered(packet)
            name = topic(self.station_id, "event")
            return Packet(name, encode_event(packet), Kind.EVENT, arrived_ns)
        payload = encode_pick(packet)
        self._observer(self.station_id, payload)
        return Packet(topic(self.station_id, "pick"), payload, Kind.PICK, arrived_ns)


def _historical(packet: Pick | Event) -> Pick | Event:
    """Only picks can say so of themselves."""
    if isinstance(packet, Event):
        return packet
    return msgspec.structs.replace(packet, flags=packet.flags | PickFlag.HISTORICAL)


def birth(station: Station, channels: list[str], models: Models) -> Presence:
    """What a box says of itself when it connects."""
    return Presence(
        online=True,
        session=0,
        latitude=station.latitude,
        longitude=station.longitude,
        elevation_m=station.elevation_m,
        channels=channels,
        version=version("diting-smart-box"),
        models=models.hashes(),
    )
