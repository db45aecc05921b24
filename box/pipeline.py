"""One station's way from segments to picks: condition, infer, vote, pick, measure, trigger.

Driven by the samples alone, never by a clock: the same segments in the same order give the same
packets, to the bit, however fast they come.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from box.channels import BREAKS, ChannelFeed, choose_channels
from box.config import ClockConfig, PickingConfig, TriggerConfig
from box.measure import Ruler
from box.picks import Onset, OnsetTracker
from box.stations import Station
from box.trace import ConditionedTrace
from box.trigger import Trigger
from box.vote import STRIDE, Vote
from models.conditioning import RATE
from models.fmp import FirstMotion
from models.magnitude import StationMagnitude
from models.picker import Picker
from ringbuffer.segment import NS, Flag, Segment
from uplink.packets import Event, Phase, Pick, PickFlag

KEPT = 90 * RATE  # conditioned samples at hand: a window, and the records of its oldest picks
EDGE = RATE // 2  # samples on either side of a hole in which nothing is picked
MIN_REAL = 5 * RATE  # samples of a window that must be real for it to be judged
NEAR = 3 * RATE  # samples from a hole within which a pick says so
LONGEST_S_MINUS_P = 30 * RATE
DETECTION_AGE = 2  # seconds: the detection level is that of the third vote

_CARRIED = {  # what is known of the samples -> what a pick says of itself
    Flag.CLOCK_UNLOCKED: PickFlag.CLOCK_UNLOCKED,
    Flag.TIME_QUESTIONABLE: PickFlag.CLOCK_UNLOCKED,
    Flag.CLIPPED: PickFlag.CLIPPED,
    Flag.HISTORICAL: PickFlag.HISTORICAL,
}


@dataclass(slots=True)
class Models:
    """The three models, loaded once for all stations of a process."""

    picker: Picker
    first_motion: FirstMotion
    magnitude: StationMagnitude

    def hashes(self) -> dict[str, str]:
        """Name -> SHA-256 of each artefact."""
        cards = (self.picker.card, self.first_motion.card, self.magnitude.card)
        return {card.name: card.sha256 for card in cards}


@dataclass(slots=True)
class Counters:
    """What a pipeline has done, for health and summary."""

    strides: int = 0
    windows: int = 0  # strides that had enough real samples to be judged
    picks: int = 0
    revisions: int = 0
    retracted: int = 0
    restarts: int = 0  # time steps and long holes, each of which starts the votes afresh
    ignored: int = 0  # segments of channels that are not picked on

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class _Told:
    """An onset and what has been told of it."""

    onset: Onset
    id: int
    sent: Pick | None = None


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
        self._names = {
            component: channel.split(".", 2)[2] for channel, component in self.components.items()
        }
        self.counters = Counters()
        self._ring_s, self._reorder_s = ring_s, reorder_s
        self._patience = round((reorder_s + 1) * RATE)  # how long others wait for a lame channel
        self._models = models
        self._clock = clock
        card = models.picker.card
        self._window = card.inputs[0].shape[1]
        self._outputs = list(card.outputs[0].labels)
        self._vote = Vote(self._window, len(self._outputs), picking.merge)
        self._detection = self._outputs.index("detection")
        self._thresholds: dict[Phase, float] = {
            "P": picking.p_threshold or models.picker.thresholds["P"],
            "S": picking.s_threshold or models.picker.thresholds["S"],
        }
        self._trigger = Trigger(trigger.on, trigger.off, trigger.off_after_s, trigger.longest_s)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._feeds: dict[str, ChannelFeed] = {}
        self._trace: ConditionedTrace | None = None
        self._ruler: Ruler | None = None
        self._judged = 0  # grid index up to which the samples have been through a window
        self._vote.reset()
        self._trackers = [
            OnsetTracker(phase, self._outputs.index(phase), level, self._vote)
            for phase, level in self._thresholds.items()
        ]
        self._told: dict[Onset, _Told] = {}

    @property
    def data_until_ns(self) -> int:
        """Up to where the samples have been judged; 0 before the first stride."""
        return self._trace.time_ns(self._judged) if self._trace and self._judged else 0

    def feed(self, segment: Segment) -> list[Pick | Event]:
        """Take a segment; returns what is to be told after it, in order."""
        component = self.components.get(segment.channel)
        if component is None:
            self.counters.ignored += 1
            return []
        told: list[Pick | Event] = []
        feed = self._feeds.get(segment.channel)
        if feed is not None and (self._is_far(segment) or feed.append(segment) & BREAKS):
            told += self.flush()
            self.counters.restarts += 1
            self._start_afresh()
            feed = None
        if self._trace is None:
            self._trace = ConditionedTrace(segment.start_ns, KEPT)
            self._ruler = Ruler(
                self.station,
                self.components,
                segment.start_ns,
                self._models.first_motion,
                self._models.magnitude,
            )
        if feed is None:
            feed = ChannelFeed(segment, component, self._ring_s, self._reorder_s)
            self._feeds[segment.channel] = feed
        feed.pump(self._trace)
        while self._judged + STRIDE <= self._ready_until():
            self._judged += STRIDE
            told += self._stride(self._judged)
        return told

    def flush(self) -> list[Pick | Event]:
        """The stream has ended: settle what is open."""
        open_onsets = [onset for tracker in self._trackers for onset in tracker.drop_all()]
        return self._tell(open_onsets)

    def _is_far(self, segment: Segment) -> bool:
        """Whether a hole is longer than what is kept: nothing connects its two sides."""
        assert self._trace is not None
        return self._trace.index_of(segment.start_ns) - max(self._trace.ends) > KEPT - self._window

    def _ready_until(self) -> int:
        """Index up to which every component has come, but for those that lag too far behind."""
        assert self._trace is not None
        ends = [self._trace.ends[feed.component] for feed in self._feeds.values()]
        newest = max(ends)
        waited_for = min(end for end in ends if end >= newest - self._patience)
        if len(self._feeds) < len(self.components):  # one has not come yet: give it the same time
            waited_for = min(waited_for, newest - self._patience)
        return waited_for

    def _stride(self, end: int) -> list[Pick | Event]:
        trace = self._trace
        assert trace is not None
        self.counters.strides += 1
        values, real = trace.window(end, self._window)
        probabilities = self._judge(values, real)
        self._vote.add(end // STRIDE - 1, probabilities)
        told: list[Pick | Event] = []
        for tracker in self._trackers:
            told += self._tell(tracker.update())
        told += self._pull_trigger(end)
        return told

    def _judge(self, values: NDArray[np.float32], real: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Probabilities of a window; zero beside holes, and where a filter warms up."""
        present = real.any(axis=0)
        whole = real[:, present].all(axis=1)
        if int(whole.sum()) < MIN_REAL:
            return np.zeros((len(values), len(self._outputs)), np.float32)
        self.counters.windows += 1
        probabilities = self._models.picker.probabilities(values)
        if not whole.all():
            doubtful = np.convolve(~whole, np.ones(2 * EDGE + 1), "same") > 0.5
            probabilities = np.where(doubtful[:, None], np.float32(0), probabilities)
        return probabilities

    def _tell(self, onsets: list[Onset]) -> list[Pick | Event]:
        """Packets for the onsets of which there is something new to say."""
        told: list[Pick | Event] = []
        for onset in onsets:
            record = self._told.get(onset)
            if record is None:
                assert self._trace is not None
                record = _Told(onset, self._trace.time_ns(onset.first_index))
                self._told[onset] = record
            pick = self._describe(record)
            if record.sent is None or _is_news(record.sent, pick):
                revision = 0 if record.sent is None else record.sent.revision + 1
                record.sent = msgspec.structs.replace(pick, revision=revision)
                self._count(record.sent)
                told.append(record.sent)
            if onset.settled or onset.retracted:
                del self._told[onset]
        return told

    def _count(self, pick: Pick) -> None:
        self.counters.picks += pick.revision == 0
        self.counters.revisions += pick.revision > 0
        self.counters.retracted += PickFlag.RETRACTED in pick.flags

    def _describe(self, record: _Told) -> Pick:
        onset, trace, ruler = record.onset, self._trace, self._ruler
        assert trace is not None
        assert ruler is not None
        time_ns = trace.time_ns(onset.index)
        known = self._flags_around(time_ns)
        flags = self._state(onset, trace)
        for flag, carried in _CARRIED.items():
            flags |= carried if flag in known else PickFlag.NONE
        measured = ruler.measure(onset, trace, *self._context(onset, trace))
        if measured.amplitude_m_s is None and not ruler.has_response:
            flags |= PickFlag.NO_RESPONSE
        locked = PickFlag.CLOCK_UNLOCKED not in flags
        component = measured.component
        return Pick(
            id=record.id,
            phase=onset.phase,
            time_ns=time_ns,
            probability=onset.probability,
            spread=onset.spread,
            polarity=measured.polarity,
            polarity_probability=measured.polarity_probability,
            amplitude_m_s=measured.amplitude_m_s,
            magnitude=measured.magnitude,
            magnitude_error=measured.magnitude_error,
            clock_uncertainty_s=(
                self._clock.locked_uncertainty_s if locked else self._clock.unlocked_uncertainty_s
            ),
            channel=self._names.get(component, ""),
            flags=flags,
        )

    def _state(self, onset: Onset, trace: ConditionedTrace) -> PickFlag:
        flags = PickFlag.NONE
        if onset.retracted:
            flags |= PickFlag.RETRACTED
        elif not onset.settled:
            flags |= PickFlag.PROVISIONAL
        around = trace.real_around(onset.index, NEAR, self._judged)
        present = around.any(axis=0)
        if not present.all():
            flags |= PickFlag.INCOMPLETE
        if not around[:, present].all():
            flags |= PickFlag.NEAR_GAP
        return flags

    def _flags_around(self, time_ns: int) -> Flag:
        flags = Flag.NONE
        for feed in self._feeds.values():
            flags |= feed.flags_between(time_ns - NS, time_ns + 3 * NS)
        return flags

    def _context(self, onset: Onset, trace: ConditionedTrace) -> tuple[float | None, int]:
        """S−P time in seconds, where the next onset is an S, and up to where the record is this
        earthquake's alone: the next P, or what there is.
        """
        later = sorted(
            (o for o in self._told if o.index > onset.index and not o.retracted),
            key=lambda o: o.index,
        )
        next_p = next((o for o in later if o.phase == "P"), None)
        until = self._judged if next_p is None else int(next_p.index)
        if onset.phase == "P" and later and later[0].phase == "S":
            s_minus_p = later[0].index - onset.index
            if s_minus_p <= LONGEST_S_MINUS_P:
                return s_minus_p / RATE, until
        return None, until

    def _pull_trigger(self, end: int) -> list[Pick | Event]:
        assert self._trace is not None
        block = end // STRIDE - 1 - DETECTION_AGE
        if block < 0:
            return []
        level = float(self._vote.merged(block, self._detection).max())
        p_id, s_id = (
            max(
                (r.id for o, r in self._told.items() if o.phase == phase and o.block >= block),
                default=0,
            )
            for phase in ("P", "S")
        )
        event = self._trigger.update(self._trace.time_ns((block + 1) * STRIDE), level, p_id, s_id)
        return [] if event is None else [event]


def _is_news(sent: Pick, now: Pick) -> bool:
    """Whether a pick has changed by enough to be worth a packet."""
    return (
        sent.flags != now.flags
        or abs(sent.time_ns - now.time_ns) >= 20_000_000
        or abs(sent.probability - now.probability) >= 0.15
        or sent.polarity != now.polarity
        or _differ(sent.magnitude, now.magnitude, 0.1)
    )


def _differ(a: float | None, b: float | None, tolerance: float) -> bool:
    return (a is None) != (b is None) or (
        a is not None and b is not None and abs(a - b) >= tolerance
    )
