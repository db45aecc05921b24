"""How good the host's own clock is, by what the kernel and chrony say of it.

It times the samples of digitizers without a clock, and everything that leaves the box. The kernel
knows whether some daemon keeps it synchronised (adjtimex(2)); chrony, where it runs, knows how
well. Nothing here sets a clock.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import math
import os
import shutil
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from box.clock import NS, Clock
from ringbuffer.segment import NOTHING_KNOWN, ClockState
from uplink.packets import HostHealth

_log = logging.getLogger(__name__)
POLL_S = 60.0
POLL_UNTIL_S = 10.0  # until it is synchronised
PATIENCE_NS = 600 * NS
CHRONY_S = 5.0  # for an answer
# Before 2024-01-01 there was no such software: a host that thinks it is earlier has not been set.
EARLIEST_NS = 1_704_067_200 * NS
_STA_UNSYNC = 0x0040
# What the kernel is told as its error is the scatter of the offsets, or (by systemd-timesyncd)
# nothing: how unequal the ways to the server and back are shows in neither.
NETWORK_US = 10_000
_LOCAL_REFERENCE = "7F7F0101"  # chrony's own clock, where it has no other


class HostReading(NamedTuple):
    """What was said of the host's clock.

    error_us: estimated standard error; None where it is not synchronised
    by: "kernel" or "chrony"
    """

    synchronised: bool
    error_us: int | None
    by: str


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, up to what is read here; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),  # 0: nothing is set
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # µs
        ("esterror", ctypes.c_long),  # µs
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def read_kernel() -> HostReading | None:
    """Ask adjtimex(2); None where that is not allowed, as under systemd's ProtectClock."""
    timex = _Timex()
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):  # not Linux
        return None
    if answer < 0:
        _log.debug("adjtimex: %s", os.strerror(ctypes.get_errno()))
        return None
    return judge_kernel(timex.status, timex.esterror)


def judge_kernel(status: int, esterror_us: int) -> HostReading:
    if status & _STA_UNSYNC:
        return HostReading(False, None, "kernel")
    return HostReading(True, max(NETWORK_US, esterror_us), "kernel")


async def ask_chrony() -> HostReading | None:
    """What `chronyc -c tracking` says; None where there is no chrony, or no answer."""
    program = shutil.which("chronyc")
    if program is None:
        return None
    try:
        process = await asyncio.create_subprocess_exec(
            *(program, "-c", "-n", "tracking"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(CHRONY_S):
            output, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return parse_tracking(output.decode(errors="replace"))


def parse_tracking(output: str) -> HostReading | None:
    """A line of `chronyc -c tracking`; None for anything else.

    Its fields, from the last: leap status, update interval, root dispersion, root delay, skew,
    residual frequency, frequency, RMS offset, last offset, system time (all in s or ppm), time and
    stratum and id of the reference. The clock is off by |system time| + root dispersion + half the
    root delay at most (chronyc(1)); the standard deviation of what lies evenly within that is taken
    for its error.
    """
    fields = output.strip().split(",")
    if len(fields) < 13:
        return None
    try:
        offset_s, delay_s, dispersion_s = (float(fields[n]) for n in (-10, -4, -3))
        at_most_s = abs(offset_s) + dispersion_s + delay_s / 2
        error_us = round(at_most_s / math.sqrt(3) * 1e6)
    except (ValueError, OverflowError):
        return None
    if fields[-1] in ("Not synchronised", "3") or fields[0] == _LOCAL_REFERENCE:
        return HostReading(False, None, "chrony")
    return HostReading(True, min(max(0, error_us), 2**31), "chrony")


class HostClock:
    """The host's clock, and what was said of it of late. Is the clock of everything that leaves the
    box; where it has not been set, that is the time of the newest samples whose clock has.

    A computer without a battery wakes in 1970, or when it was last switched off: a clock that is
    behind what the box has written down before is only believed when somebody synchronises it, or
    when nobody has for `PATIENCE_NS`.

    clock: the host's itself
    reading: the latest; None before the first, and where nobody could be asked
    """

    def __init__(
        self,
        clock: Clock,
        kernel: Callable[[], HostReading | None] = read_kernel,
        chrony: Callable[[], Awaitable[HostReading | None]] = ask_chrony,
    ) -> None:
        self.clock = clock
        self._kernel = kernel
        self._chrony = chrony
        self._began_ns = clock.monotonic_ns()
        self._known_ns = EARLIEST_NS  # it is later than that
        self._told_ns = 0
        self.reading: HostReading | None = None
        self._locked = NOTHING_KNOWN  # as it was when it was synchronised last

    def now_ns(self) -> int:
        host_ns = self.clock.now_ns()
        return host_ns if self.is_set else max(host_ns, self._told_ns)

    def monotonic_ns(self) -> int:
        return self.clock.monotonic_ns()

    def told(self, time_ns: int) -> None:
        """A sample has come that was taken at a time, by a clock that is set."""
        self._told_ns = max(self._told_ns, time_ns)

    def not_before(self, time_ns: int) -> None:
        """It was later than that once."""
        self._known_ns = max(self._known_ns, time_ns)

    @property
    def is_set(self) -> bool:
        """Whether the host's clock is to be believed."""
        host_ns = self.clock.now_ns()
        if host_ns >= self._known_ns or host_ns < EARLIEST_NS:
            return host_ns >= EARLIEST_NS
        return self.synchronised or self.monotonic_ns() - self._began_ns > PATIENCE_NS

    @property
    def plausible(self) -> bool:
        """Whether it is known what time it is, by whatever clock."""
        return self.is_set or self._told_ns >= self._known_ns

    @property
    def synchronised(self) -> bool:
        """The host's clock itself."""
        reading = self.reading
        return reading is not None and reading.synchronised and self.clock.now_ns() >= EARLIEST_NS

    def state(self) -> ClockState:
        """Of samples that the host's clock times."""
        return self._locked

    async def poll(self) -> None:
        if self.reading is None:  # at once: to ask chrony takes its time
            self._take(self._kernel())
        self._take(await self._chrony() or self._kernel())

    def _take(self, reading: HostReading | None) -> None:
        was = self.synchronised
        self.reading = reading
        if reading is not None and self.synchronised:
            self._locked = ClockState(reading.error_us, self.clock.now_ns())
        if was != self.synchronised:
            _log.info("the host's clock is %ssynchronised", "not " if was else "")

    async def watch(self) -> None:
        """Ask for ever. A clock of which nobody knows anything is not synchronised."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_S if self.synchronised else POLL_UNTIL_S)

    async def until_plausible(self) -> None:
        """Wait until it is known what time it is."""
        if not self.plausible:
            _log.warning("the host's clock has not been set: nothing is published until it is")
        while not self.plausible:  # noqa: ASYNC110 - nobody tells of a clock being set
            await asyncio.sleep(1.0)

    def health(self) -> HostHealth:
        reading = self.reading
        return HostHealth(
            set=self.is_set,
            synchronised=None if reading is None else reading.synchronised,
            error_s=None if reading is None or reading.error_us is None else reading.error_us / 1e6,
            by="" if reading is None else reading.by,
        )

    @property
    def problems(self) -> list[str]:
        """What nobody can live with: that it is not synchronised is told by `health`."""
        if not self.is_set:
            return ["clock: the host's has not been set"]
        return []
