"""One station's way from segments to picks: condition, infer, vote, pick, measure, trigger.

Driven by the samples alone, never by a clock: the same segments in the same order give the same
packets, to the bit, however fast they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

import msgspec

from box.config import ClockConfig, PickingConfig, QualityConfig, TriggerConfig
from box.memory import StretchMemory
from box.signal_health import SignalHealth
from box.stations import Station
from box.stretch import LAG, Counters, Models, Setup, Stretch
from box.timing import timing
from models.conditioning import MIN_RATE
from ringbuffer.channels import choose_channels
from ringbuffer.segment import Segment
from uplink.packets import ChannelHealth, ClockHealth, Event, Pick

Settings = tuple[PickingConfig, TriggerConfig]


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
        quality: QualityConfig | None = None,
    ) -> None:
        """channels: all that the source offers; those to pick on are chosen from them."""
        quality = quality or QualityConfig()
        self.signal = SignalHealth(quality)
        self.station = station
        self.components = choose_channels(channels)
        self.counters = Counters()
        self.unjudged_s = 0.0  # of samples, over its channels, that came since the last stride
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
            signal=self.signal,
        )
        # Another pipeline, with the same `settings`, tells the same only with these the same.
        tells = [models.hashes(), ring_s, reorder_s, quality]
        self.signature = sha256(msgspec.json.encode(tells)).hexdigest()[:16]
        self._stretch: Stretch | None = None
        self._newest: Segment | None = None
        self.stretches = 0  # begun so far

    def clock_health(self) -> ClockHealth | None:
        """How well the newest samples are timed; None before the first."""
        newest = self._newest
        if newest is None:
            return None
        known = timing(newest.end_ns, newest.flags, newest.clock, self._setup.clock)
        return ClockHealth(newest.locked, *known)

    def channel_health(self) -> dict[str, ChannelHealth]:
        """Channel (NET.STA.LOC.CHA) -> what its signal is like."""
        time_ns = self.data_until_ns
        return self.signal.channels(lambda channel: self.station.response(channel, time_ns))

    @property
    def settings(self) -> Settings:
        """What `reconfigure` changes."""
        return self._setup.picking, self._setup.trigger

    def reconfigure(self, picking: PickingConfig, trigger: TriggerConfig) -> None:
        """Judge by other thresholds from the next stride on. Nothing is judged again or forgotten.

        Models are not changed by this.
        """
        self._setup = replace(self._setup, picking=picking, trigger=trigger)
        if self._stretch is not None:
            self._stretch.reconfigure(self._setup)

    @property
    def data_until_ns(self) -> int:
        """Up to where the samples have been judged; 0 before the first."""
        return self._stretch.data_until_ns if self._stretch else 0

    def feed(self, segment: Segment) -> list[Pick | Event]:
        """Take a segment; returns what is to be told after it, in order."""
        if not self._is_picked_on(segment):
            self.counters.ignored += 1
            return []
        self._newest = segment
        told: list[Pick | Event] = []
        strides = self.counters.strides
        self.unjudged_s += len(segment.samples) / segment.rate / len(self.components)
        if self._stretch is None:
            self._stretch = self._begin(segment)
        if not self._stretch.append(segment):
            told += self._stretch.finish()
            stepped = self._stretch.ends_in_step
            self.counters.restarts += 1
            self.counters.time_steps += stepped
            self._stretch = self._begin(segment, stepped)
            self._stretch.append(segment)
        told += self._stretch.advance()
        if self.counters.strides > strides:
            self.unjudged_s = 0.0
        return told

    def _is_picked_on(self, segment: Segment) -> bool:
        return segment.channel in self.components and segment.rate >= MIN_RATE

    def _begin(self, first: Segment, stepped: bool = False) -> Stretch:
        self.stretches += 1
        return Stretch(self._setup, first.start_ns, first.rate, stepped=stepped)

    @property
    def judged(self) -> int:
        """Samples of the stretch, at 100 Hz, that have been judged."""
        return self._stretch.judged if self._stretch else 0

    @property
    def reach(self) -> int:
        """Samples at 100 Hz that `resume` needs between two memories."""
        return self._stretch.reach + LAG if self._stretch else 0

    @property
    def has_begun(self) -> bool:
        """Whether there is a stretch, whose memory is needed so as to go on."""
        return self._stretch is not None

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
