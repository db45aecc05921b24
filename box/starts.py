"""How often the daemon has been started, and how the one before this one ended."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import msgspec

_log = logging.getLogger(__name__)
RUNNING, STOPPED = "killed, or without power", "stopped"  # what an end is called that it was not


class _Note(msgspec.Struct, frozen=True):
    starts: int = 0
    unclean: int = 0  # ends that nobody had asked for
    end: str = STOPPED  # how the last one ended, or would have if it ended now


class Starts:
    """A note in the box's folder, written at each start and end. It survives what it counts.

    A note that cannot be read is begun anew, and one that cannot be written is done without: the
    box must run on a full disk.
    """

    def __init__(self, path: Path) -> None:
        """Count a start."""
        self._path = path
        before = _Note()
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            before = msgspec.json.decode(path.read_bytes(), type=_Note)
        self.last_end = before.end
        self.count = before.starts + 1
        self.unclean = before.unclean + (before.end != STOPPED)
        self.note(RUNNING)

    def note(self, end: str) -> None:
        """How it shall be called if the daemon ends from now on."""
        part = self._path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(_Note(self.count, self.unclean, end)))
            part.replace(self._path)
        except OSError as error:
            _log.warning("%s: %s", self._path, error.strerror or error)
