"""AnyShake Explorer on a serial line: frames by GNSS time, or by the host's clock."""

from __future__ import annotations

import asyncio
import termios
from collections.abc import Awaitable, Callable, Iterator
from fractions import Fraction
from random import Random
from typing import NamedTuple, Protocol

import serial

from box.clock import Clock
from box.config import AnyShakeConfig
from box.host_clock import HostClock
from box.sources.anyshake_frames import SAMPLES_1, DeframerV1, DeframerV3, Frame
from box.sources.arrivals import ArrivalLine, CountedStamp, HostStamp
from box.sources.gate import TimeGate
from box.sources.live import LiveSource, SourceLost, Take
from ringbuffer.segment import NOTHING_KNOWN, NS, ClockState, Flag, Segment, samples_to_ns

_MS = 1_000_000
BITS_PER_BYTE = 10  # on the line: start, eight, stop
RESTART_MS = 5000  # a timestamp that leaps by so much, or goes back, is another start's
PLAUSIBLE_MS = range(946_684_800_000, 4_102_444_800_000)  # 2000 to 2100: else no GNSS time
# How late even the earliest arrivals may be, since a USB adapter collects bytes for up to 16 ms.
LATENCY_US = 10_000
GNSS_ERROR_US = (
    1000  # of a line through arrivals, as long as the clock that it was fitted to is good
)


class Stamped(NamedTuple):
    """Time of a frame's first samples (ns since 1970), the frame, and what is known of them."""

    start_ns: int
    frame: Frame
    flags: Flag
    clock: ClockState = NOTHING_KNOWN
    by_host: bool = False


def by_host(host: HostClock | None) -> ClockState:
    """Of a time that the host's clock has given on arrival."""
    state = NOTHING_KNOWN if host is None else host.state()
    error_us = None if state.error_us is None else state.error_us + LATENCY_US
    return state._replace(error_us=error_us)


class Stamper(Protocol):
    """Gives frames their times. A frame may have to wait until its time is known."""

    def stamp(self, frame: Frame, arrival_ns: int) -> Iterator[Stamped]: ...

    def flush(self) -> Iterator[Stamped]: ...


class StamperV3:
    """By the device's timestamps: as they are with GNSS, else through a line to the host's time.

    A frame is sent when its samples, one packet interval of them, are complete. Where GNSS was
    there and is lost, and the host's clock is not synchronised, that clock still tells how much
    time has passed: by how much it was off from GNSS is kept, until it is set.
    """

    def __init__(self, gate: TimeGate | None = None, begins: bool = False) -> None:
        """begins: GNSS times are of a frame's first samples, not of when it is sent."""
        self._gate = gate or TimeGate()
        self._begins = begins
        self._host: HostStamp[Frame] = HostStamp()
        self._last_ms: int | None = None  # of the device's own clock
        self._gnss = ArrivalLine()
        self._gnss_ns: int | None = None  # the last time by GNSS
        self._restarts = 0  # of the line to the host's time, when GNSS was lost

    def stamp(self, frame: Frame, arrival_ns: int) -> Iterator[Stamped]:
        sent_ns = frame.timestamp_ms * _MS + (_duration_ns(frame) if self._begins else 0)
        if frame.gnss and frame.timestamp_ms in PLAUSIBLE_MS and self._gate.is_plausible(sent_ns):
            yield from self._begin_anew()
            self._gnss.add(sent_ns, arrival_ns)
            self._gnss_ns = sent_ns
            yield Stamped(sent_ns - _duration_ns(frame), frame, Flag.NONE)
            return
        last_ms, now_ms = self._last_ms, frame.timestamp_ms
        if last_ms is not None and not last_ms <= now_ms < last_ms + RESTART_MS:
            yield from self._begin_anew()
            self._gnss_ns = None
        if self._last_ms is None:
            self._restarts = self._host.line.restarts
        self._last_ms = now_ms
        told = self._host.stamp(now_ms * _MS, arrival_ns, frame)
        yield from self._by_host(told, self._free_running())

    def flush(self) -> Iterator[Stamped]:
        return self._by_host(self._host.flush(), self._free_running())

    def _begin_anew(self) -> Iterator[Stamped]:
        if self._last_ms is not None:
            free = self._free_running()
            yield from self._by_host(self._host.restart(), free)
            self._last_ms = None

    def _by_host(
        self, sent: list[tuple[int, Frame]], free: tuple[int, ClockState] | None
    ) -> Iterator[Stamped]:
        ahead_ns, clock = free or (0, by_host(self._gate.host))
        for sent_ns, frame in sent:
            start_ns = sent_ns - ahead_ns - _duration_ns(frame)
            yield Stamped(start_ns, frame, Flag.CLOCK_UNLOCKED, clock, free is None)

    def _free_running(self) -> tuple[int, ClockState] | None:
        """By how much the host's clock is ahead of GNSS, and what is known of times that are told
        by that; None where there was no GNSS, or the host's clock is better."""
        gnss_ns, host = self._gnss_ns, self._gate.host
        if gnss_ns is None or not self._gnss.settled or (host is not None and host.synchronised):
            return None
        if self._host.line.restarts > self._restarts:  # it was set since
            return None
        arrival_ns = self._gnss.expected_ns(gnss_ns)
        assert arrival_ns is not None
        return arrival_ns - gnss_ns, ClockState(GNSS_ERROR_US, gnss_ns)


class StamperV1:
    """By the host's clock alone: frames of protocol 1 carry no time."""

    def __init__(self, rate: Fraction, host: HostClock | None = None) -> None:
        self._counted: CountedStamp[Frame] = CountedStamp(rate, SAMPLES_1)
        self._host = host

    def stamp(self, frame: Frame, arrival_ns: int) -> Iterator[Stamped]:
        return self._unlocked(self._counted.stamp(arrival_ns, frame, frame.after_loss))

    def flush(self) -> Iterator[Stamped]:
        return self._unlocked(self._counted.flush())

    def _unlocked(self, stamped: list[tuple[int, Frame]]) -> Iterator[Stamped]:
        for start_ns, frame in stamped:
            yield Stamped(start_ns, frame, Flag.CLOCK_UNLOCKED, by_host(self._host), True)


def _duration_ns(frame: Frame) -> int:
    count = len(next(iter(frame.samples.values())))
    return samples_to_ns(count, Fraction(frame.rate))


class AnyShakeSource(LiveSource):
    """One device. A line that is silent for `timeout_s` is closed and opened anew."""

    def __init__(
        self,
        config: AnyShakeConfig,
        station_id: str,
        clock: Clock,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ids = {
            number: f"{station_id}.{config.location}.{code}"
            for number, code in enumerate(config.channels, 1)
            if code
        }
        name = f"anyshake {config.device}"
        super().__init__(name, list(self._ids.values()), clock, random, sleep)
        self._config = config
        self._rate = Fraction(config.rate or 0).limit_denominator(1000)

    async def connection(self, take: Take) -> None:
        config = self._config
        try:
            line = serial.Serial(config.device, config.baud_rate, timeout=0, exclusive=True)
            line.reset_input_buffer()  # what lay there would seem to have come now
        except (termios.error, ValueError) as error:  # what is no terminal, or not that fast
            raise SourceLost(str(error.args[-1])) from None
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), line
        )
        stamper: Stamper = (
            StamperV3(self.gate) if config.protocol == 3 else StamperV1(self._rate, self.gate.host)
        )
        try:
            self.established()
            await self._listen(reader, stamper, take)
        finally:
            transport.close()
            self._hand_on(stamper.flush(), take)

    async def _listen(self, reader: asyncio.StreamReader, stamper: Stamper, take: Take) -> None:
        timeout_s, baud_rate = self._config.timeout_s, self._config.baud_rate
        deframer = (DeframerV3 if self._config.protocol == 3 else DeframerV1)(self.counters)
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    data = await reader.read(1 << 16)
            except TimeoutError:
                raise TimeoutError(f"silent for {timeout_s:g} s") from None
            arrival_ns = self._clock.now_ns()
            if not data:
                return
            self.counters.bytes += len(data)
            for frame in deframer.feed(data):
                transfer_ns = frame.size * BITS_PER_BYTE * NS // baud_rate
                self._hand_on(stamper.stamp(frame, arrival_ns - transfer_ns), take)
                await asyncio.sleep(0)  # what piled up leaves the others their turn

    def _hand_on(self, stamped: Iterator[Stamped], take: Take) -> None:
        for start_ns, frame, flags, clock, timed_by_host in stamped:
            rate = Fraction(frame.rate) or self._rate
            for number, channel in self._ids.items():
                if number in frame.samples:
                    samples = frame.samples[number]
                    segment = Segment(channel, start_ns, rate, samples, flags, clock)
                    self.deliver(segment, take, timed_by_host)
