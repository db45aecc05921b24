"""Which packet goes next: what was just made first, then the backlog, and waveforms last of all.

- **Live**: packets made within the last `live_s`, by importance, then as they were made.
- **Backlog**: what is older, after an outage say. By importance, then the newest first, at most
  `backlog_per_s`, so that boxes that lost their broker together don't flood it together. Picks and
  events of it go to a topic of their own (`.../pick/backlog`): the packet is, to the bit, the one
  that would have gone when it was made, and whoever raises alarms does not listen there.
- **Waveforms**: one at a time, where nothing live waits, at most `waveform_bytes_per_s`.

None starves: a quarter of the places in flight belongs to backlog and waveforms alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from uplink.outbox import Kind, Outbox, Packet

_IMPORTANCE = (Kind.PICK, Kind.EVENT, Kind.HEALTH)
_ALARMING = (Kind.PICK, Kind.EVENT)


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon a packet counts as late, and how fast goes what is not urgent."""

    live_s: float = 30.0
    backlog_per_s: float = 10.0
    waveform_bytes_per_s: float = 4000.0


class TokenBucket:
    """Lets so much through in a second on average, and after a pause that of `burst_s` at once."""

    def __init__(self, rate: float, seconds: Callable[[], float], burst_s: float = 1.0) -> None:
        """rate: tokens per second. seconds: a clock that only goes forward."""
        self._rate = rate
        self._burst = rate * burst_s
        self._seconds = seconds
        self._level = self._burst
        self._then = seconds()

    def wait_s(self) -> float:
        """Until something may go, whatever its size: 0 where it may now."""
        now = self._seconds()
        self._level = min(self._burst, self._level + (now - self._then) * self._rate)
        self._then = now
        return 0.0 if self._level > 0 else max(0.001, -self._level / self._rate)

    def take(self, tokens: float) -> None:
        """What is taken beyond what is there has to be waited for afterwards."""
        self._level -= tokens


class Dispatcher:
    """Takes from an outbox what is to be sent next, and knows what is on its way."""

    def __init__(
        self,
        outbox: Outbox,
        pace: Pace,
        in_flight: int,
        now_ns: Callable[[], int],
        seconds: Callable[[], float],
    ) -> None:
        """in_flight: packets on their way at most, 2 or more. now_ns: the clock of the outbox's
        `created_ns`. seconds: that of the pace."""
        self.wait_s: float | None = None  # after which `take` may have more; None: when asked to
        self._outbox = outbox
        self._live_ns = round(pace.live_s * 1e9)
        self._now_ns = now_ns
        self._shared = max(1, in_flight // 4)  # places that nothing live takes
        self._places = in_flight - self._shared
        self._packets = TokenBucket(pace.backlog_per_s, seconds)
        self._bytes = TokenBucket(pace.waveform_bytes_per_s, seconds)
        self._live: set[int] = set()  # seq of what is on its way
        self._late: set[int] = set()
        self._waveform: set[int] = set()

    def restart(self) -> None:
        """Nothing is on its way any more."""
        for flying in (self._live, self._late, self._waveform):
            flying.clear()

    def landed(self, seqs: Iterable[int]) -> None:
        """These are not on their way any more."""
        for flying in (self._live, self._late, self._waveform):
            flying.difference_update(seqs)

    def take(self, ending: bool = False) -> list[Packet]:
        """What is to be sent now; ending: without beginning a waveform. Raises OutboxError."""
        self.wait_s = None
        since_ns = self._now_ns() - self._live_ns
        chosen, more = self._take_live(since_ns)
        chosen += self._take_backlog(since_ns)
        if not (more or ending):
            chosen += self._take_waveform()
        return chosen

    def _take_live(self, since_ns: int) -> tuple[list[Packet], bool]:
        """And whether there is more of it."""
        chosen: list[Packet] = []
        for kind in _IMPORTANCE:
            room = self._places - len(self._live)
            waiting = self._outbox.live(kind, since_ns, room + len(self._live) + 1)
            new = [p for p in waiting if p.seq not in self._live and p.seq not in self._late]
            chosen += new[:room]
            self._live.update(p.seq for p in new[:room])
            if len(new) > room:
                return chosen, True
        return chosen, False

    def _take_backlog(self, since_ns: int) -> list[Packet]:
        chosen: list[Packet] = []
        for kind in _IMPORTANCE:
            limit = self._shared + len(self._late) + len(self._live)
            for packet in self._outbox.backlog(kind, since_ns, limit):
                if packet.seq in self._late or packet.seq in self._live:
                    continue
                if len(self._late) + len(self._waveform) >= self._shared:
                    return chosen
                if wait_s := self._packets.wait_s():
                    self._wait(wait_s)
                    return chosen
                self._packets.take(1)
                self._late.add(packet.seq)
                chosen.append(late(packet))
        return chosen

    def _take_waveform(self) -> list[Packet]:
        if self._waveform or len(self._late) >= self._shared:
            return []
        chosen = self._outbox.live(Kind.WAVEFORM, 0, 1)
        if chosen and (wait_s := self._bytes.wait_s()):
            self._wait(wait_s)
            return []
        for packet in chosen:
            self._bytes.take(len(packet.payload))
            self._waveform.add(packet.seq)
        return chosen

    def _wait(self, wait_s: float) -> None:
        self.wait_s = wait_s if self.wait_s is None else min(wait_s, self.wait_s)


def late(packet: Packet) -> Packet:
    """As it goes when it is too late for an alarm."""
    if packet.kind not in _ALARMING:
        return packet
    return replace(packet, topic=f"{packet.topic}/backlog")
