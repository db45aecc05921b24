"""When the daemon deserves to live: the service manager's watchdog, fed by picking alone.

A loop that turns proves nothing: it may turn for years over a box that records nothing. So what
feeds is a second of samples that was judged. Two silences must be told apart:

* Samples come and none is judged: something in here is broken, and only a fresh process can mend
  it. It is not fed any more, as soon as `STALLED_S` of samples have gone unjudged (more than a
  window, its filters' warming up and the longest reordering take).
* No samples come: the digitizer is unplugged, or its server is away. To start anew every minute
  would mend nothing and take the time from what the box still can do: send its backlog, say in
  its health what it lacks, be configured. So it is fed for `silent_s`; then one restart is tried,
  since an adapter or a driver may have wedged behind a connection that looks alive. Where that
  has brought no samples either, it is the last one until some have come.

One station of many that stalls is a matter for health, not for a restart that takes the others
along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from box.clock import NS, Clock
from box.notify import Notifier
from box.pipeline import StationPipeline

STALLED_S = 120.0  # of samples per channel
SILENT = "no samples"  # how the trouble begins after which one restart is tried
LOOK_S = 30.0  # between two looks where nobody keeps watch


class Watchdog:
    """Judges whether picking goes on."""

    def __init__(
        self,
        pipelines: Callable[[], Sequence[StationPipeline]],
        clock: Clock,
        silent_s: float,
        patient: bool,
    ) -> None:
        """To be made once the pipelines have resumed where they were.

        pipelines: those that there are now. patient: the process before this one was restarted
        for silence, in vain so far.
        """
        self._pipelines = pipelines
        self._clock = clock
        self._silent_s = silent_s
        self._patient = patient
        self._judged = self._count()
        self._judged_ns = clock.monotonic_ns()

    def _count(self) -> int:
        return sum(pipeline.counters.strides for pipeline in self._pipelines())

    def look(self) -> str:
        """Why the daemon should be started anew; "" where it should not."""
        now_ns = self._clock.monotonic_ns()
        if (judged := self._count()) != self._judged:
            self._judged, self._judged_ns, self._patient = judged, now_ns, False
            return ""
        if names := self.stalled():
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            return f"samples come and none is judged: {', '.join(names[:3])}{more}"
        silent_s = (now_ns - self._judged_ns) // NS
        if silent_s >= self._silent_s and not self._patient:
            return f"{SILENT} for {silent_s} s"
        return ""

    def stalled(self) -> Sequence[str]:
        """Stations whose samples have come for so long without being judged."""
        return [p.station.station_id for p in self._pipelines() if p.unjudged_s > STALLED_S]


async def keep_watch(
    watchdog: Watchdog,
    notifier: Notifier,
    status: Callable[[], str],
    changed: Callable[[str], None],
) -> None:
    """Feed the manager's watchdog at half its patience for as long as the picking goes on.

    status: a line for people. changed: told when a reason to starve it appears and disappears.
    """
    before = ""
    while True:
        trouble = watchdog.look()
        if trouble:
            notifier.send(STATUS=f"to be restarted: {trouble}")
        else:
            notifier.send(WATCHDOG=1, STATUS=status())
        if bool(trouble) != bool(before):
            changed(trouble)
        before = trouble
        await asyncio.sleep((notifier.watchdog_s or 2 * LOOK_S) / 2)
