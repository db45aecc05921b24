"""Up to where each station has been read from each SeedLink server, in a file of ours.

A sequence number means something on its own server only; on any other one, it is the time that
says where to go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

_log = logging.getLogger(__name__)
_SAME_NS = 1_000_000_000  # two ends that differ by less are the same
_REACH_NS = 120_000_000_000  # by so much at most is time gone back for a channel that lags


class _Position(msgspec.Struct):
    sequence: int | None  # None where time says better where to go on
    until_ns: dict[str, int]  # NET.STA.LOC.CHA -> end of its last sample


class _File(msgspec.Struct):
    servers: dict[str, dict[str, _Position]] = {}  # host:port -> NET.STA -> position


class Positions:
    """Positions of all servers, read at once and written atomically by `save`.

    A file that cannot be read is set aside: what is lost is the backlog of one outage.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _File()
        self._noted = 0  # changes so far
        self._written = 0  # how many of them are in the file
        self._writing = Lock()
        try:
            self._file = msgspec.json.decode(path.read_bytes(), type=_File)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s: %s: set aside", path, error)
            with suppress(OSError):
                path.replace(path.with_suffix(".corrupt"))

    def sequence(self, server: str, station_id: str) -> int | None:
        """The last sequence number that this very server has sent, None where it has not."""
        position = self._file.servers.get(server, {}).get(station_id)
        return None if position is None else position.sequence

    def since_ns(self, station_id: str) -> int | None:
        """Up to where all channels of a station have come, from whatever server."""
        ends: dict[str, int] = {}
        for stations in self._file.servers.values():
            if station_id in stations:
                for channel, end_ns in stations[station_id].until_ns.items():
                    ends[channel] = max(end_ns, ends.get(channel, 0))
        return max(min(ends.values()), max(ends.values()) - _REACH_NS) if ends else None

    def note(self, server: str, channel: str, sequence: int, end_ns: int) -> None:
        """A packet of a channel has been handed on."""
        stations = self._file.servers.setdefault(server, {})
        position = stations.setdefault(channel.rsplit(".", 2)[0], _Position(sequence, {}))
        position.sequence = sequence
        position.until_ns[channel] = end_ns
        self._noted += 1

    def go_back(self, held: Mapping[str, int]) -> None:
        """Where less is held than has been read, as after a power cut, go on from there, by time.

        held: channel -> end of its last sample that is held (ns)
        """
        for stations in self._file.servers.values():
            for position in stations.values():
                ends = position.until_ns
                less = {c: held[c] for c in ends if held.get(c, ends[c]) < ends[c] - _SAME_NS}
                if less:
                    ends.update(less)
                    position.sequence = None
                    self._noted += 1

    async def keep_saving(self, every_s: float) -> None:
        """Write, now and then, what has changed; the disk is waited for in a thread."""
        while True:
            await asyncio.sleep(every_s)
            content = msgspec.json.encode(self._file)
            try:
                await asyncio.to_thread(self._write, content, self._noted)
            except OSError as error:
                _log.warning("%s: %s", self._path, error.strerror)

    def save(self) -> None:
        """Write what has changed, now. Raises OSError."""
        self._write(msgspec.json.encode(self._file), self._noted)

    def _write(self, content: bytes, noted: int) -> None:
        """The file holds the old content or the new one, whenever the power fails."""
        with self._writing:
            if noted <= self._written:  # nothing new, or a later one has overtaken this
                return
            new = self._path.with_suffix(".new")
            with new.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            self._written = noted
