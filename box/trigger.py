"""The station's own event trigger: the ground is shaking here, from when until when."""

from __future__ import annotations

from dataclasses import dataclass, replace

from uplink.packets import Event


@dataclass(frozen=True, slots=True)
class TriggerState:
    on_ns: int
    peak: float  # highest detection level so far
    p_id: int = 0
    s_id: int = 0
    quiet_since_ns: int = 0  # 0 while the level is up


class Trigger:
    """On when the detection level reaches `on` or a P and an S were picked; off when the level
    has stayed below `off` for `off_after_s`, at the latest after `longest_s`.
    """

    def __init__(
        self, on: float = 0.5, off: float = 0.3, off_after_s: float = 5.0, longest_s: float = 300.0
    ) -> None:
        self.on, self.off = on, off
        self._off_after_ns = int(off_after_s * 1e9)
        self._longest_ns = int(longest_s * 1e9)
        self.state: TriggerState | None = None  # None: the ground is quiet

    def update(self, time_ns: int, level: float, p_id: int = 0, s_id: int = 0) -> Event | None:
        """One second of detection level (0..1, its maximum) ending at `time_ns`, and the newest
        P and S pick, 0 where there is none. Returns what is to be told, if anything.
        """
        state = self.state
        if state is None:
            if level >= self.on or (p_id and s_id):
                self.state = TriggerState(time_ns, level, p_id, s_id)
                return self._event(self.state, 0, 0)
            return None
        quiet = 0 if level >= self.off else state.quiet_since_ns or time_ns
        state = replace(
            state,
            peak=max(state.peak, level),
            p_id=state.p_id or p_id,
            s_id=state.s_id or s_id,
            quiet_since_ns=quiet,
        )
        over = quiet and time_ns - quiet >= self._off_after_ns
        if over or time_ns - state.on_ns >= self._longest_ns:
            self.state = None
            return self._event(state, 1, quiet or time_ns)
        self.state = state
        return None

    def finish(self, time_ns: int) -> Event | None:
        """The stream ends or breaks off here; so does an event that is on."""
        state, self.state = self.state, None
        return None if state is None else self._event(state, 1, state.quiet_since_ns or time_ns)

    @staticmethod
    def _event(state: TriggerState, revision: int, off_ns: int) -> Event:
        return Event(
            on_ns=state.on_ns,
            revision=revision,
            off_ns=off_ns,
            detection=round(100 * state.peak),
            p_id=state.p_id,
            s_id=state.s_id,
        )
