"""What can still be read of a broken outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

_PACKETS = "SELECT seq, kind, topic, payload, created_ns, crc FROM packet ORDER BY seq"


def salvage(broken: Path, target: sqlite3.Connection) -> int:
    """Copy packets and counters of a broken outbox, that nobody uses, into an empty one.

    Packets are read from both ends, so that a damaged page costs what lies on it and no more. The
    file stays as it is. Returns the number of packets.
    """
    with suppress(sqlite3.Error):
        source = sqlite3.connect(f"file:{quote(str(broken))}?mode=ro", uri=True)
        source.text_factory = lambda raw: raw.decode(errors="replace")
        with closing(source), target:
            source.execute("PRAGMA writable_schema=ON")  # else a file cut short is not read at all
            for order in (_PACKETS, f"{_PACKETS} DESC"):
                for row in _readable(source, order):
                    target.execute("INSERT OR IGNORE INTO packet VALUES (?, ?, ?, ?, ?, ?)", row)
            for row in _readable(source, "SELECT name, value FROM counter"):
                if isinstance(row[0], str) and isinstance(row[1], int):
                    target.execute("INSERT OR IGNORE INTO counter VALUES (?, ?)", row)
    (count,) = target.execute("SELECT count(*) FROM packet").fetchone()
    return int(count)


def _readable(source: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Rows up to the first that cannot be read."""
    with suppress(sqlite3.Error, UnicodeDecodeError):
        yield from source.execute(query)
