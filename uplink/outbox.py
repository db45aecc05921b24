"""The durable queue between a box and its broker: a packet leaves it only when acknowledged.

One SQLite file per box, in WAL mode with `synchronous=NORMAL`. A packet whose `put` has returned
survives a crash of the program (`kill -9` included). A power cut can take the last seconds that the
kernel had not written back yet (30 s at Linux's default), never the file's integrity: a sync per
commit would buy these seconds with the life of the SD card, and a box that starts again picks
again what its ring still holds. A power cut can also bring back packets that were acknowledged:
they are sent twice, and the cloud knows them by their id.

**Limits**: `max_packets`, `max_bytes` of payload, and an age for each kind (`Ages`).

- At a limit in packets or bytes the least important kind goes first, its oldest packet first:
  waveforms, then health, then events, then picks (`dropped`).
- A packet older than its kind may become goes too (`expired`): health before picks again, whose
  age is a year. Age counts from the packet that was put last, not from a clock, and no `put` takes
  away more than `EXPIRE_AT_ONCE` packets: a clock that is wrong for a moment empties nothing.

**Order**: `live` gives what was just made, by importance and then as it was made; `backlog` what
has waited, by importance and then the newest first, since after an outage the last hour matters
more than the first one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from uplink.salvage import salvage

SCHEMA = """
CREATE TABLE IF NOT EXISTS packet (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    created_ns INTEGER NOT NULL,
    crc INTEGER  -- of all that is above, but for seq
);
DROP INDEX IF EXISTS least_important;  -- of an outbox of before there were ages
CREATE INDEX IF NOT EXISTS importance ON packet (kind DESC, created_ns);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


# A flipped bit can leave a database whole and a row nonsense, which would end each connection.
REMOVE_DAMAGED = """
DELETE FROM packet WHERE kind NOT BETWEEN 0 AND 3 OR typeof(kind) != 'integer'
    OR typeof(created_ns) != 'integer' OR typeof(payload) != 'blob'
    OR typeof(topic) != 'text' OR topic GLOB '*[^!-~]*' OR topic GLOB '*[+#]*' OR topic = ''
    OR instr(topic, char(0))
"""
EXPIRE_AT_ONCE = 10  # packets of a kind
ANSWERS = 1000
_DAY_NS = 86_400_000_000_000


class OutboxError(RuntimeError):
    """The outbox cannot be used: one line with the file and the reason.

    code: SQLite's result code
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code & 0xFF  # without what extends it


class Kind(IntEnum):
    """What a packet is, the most important first."""

    PICK = 0
    EVENT = 1
    HEALTH = 2
    WAVEFORM = 3


class Ages(NamedTuple):
    """How many days a packet is kept that nobody takes over, by kind."""

    pick: float = 365.0
    event: float = 90.0
    health: float = 7.0
    waveform: float = 1.0


@dataclass(frozen=True, slots=True)
class Packet:
    """One message on its way to the broker."""

    topic: str
    payload: bytes
    kind: Kind = Kind.PICK
    created_ns: int = 0  # arrival of the sample that made it
    seq: int = 0  # place in the queue, given by the outbox
    answers: str = ""  # id of the request that it answers, which is remembered for long


class Outbox:
    """Packets that are to be sent. Calls take some 50 µs: fit for an event loop.

    A file that is not a database any more is moved aside to `NAME.corrupt` (the last one is kept)
    and the queue starts with what could be read of it: `set_aside` says so. A second process on the
    same file is refused.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_packets: int = 100_000,
        max_bytes: int = 16 << 20,
        ages: Ages = Ages(),  # noqa: B008 - it cannot be changed
    ) -> None:
        """Open or create the file. Raises OutboxError."""
        self.path = path
        self.dropped = 0  # packets lost to the limits since opening
        self.expired = 0  # packets that nobody took over in time, since opening
        self.damaged = 0  # packets in the file that could not have been sent
        self.salvaged = 0  # packets of a file that was set aside
        self.set_aside: Path | None = None
        self._count = self._bytes = 0
        self._limits = (max_packets, max_bytes)
        self._ages_ns = [int(days * _DAY_NS) for days in ages]
        self._counts = [0] * len(Kind)
        self._db = self._open_or_set_aside()
        with self._transaction():
            self._recount()

    def __len__(self) -> int:
        return self._count

    @property
    def problems(self) -> list[str]:
        """What was wrong with the file when it was opened, a line each."""
        lines = []
        if self.set_aside is not None:
            what = f"set aside as {self.set_aside.name}, {self.salvaged} packets were saved"
            lines.append(f"outbox: {self.path}: unusable, {what}")
        if self.damaged:
            lines.append(f"outbox: {self.path}: {self.damaged} packets were damaged")
        return lines

    def count(self, kind: Kind) -> int:
        """Packets of a kind."""
        return self._counts[kind]

    @property
    def size(self) -> int:
        """Bytes of all payloads."""
        return self._bytes

    @property
    def oldest_ns(self) -> int | None:
        """When the packet that was put first was made. Raises OutboxError."""
        with self._transaction():
            row = self._db.execute("SELECT created_ns FROM packet ORDER BY seq LIMIT 1").fetchone()
        return row[0] if row else None

    @property
    def position(self) -> int:
        """The greatest `position` of all that was put, 0 at first. Raises OutboxError."""
        with self._transaction():
            row = self._db.execute("SELECT value FROM counter WHERE name = 'position'").fetchone()
        return row[0] if row else 0

    def put(self, packets: Iterable[Packet], position: int = 0) -> list[int]:
        """Keep packets, in one transaction. Returns their `seq`. Raises OutboxError.

        position: place in the box's ring of the samples from which they came.
        """
        seqs = []
        now_ns = 0
        with self._transaction():
            if position:
                self._db.execute(
                    "INSERT INTO counter VALUES ('position', ?) ON CONFLICT DO UPDATE"
                    " SET value = max(value, excluded.value)",
                    (position,),
                )
            for p in packets:
                cursor = self._db.execute(
                    "INSERT INTO packet (kind, topic, payload, created_ns, crc)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (p.kind, p.topic, p.payload, p.created_ns, _checksum(p)),
                )
                seqs.append(cursor.lastrowid or 0)
                if p.answers:
                    self._remember(p.answers, seqs[-1])
                self._counts[p.kind] += 1
                self._count += 1
                self._bytes += len(p.payload)
                now_ns = max(now_ns, p.created_ns)
            self._expire(now_ns)
            self._keep_limits()
        return seqs

    def answered(self, request: str) -> bool:
        """Whether this request is one of the last `ANSWERS` that were answered."""
        with self._transaction():
            row = self._db.execute("SELECT 1 FROM counter WHERE name = ?", (f"answered {request}",))
            return row.fetchone() is not None

    def _remember(self, request: str, seq: int) -> None:
        new = self._db.execute(
            "INSERT OR IGNORE INTO counter VALUES (?, ?)", (f"answered {request}", seq)
        )
        if new.rowcount > 0:
            self._db.execute(
                "DELETE FROM counter WHERE name GLOB 'answered *' AND value <= (SELECT value"
                " FROM counter WHERE name GLOB 'answered *' ORDER BY value DESC LIMIT 1 OFFSET ?)",
                (ANSWERS,),
            )

    def pending(self, after: int = 0, limit: int = 100) -> list[Packet]:
        """The packets put after `after`, in order. Raises OutboxError."""
        return self._select("seq > ? ORDER BY seq", after, limit)

    def live(self, kind: Kind, since_ns: int, limit: int) -> list[Packet]:
        """Packets of a kind that were made since then, the oldest first. Raises OutboxError."""
        if not self._counts[kind]:
            return []
        return self._select(
            f"kind = {kind:d} AND created_ns >= ? ORDER BY created_ns, seq", since_ns, limit
        )

    def backlog(self, kind: Kind, before_ns: int, limit: int) -> list[Packet]:
        """Packets of a kind that were made before, the newest first. Raises OutboxError."""
        if not self._counts[kind]:
            return []
        return self._select(
            f"kind = {kind:d} AND created_ns < ? ORDER BY created_ns DESC, seq DESC",
            before_ns,
            limit,
        )

    def _select(self, where: str, value: int, limit: int) -> list[Packet]:
        with self._transaction():
            rows = self._db.execute(
                "SELECT crc, topic, payload, kind, created_ns, seq FROM packet"
                f" WHERE {where} LIMIT ?",
                (value, limit),
            ).fetchall()
            found = [
                (crc, Packet(t, data, Kind(kind), ns, seq)) for crc, t, data, kind, ns, seq in rows
            ]
            good = [p for crc, p in found if crc is None or crc == _checksum(p)]
            if len(good) < len(found):  # a flipped bit would be another pick
                kept = {p.seq for p in good}
                self.damaged += self._delete([p.seq for _, p in found if p.seq not in kept])
        return good

    def acknowledge(self, seqs: Iterable[int]) -> None:
        """Forget packets that the broker has taken over. Raises OutboxError."""
        with self._transaction():
            self._delete(seqs)

    def next_session(self, now_s: int) -> int:
        """A number greater than any before; the clock gives it where the file was lost."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO counter VALUES ('session', ?) ON CONFLICT DO UPDATE"
                " SET value = max(value + 1, excluded.value)",
                (now_s,),
            )
            (number,) = self._db.execute(
                "SELECT value FROM counter WHERE name = 'session'"
            ).fetchone()
        return int(number)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._db:
                yield
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._recount()
            raise OutboxError(f"{self.path}: {error}", _code(error)) from None
        except UnicodeDecodeError:  # SQLite quotes what is damaged
            raise OutboxError(f"{self.path}: is damaged", sqlite3.SQLITE_CORRUPT) from None

    def _recount(self) -> None:
        rows = self._db.execute(
            "SELECT kind, count(*), sum(length(payload)) FROM packet GROUP BY kind"
        ).fetchall()
        self._counts = [0] * len(Kind)
        for kind, count, _ in rows:
            self._counts[kind] = count
        self._count = sum(self._counts)
        self._bytes = sum(size for _, _, size in rows)

    def _open_or_set_aside(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            unusable = not isinstance(error, sqlite3.OperationalError)
            if not unusable and _code(error) != sqlite3.SQLITE_ERROR:
                # locked, no such folder, read-only, disk full
                raise OutboxError(f"{self.path}: {error}", _code(error)) from None
            self.set_aside = self._move_aside()
            db = self._open()
            self.salvaged = salvage(self.set_aside, db)
            for suffix in ("-wal", "-shm"):
                self.set_aside.with_name(self.set_aside.name + suffix).unlink(missing_ok=True)
            self._remove_damaged(db)
            return db

    def _remove_damaged(self, db: sqlite3.Connection) -> None:
        with db:
            self.damaged += db.execute(REMOVE_DAMAGED).rowcount

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=0)
        db.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            db.executescript(SCHEMA)
            if "crc" not in {column[1] for column in db.execute("PRAGMA table_info(packet)")}:
                db.execute("ALTER TABLE packet ADD COLUMN crc INTEGER")  # of an earlier version
            (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                db.execute("REINDEX")
            self._remove_damaged(db)
        except UnicodeDecodeError:  # SQLite quotes a damaged schema
            db.close()
            raise sqlite3.DatabaseError("database schema is malformed") from None
        except BaseException:
            db.close()
            raise
        return db

    def _move_aside(self) -> Path:
        """With its log, in which the newest packets are."""
        aside = self.path.with_name(self.path.name + ".corrupt")
        for suffix in ("-wal", "-shm"):
            aside.with_name(aside.name + suffix).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                log = self.path.with_name(self.path.name + suffix)
                log.replace(aside.with_name(aside.name + suffix))
        return self.path.replace(aside)

    def _expire(self, now_ns: int) -> None:
        for kind, age_ns in zip(Kind, self._ages_ns, strict=True):
            if self._counts[kind]:
                old = self._db.execute(
                    "SELECT seq FROM packet WHERE kind = ? AND created_ns < ?"
                    " ORDER BY created_ns LIMIT ?",
                    (kind, now_ns - age_ns, EXPIRE_AT_ONCE),
                ).fetchall()
                self.expired += self._delete([seq for (seq,) in old])

    def _keep_limits(self) -> None:
        max_packets, max_bytes = self._limits
        while self._count > max_packets or self._bytes > max_bytes:
            victims = self._db.execute(
                "SELECT seq FROM packet ORDER BY kind DESC, created_ns, seq LIMIT ?",
                (max(1, self._count - max_packets),),
            ).fetchall()
            self.dropped += self._delete([seq for (seq,) in victims])

    def _delete(self, seqs: Iterable[int]) -> int:
        before = self._count
        for seq in seqs:
            row = self._db.execute("SELECT kind, length(payload) FROM packet WHERE seq = ?", (seq,))
            if (found := row.fetchone()) is not None:
                self._db.execute("DELETE FROM packet WHERE seq = ?", (seq,))
                self._counts[found[0]] -= 1
                self._count -= 1
                self._bytes -= found[1]
        return before - self._count


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0)


def _checksum(packet: Packet) -> int:
    head = f"{packet.kind:d} {packet.created_ns} {packet.topic} "
    return crc32(packet.payload, crc32(head.encode()))
