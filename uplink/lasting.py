"""An outbox that goes on in memory while its file cannot be written: a full or dying disk.

What waits is taken along, as far as the file can be read, and the limits hold as before. Every
`RETRY_S` it tries to go back. A process that ends meanwhile leaves the file as it was when the
trouble began: what was acknowledged since is sent twice, and what was put since the box tells
again from its ring, whose blocks were allocated beforehand.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from uplink.outbox import REMOVE_DAMAGED, SCHEMA, Outbox, OutboxError, Packet

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
RETRY_S = 30.0
ROOM = 1 << 20  # bytes that must be free, beside twice what waits, to try
_FIRST_SEQ = 1 << 40  # of packets in memory where the file's numbers are not known
_NOT_NOW = {
    sqlite3.SQLITE_ERROR,  # "unsupported file format", say
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}


class LastingOutbox(Outbox):
    """As `Outbox`, but what cannot be written to its file is kept in memory until it can.

    Raises OutboxError where the file is somebody else's, or its folder does not exist.
    """

    def __init__(
        self, path: Path, *, seconds: Callable[[], float] = time.monotonic, **limits: Any
    ) -> None:
        """seconds: a clock that only goes forward. limits: those of `Outbox`."""
        self._seconds = seconds
        self._trouble = ""
        self._knows_file = False  # memory has what is in the file
        self._retry_at = 0.0
        super().__init__(path, **limits)

    @property
    def problems(self) -> list[str]:
        if not self._trouble:
            return super().problems
        return [*super().problems, f"outbox: {self._trouble}; kept in memory"]

    @property
    def oldest_ns(self) -> int | None:
        return self._insist(lambda: super(LastingOutbox, self).oldest_ns)

    @property
    def position(self) -> int:
        return self._insist(lambda: super(LastingOutbox, self).position)

    def _select(self, where: str, value: int, limit: int) -> list[Packet]:
        return self._insist(lambda: super(LastingOutbox, self)._select(where, value, limit))

    def put(self, packets: Iterable[Packet], position: int = 0) -> list[int]:
        kept = list(packets)
        return self._insist(lambda: super(LastingOutbox, self).put(kept, position))

    def acknowledge(self, seqs: Iterable[int]) -> None:
        gone = list(seqs)
        self._insist(lambda: super(LastingOutbox, self).acknowledge(gone))

    def next_session(self, now_s: int) -> int:
        return self._insist(lambda: super(LastingOutbox, self).next_session(now_s))

    def close(self) -> None:
        if self._trouble:
            self._return()
        super().close()

    def _insist(self, what: Callable[[], _T]) -> _T:
        if self._trouble and self._seconds() >= self._retry_at:
            self._return()
        try:
            return what()
        except OutboxError as error:
            if self._trouble or error.code not in _NOT_NOW:
                raise
            self._retreat(str(error))
            return what()

    def _open_or_set_aside(self) -> sqlite3.Connection:
        try:
            return super()._open_or_set_aside()
        except OutboxError as error:
            full = error.code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
            if not full and not _is_read_only(self.path.parent):
                raise
            return self._begin_in_memory(str(error))
        except (OSError, sqlite3.Error) as error:  # a corrupt file could not be replaced
            return self._begin_in_memory(f"{self.path}: {error}")

    def _begin_in_memory(self, trouble: str) -> sqlite3.Connection:
        _log.warning("%s: going on in memory", trouble)
        self._trouble = trouble
        self._retry_at = self._seconds() + RETRY_S
        self._knows_file = False
        memory = sqlite3.connect(":memory:")
        memory.executescript(SCHEMA)
        memory.execute("INSERT INTO sqlite_sequence VALUES ('packet', ?)", (_FIRST_SEQ,))
        memory.commit()
        return memory

    def _retreat(self, trouble: str) -> None:
        """From the file to memory, with what can be read."""
        memory = self._begin_in_memory(trouble)
        with suppress(sqlite3.Error):
            _copy(self._db, memory)
            self._knows_file = True
        if not self._knows_file:  # damaged: what lies behind the damage, too
            with suppress(sqlite3.Error):
                _copy(self._db, memory, "DESC")
        with memory:
            self.damaged += memory.execute(REMOVE_DAMAGED).rowcount
        with suppress(sqlite3.Error):
            self._db.close()
        self._db = memory
        self._recount()

    def _return(self) -> None:
        """From memory to the file, if that can be written again."""
        self._retry_at = self._seconds() + RETRY_S
        try:
            if shutil.disk_usage(self.path.parent).free < 2 * self._bytes + ROOM:
                return
            file = super()._open_or_set_aside()
        except (OSError, OutboxError, sqlite3.Error):
            return
        try:
            with file:
                if self._knows_file:
                    file.execute("DELETE FROM packet")
                _copy(self._db, file)
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                file.close()
            return
        with closing(self._db):
            self._db = file
        _log.warning("%s: can be written again", self.path)
        self._trouble = ""
        self._recount()


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, order: str = "ASC") -> None:
    """All packets, under their numbers, and the greater one of each counter; up to where the source
    cannot be read."""
    columns = "seq, kind, topic, payload, created_ns, crc"
    packets = source.execute(f"SELECT {columns} FROM packet NOT INDEXED ORDER BY seq {order}")
    for packet in packets:
        target.execute(
            f"INSERT OR REPLACE INTO packet ({columns}) VALUES (?, ?, ?, ?, ?, ?)", packet
        )
    target.executemany(
        "INSERT INTO counter VALUES (?, ?) ON CONFLICT DO UPDATE"
        " SET value = max(value, excluded.value)",
        source.execute("SELECT name, value FROM counter").fetchall(),
    )


def _is_read_only(folder: Path) -> bool:
    """Whether its file system is, as Linux makes that of a card that fails."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False
