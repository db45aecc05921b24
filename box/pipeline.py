"""One station's way from segments to picks: condition, infer, vote, pick, measure, trigger.

Driven by the samples alone, never by a clock: the same segments in the same order give the same
packets, to the bit, however fast they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from box.config import ClockConfig, PickingConfig, TriggerConfig
from box.memory import StretchMemory
from box.stations import Station
from box.stretch import LAG, Counters, Models, Setup, Stretch
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
        # Another pipeline tells the same only with the same models and settings.
        tells = [models.hashes(), picking, trigger, ring_s, reorder_s]
        self.signature = sha256(msgspec.json.encode(tells)).hexdigest()[:16]
        self._stretch: Stretch | None = None
        self.stretches = 0  # begun so far

    @property
    def data_until_ns(self) -> int:
        """Up to where the samples have been judged; 0 before the first."""
        return self._stretch.data_until_ns if self._stretch else 0

    def feed(self, segment: Segment) -> list[Pick | Event]:
        """Take a segment; returns what is to be told after it, in order."""
        if not self._is_picked_on(segment):
            self.counters.ignored += 1
            return []
        told: list[Pick | Event] = []
        if self._stretch is None:
            self._stretch = self._begin(segment)
        if not self._stretch.append(segment):
            told += self._stretch.finish()
            self.counters.restarts += 1
            self._stretch = self._begin(segment)
            self._stretch.append(segment)
        return told + self._stretch.advance()

    def _is_picked_on(self, segment: Segment) -> bool:
        return segment.channel in self.components and segment.rate >= MIN_RATE

    def _begin(self, first: Segment) -> Stretch:
        self.stretches += 1
        return Stretch(self._setup, first.start_ns, first.rate)

    @property
    def judged(self) -> int:
        """Samples of the stretch, at 100 Hz, that have been judged."""
        return self._stretch.judged if self._stretch else 0

    @property
    def reach(self) -> int:
        """Samples at 100 Hz that `resume` needs between two memories."""
        return self._stretch.reach + LAG if self._stretch else 0

    def memory(self) -> StretchMemory | None:
        """What `resume` needs; None before the first segment, and while a packet is waited for."""
        return self._stretch.memory() if self._stretch else None

    def resume(
        self, before: StretchMemory | None, segments: Iterable[Segment], now: StretchMemory
    ) -> None:
        """Go on where another pipeline was, with the same packets to come as it would have had.

        before: its memory at least `reach` samples earlier, None at the beginning of the stretch.
        segments: all that it was fed since. now: its memory after them.
        Raises ValueError where these do not fit together; nothing has changed then.
        """
        try:
            stretch = None if before is None else Stretch.remembered(self._setup, before)
            for segment in filter(self._is_picked_on, segments):
                if stretch is None:
                    stretch = Stretch(self._setup, segment.start_ns, segment.rate)
                if not stretch.append(segment):
                    raise ValueError("the samples are not those of one stretch")
            if stretch is None:
                raise ValueError("there are no samples")
            stretch.recall(now)
        except LookupError:  # another choice of channels, say, or of models
            raise ValueError("the samples are not enough") from None
        self._stretch = stretch
        self.stretches += 1

    def flush(self) -> list[Pick | Event]:
        """The stream has ended: settle what is open."""
        return self._stretch.finish() if self._stretch else []
