"""Remote configuration at work: hears documents, tries them, tells what became of them.

What only moves thresholds is applied where the box stands. For anything else the service is begun
anew within the process: pipelines go on from their journals, and whatever a source can give again
it gives again.

A daemon of several stations has one configuration; its documents go to the first of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from box.check import check_box
from box.clock import NS, Clock
from box.config import BoxConfig
from box.remote.models import get_models, tidy
from box.remote.state import Remote
from box.station_box import Box
from uplink.configuration import ConfigError
from uplink.remote import MOST_BYTES, Desired
from uplink.session import Subscription

STRIDES = 3  # seconds of samples that a station must judge under trial
ALIVE_NS = 60 * NS  # a station that has judged nothing for so long is not expected to
WARM_UP_NS = 15 * NS  # after the start, until it is clear who judges samples
CALM_NS = 3 * NS  # for an instant at which every pipeline can be noted
_log = logging.getLogger(__name__)
TICK_S, SOON_S = 1.0, 0.2  # between two looks; where something is going on


class Steward:
    """Of one run of the service, under one configuration."""

    def __init__(
        self, remote: Remote, config: BoxConfig, boxes: Mapping[str, Box], clock: Clock
    ) -> None:
        """config: that in force. To be made before the sessions are started."""
        self._remote, self._config, self._boxes, self._clock = remote, config, boxes, clock
        self._folder = Path(config.data_dir)
        self._station_id = config.stations[0].id
        self._session = boxes[self._station_id].session
        self._session.subscribe("config/desired", Subscription(self._hear, MOST_BYTES))
        self._inbox: deque[bytes] = deque(maxlen=10)
        self._wake = asyncio.Event()
        self._began_ns = clock.monotonic_ns()
        self._judged: dict[str, tuple[int, int]] = {}  # station -> strides, when they last grew
        self._baseline: dict[str, int] = {}  # strides at the beginning of the trial
        self._deadline_ns = 0  # of the trial

    def _hear(self, payload: bytes, retained: bool) -> None:
        if payload:  # what is retained no more is told as nothing
            self._inbox.append(payload)
            self._wake.set()

    def in_force(self) -> BoxConfig:
        """What the service is to run under."""
        return self._remote.effective()

    async def run(self) -> None:
        """Ends when the service is to be begun anew under what is in force then."""
        self._remote.runs = True
        if self._remote.on_trial is not None:
            self._remote.go_on()
            self._watch_trial()
        self._tell()
        while True:
            self._look()
            if await self._step():
                await self._calm()
                return
            await self._pause()

    async def _pause(self) -> None:
        if self._remote.on_trial is not None or self._inbox:
            await asyncio.sleep(SOON_S)
            return
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._wake.wait()

    async def _step(self) -> bool:
        """One decision, if there is one to make. True where the service has to begin anew."""
        if self._remote.reset_wanted():
            return self._apply()
        if self._remote.on_trial is not None:
            return self._judge()
        if self._inbox and self._knows_who_is_alive():
            return await self._follow(self._inbox.popleft())
        return False

    async def _follow(self, payload: bytes) -> bool:
        desired = self._remote.hear(payload, self._station_id)
        self._tell()
        if desired is None:
            return False
        try:
            problems = await self._problems(desired)
        except Exception as error:  # no document ends a box
            _log.exception("a document that cannot be checked")
            problems = [f"cannot be checked: {type(error).__name__}: {error}"]
        if problems:
            self._remote.refuse(problems)
        elif self._remote.begin(self._alive()):
            return self._apply()
        self._tell()
        return False

    async def _problems(self, desired: Desired) -> list[str]:
        """Everything that can be known before a document is tried."""
        try:
            config = self._remote.configuration(desired)
        except ConfigError as error:
            return error.problems
        if problems := await get_models(
            self._folder,
            desired.models,
            self._config.broker.address(),
            self._station_id,
            desired.trial_s,
        ):
            return problems
        return await asyncio.to_thread(check_box, config)

    def _apply(self) -> bool:
        """Put in force what is to be; True where the service has to begin anew for it."""
        config = self._remote.effective()
        if not _only_thresholds_differ(self._config, config):
            return True
        self._config = config
        for box in self._boxes.values():
            box.reconfigure(config.picking, config.trigger)
        if self._remote.on_trial is not None:
            self._watch_trial()
        self._tell()
        return False

    def _watch_trial(self) -> None:
        trial = self._remote.on_trial
        assert trial is not None
        self._baseline = {name: b.pipeline.counters.strides for name, b in self._boxes.items()}
        self._deadline_ns = self._clock.monotonic_ns() + round(trial.trial_s * NS)

    def _judge(self) -> bool:
        missing = self._missing()
        if not missing:
            self._remote.accept()
            tidy(self._folder, self._remote.models_in_use())
            self._tell()
        elif self._clock.monotonic_ns() >= self._deadline_ns:
            self._remote.revert(missing)
            return self._apply()
        return False

    def _missing(self) -> list[str]:
        """What the box still lacks under trial."""
        problems = []
        for box in self._boxes.values():
            connection = box.session.connection
            if not connection.up:
                problems.append(f"broker: {connection.trouble or 'no connection'}")
        for name in self._remote.memory.expected:
            one = self._boxes.get(name)
            if one is None or one.pipeline.counters.strides < self._baseline[name] + STRIDES:
                problems.append(f"source: {name} has no samples to judge")
        return list(dict.fromkeys(problems))

    def _look(self) -> None:
        now_ns = self._clock.monotonic_ns()
        for name, box in self._boxes.items():
            strides = box.pipeline.counters.strides
            if strides != self._judged.get(name, (0, 0))[0]:
                self._judged[name] = strides, now_ns

    def _alive(self) -> list[str]:
        now_ns = self._clock.monotonic_ns()
        return [name for name, (_, then) in self._judged.items() if now_ns - then < ALIVE_NS]

    def _knows_who_is_alive(self) -> bool:
        """A trial by which nobody is expected to judge samples proves little."""
        return len(self._alive()) == len(self._boxes) or (
            self._clock.monotonic_ns() - self._began_ns > WARM_UP_NS
        )

    async def _calm(self) -> None:
        """Until the pipelines can be handed over, or have had their time."""
        until_ns = self._clock.monotonic_ns() + CALM_NS
        while not all(box.can_be_noted for box in self._boxes.values()):
            if self._clock.monotonic_ns() >= until_ns:
                return
            await asyncio.sleep(0.01)

    def _tell(self) -> None:
        report = self._remote.report(self._config)
        self._session.state_retained("config/reported", msgspec.json.encode(report))


def _only_thresholds_differ(old: BoxConfig, new: BoxConfig) -> bool:
    replace, picking = msgspec.structs.replace, new.picking
    moved = replace(
        old.picking,
        merge=picking.merge,
        p_threshold=picking.p_threshold,
        s_threshold=picking.s_threshold,
    )
    return bool(replace(old, picking=moved, trigger=new.trigger) == new)
