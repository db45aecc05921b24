"""What the computer and the daemon on it say of themselves in a health packet.

What cannot be found out is None: a virtual machine has no thermometer, another system no /proc.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from box.clock import NS, Clock
from box.lateness import Lateness
from box.starts import Starts
from uplink.packets import System

PROC, SYS = Path("/proc"), Path("/sys")
HEAT_C = (-60.0, 150.0)  # what a thermometer that is not broken may say


class SystemHealth:
    """Collects the system's part of health, for all stations of the daemon at once."""

    def __init__(
        self,
        clock: Clock,
        starts: Starts,
        folders: Iterable[Path],
        models: dict[str, str],
        engine: str,
        proc: Path = PROC,
        sys: Path = SYS,
    ) -> None:
        """folders: that are written to. models: name -> SHA-256. engine: that runs them."""
        self.lateness = Lateness()
        self.trouble = ""  # the newest of what the daemon does beside picking
        self._clock = clock
        self._began_ns = clock.monotonic_ns()
        self._starts = starts
        self._folders = list(dict.fromkeys(folders))
        self._models = models
        self._versions = versions(engine)
        self._proc = proc
        self._sys = sys

    def collect(self) -> System:
        """How things are now, and how late the loop was since this was asked the last time."""
        late = self.lateness.take()
        return System(
            uptime_s=(self._clock.monotonic_ns() - self._began_ns) // NS,
            starts=self._starts.count,
            unclean=self._starts.unclean,
            last_end=self._starts.last_end,
            trouble=self.trouble,
            resident_mb=resident_mb(self._proc),
            available_mb=available_mb(self._proc),
            free_mb={str(f): free for f in self._folders if (free := free_mb(f)) is not None},
            temperature_c=temperature_c(self._sys),
            load=load(self._proc),
            late_p50_ms=late and late.p50_ms,
            late_p99_ms=late and late.p99_ms,
            late_max_ms=late and late.max_ms,
            versions=self._versions,
            models=self._models,
        )


def versions(engine: str) -> dict[str, str]:
    """Of what decides over a pick. engine: the interpreter's distribution."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("diting-smart-box", "numpy", "scipy", engine):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def resident_mb(proc: Path = PROC) -> float | None:
    """Resident memory of this process: proc(5)."""
    return _kilobytes(proc / "self" / "status", "VmRSS")


def available_mb(proc: Path = PROC) -> float | None:
    """Memory that could be had without swapping: proc(5)."""
    return _kilobytes(proc / "meminfo", "MemAvailable")


def load(proc: Path = PROC) -> float | None:
    """Processes that ran or waited, as an average over the last minute."""
    with suppress(OSError, ValueError, IndexError):
        return float((proc / "loadavg").read_text().split()[0])
    return None


def temperature_c(sys: Path = SYS) -> float | None:
    """Of the hottest sensor that makes sense (millidegrees, in each thermal zone)."""
    found = []
    for zone in sorted((sys / "class" / "thermal").glob("thermal_zone*/temp")):
        with suppress(OSError, ValueError):  # a sensor may be asleep, and says so by an error
            found.append(int(zone.read_text()) / 1000)
    sensible = [heat for heat in found if HEAT_C[0] < heat < HEAT_C[1]]
    return round(max(sensible), 1) if sensible else None


def free_mb(folder: Path) -> int | None:
    """Space left to this user where a folder is, or is to be made."""
    for place in (folder, *folder.parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free >> 20
    return None


def _kilobytes(file: Path, name: str) -> float | None:
    """A line `name: N kB` of a file, in MB."""
    with suppress(OSError, ValueError, IndexError):
        for line in file.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return round(int(line.split()[1]) / 1024, 1)
    return None
