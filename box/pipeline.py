"""One station's way from segments to picks: condition, infer, vote, pick, measure, trigger.

Driven by the samples alone, never by a clock: the same segments in the same order give the same
packets, to the bit, however fast they come.
"""

from __future__ import annotations

from box.config import ClockConfig, PickingConfig, TriggerConfig
from box.stations import Station
from box.stretch import Counters, Models, Setup, Stretch
from models.conditioning import MIN_RATE
from ringbuffer.channels import choose_channels
from ringbuffer.segment import Segment
from uplink.packets import Event, Pick


class StationPipeline:
    """Picks, first motions, magnitudes and triggers of one station."""

    def __init__(
        self,
        station: Station,
        channels: list[str],
        models: Models,
        picking: PickingConfig,
        trigger: TriggerConfig,
        clock: ClockConfig,
        ring_s: float,
        reorder_s: float,
    ) -> None:
        """channels: all that the source offers; those to pick on are chosen from them."""
        self.station = station
        self.components = choose_channels(channels)
        self.counters = Counters()
        self._setup = Setup(
            station,
            self.components,
            models,
            picking,
            trigger,
            clock,
            ring_s,
            reorder_s,
            self.counters,
        )
        self._stretch: Stretch | None = None

    @property
    def data_until_ns(self) -> int:
        """Up to where the samples have been judged; 0 before the first."""
        return self._stretch.data_until_ns if self._stretch else 0

    def feed(self, segment: Segment) -> list[Pick | Event]:
        """Take a segment; returns what is to be told after it, in order."""
        if segment.channel not in self.components or segment.rate < MIN_RATE:
            self.counters.ignored += 1
            return []
        told: list[Pick | Event] = []
        if self._stretch is None:
            self._stretch = Stretch(self._setup, segment)
        if not self._stretch.append(segment):
            told += self._stretch.finish()
            self.counters.restarts += 1
            self._stretch = Stretch(self._setup, segment)
            self._stretch.append(segment)
        return told + self._stretch.advance()

    def flush(self) -> list[Pick | Event]:
        """The stream has ended: settle what is open."""
        return self._stretch.finish() if self._stretch else []
