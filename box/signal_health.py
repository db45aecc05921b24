"""What a channel's signal is like, for health: figures, and its state with the time since when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from box.config import QualityConfig
from box.quality import MINUTE, Findings
from box.quarantine import Quarantine
from box.response import MIDDLE_HZ, Response
from ringbuffer.segment import NS
from uplink.packets import ChannelHealth

AVERAGE = 1 / MINUTE  # weight of a new second in offset and RMS
LINGER_NS = MINUTE * NS  # how long a state that comes in bursts is held
STATES = {  # the gravest first -> what it means
    "dead": "no signal: left out",
    "calibration": "left out",
    "spiking": "too many spikes: left out",
    "clipped": "amplitudes are lower bounds",
    "stepped": "mass recentring, or a calibration pulse",
    "offset": "near the converter's limit",
}


class ChannelRecord:
    """Keeps count of what the blocks of a channel show."""

    def __init__(self, config: QualityConfig) -> None:
        limit = config.full_scale_counts
        self._most = None if limit is None else config.offset_fraction * limit
        self._offset: float | None = None
        self._variance = 0.0
        self._newest_ns = 0
        self._seen: dict[str, tuple[int, int]] = {}  # state -> since when, and until
        self._blocks = self._dead = self._calibration = 0
        self._clipped = self._spikes = self._steps = 0

    def note(self, time_ns: int, found: Findings) -> None:
        """A block that begins at a time."""
        self._newest_ns = time_ns
        if self._offset is None:
            self._offset, self._variance = found.mean, found.variance
        self._offset += AVERAGE * (found.mean - self._offset)
        self._variance += AVERAGE * (found.variance - self._variance)
        if found.plain and self._most is None and not self._seen:  # as nearly always
            return
        self._dead += found.dead
        self._calibration += found.calibration
        self._clipped += found.clipped
        self._spikes += len(found.spikes)
        self._steps += len(found.steps)
        shown = {
            "dead": found.dead,
            "calibration": found.calibration,
            "spiking": found.spiking,
            "clipped": bool(found.clipped),
            "stepped": bool(found.steps),
            "offset": self._most is not None and abs(self._offset) > self._most,
        }
        for state, holds in shown.items():
            since_ns, until_ns = self._seen.get(state, (time_ns, 0))
            if holds:
                self._seen[state] = (since_ns, time_ns)
            elif until_ns and (
                state not in ("clipped", "stepped") or abs(time_ns - until_ns) >= LINGER_NS
            ):
                del self._seen[state]

    @property
    def state(self) -> tuple[str, int]:
        """The gravest, and since when; "good" and 0 where there is none."""
        for state in STATES:
            if state in self._seen:
                return state, self._seen[state][0]
        return "good", 0

    def health(self, response: Response | None) -> ChannelHealth:
        """response: of the instrument, for the RMS in m/s: that of a second about its mean, thus
        from 1 Hz on, by the gain at 5 Hz."""
        state, since_ns = self.state
        rms = self._variance**0.5
        return ChannelHealth(
            state=state,
            since_ns=since_ns,
            offset_counts=round(self._offset or 0.0, 1),
            rms_counts=round(rms, 2),
            rms_m_s=None if response is None else _velocity(rms, response),
            dead_s=self._dead,
            calibration_s=self._calibration,
            clipped_samples=self._clipped,
            spikes=self._spikes,
            steps=self._steps,
        )


class SignalHealth:
    """Of a station's channels, and of its picks."""

    def __init__(self, config: QualityConfig) -> None:
        self.config = config
        self.quarantine = Quarantine(config)
        self._records: dict[str, ChannelRecord] = {}

    def observer(self, channel: str) -> Callable[[int, Findings], None]:
        """What is to be shown the blocks of a channel."""
        return self._records.setdefault(channel, ChannelRecord(self.config)).note

    def channels(self, response: Callable[[str], Response | None]) -> dict[str, ChannelHealth]:
        """NET.STA.LOC.CHA -> its figures."""
        return {name: r.health(response(name)) for name, r in sorted(self._records.items())}

    @property
    def notes(self) -> list[str]:
        """A line for each channel that is not good, and one for the station in quarantine."""
        lines = []
        for channel, record in sorted(self._records.items()):
            state, since_ns = record.state
            if state in STATES:
                lines.append(f"{channel}: {state} since {_utc(since_ns)}: {STATES[state]}")
        if self.quarantine.active:
            since, reason = _utc(self.quarantine.since_ns), self.quarantine.reason
            lines.append(f"picks: in quarantine since {since}: {reason}")
        return lines


def _velocity(counts: float, response: Response) -> float:
    gain = abs(response.velocity_gain(np.array([MIDDLE_HZ]))[0])
    return float(f"{counts / gain:.3g}")


def _utc(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // NS, UTC):%Y-%m-%dT%H:%M:%SZ}"
