"""What is in the outbox stays there until the broker has it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from uplink.outbox import ANSWERS, EXPIRE_AT_ONCE, Ages, Kind, Outbox, OutboxError, Packet

# puts packets one by one and acknowledges every third, reporting each as soon as it is done
WRITER = """
import sys
from pathlib import Path
from uplink.outbox import Outbox, Packet
outbox = Outbox(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    (seq,) = outbox.put([Packet("t", str(number).encode())])
    print("put", number, flush=True)
    if number % 3 == 0:
        print("acknowledging", number, flush=True)
        outbox.acknowledge([seq])
        print("acknowledged", number, flush=True)
"""


def packet(number: int, kind: Kind = Kind.PICK) -> Packet:
    return Packet("diting/v1/XX/AAA/pick", b"%04d" % number, kind, created_ns=number)


def payloads(outbox: Outbox) -> list[int]:
    return [int(p.payload) for p in outbox.pending(limit=10_000)]


@pytest.mark.parametrize("lines", [1, 10, 700])
def test_a_killed_box_loses_no_packet_that_was_put(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "outbox.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(lines)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    log = [
        (word, int(number))
        for word, number in (line.split() for line in said if line.endswith("\n"))
    ]  # not a torn one
    done = {number for word, number in log if word == "acknowledged"}
    begun = {number for word, number in log if word == "acknowledging"}
    put = {number for word, number in log if word == "put"}

    outbox = Outbox(path)
    kept = payloads(outbox)
    assert outbox.set_aside is None
    assert kept == sorted(kept)
    assert put - begun <= set(kept)  # nothing lost before its acknowledgement
    assert not done & set(kept)
    assert len(set(kept) - put) <= 1  # the one that was committed but not yet reported
    outbox.close()


def test_packets_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    seqs = outbox.put(packet(n, kind) for n, kind in enumerate([Kind.HEALTH, Kind.PICK] * 3))
    outbox.acknowledge(seqs[1:3])
    outbox.close()

    outbox = Outbox(path)
    assert payloads(outbox) == [0, 3, 4, 5]
    assert len(outbox) == 4
    first, second = outbox.pending(limit=2)
    assert (first.kind, first.created_ns, first.seq) == (Kind.HEALTH, 0, seqs[0])
    assert [p.seq for p in outbox.pending(after=second.seq)] == seqs[4:]


def test_a_number_in_the_queue_is_never_given_twice(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    (first,) = outbox.put([packet(1)])
    outbox.acknowledge([first])
    (second,) = outbox.put([packet(2)])
    assert second > first


def test_the_position_lasts_grows_and_is_no_session_number(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o.sqlite")
    assert outbox.position == 0
    outbox.put([packet(1)], position=500)
    outbox.put([packet(2)], position=400)
    outbox.put([packet(3)])
    session = outbox.next_session(7)
    outbox.close()
    again = Outbox(tmp_path / "o.sqlite")
    assert again.position == 500
    assert again.next_session(7) == session + 1


def test_acknowledging_twice_harms_nobody(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_packets=2)
    (seq,) = outbox.put([packet(1)])
    outbox.acknowledge([seq])
    outbox.acknowledge([seq, 999])
    outbox.put([packet(2), packet(3)])
    assert payloads(outbox) == [2, 3]
    assert outbox.dropped == 0


def test_picks_outlive_health_at_the_limit(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_packets=3)
    kinds = [Kind.HEALTH, Kind.PICK, Kind.EVENT, Kind.PICK, Kind.HEALTH, Kind.PICK, Kind.PICK]
    for number, kind in enumerate(kinds):
        outbox.put([packet(number, kind)])
    assert payloads(outbox) == [3, 5, 6]  # all health, then the event, then the oldest pick
    assert outbox.dropped == 4


def test_the_limit_in_bytes_holds_too(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=20)
    outbox.put(packet(n) for n in range(9))
    assert payloads(outbox) == [4, 5, 6, 7, 8]
    assert outbox.dropped == 4


@pytest.mark.parametrize("damage", ["text", "zeros", "truncated"])
def test_a_broken_file_is_set_aside_and_said(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put(packet(n) for n in range(2000))
    outbox.close()
    whole = path.read_bytes()
    broken = {
        "text": b"this is no database" * 100,
        "zeros": whole[:8192] + bytes(len(whole) - 8192),
        "truncated": whole[: len(whole) // 2],
    }[damage]
    path.write_bytes(broken)

    outbox = Outbox(path)
    assert outbox.set_aside == tmp_path / "outbox.sqlite.corrupt"
    assert outbox.set_aside.read_bytes() == broken
    (line,) = outbox.problems
    assert line.startswith(f"outbox: {path}: unusable, set aside as outbox.sqlite.corrupt, ")
    assert (outbox.salvaged > 300) == (damage == "truncated")
    saved = payloads(outbox)
    assert saved == list(range(outbox.salvaged))
    outbox.put([packet(1)])
    assert payloads(outbox) == [*saved, 1]


def test_a_damaged_page_costs_what_lies_on_it_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put((packet(n) for n in range(2000)), position=77)
    number = outbox.next_session(5)
    outbox.close()
    whole = bytearray(path.read_bytes())
    place = whole.index(b"1000", 8192) // 4096 * 4096  # the page that has this packet
    whole[place : place + 8] = b"\xff" * 8
    path.write_bytes(whole)

    outbox = Outbox(path)
    assert outbox.set_aside is not None
    saved = payloads(outbox)
    assert saved == sorted(set(saved))
    lost = set(range(2000)) - set(saved)
    assert 1000 in lost
    assert len(lost) < 150
    assert (outbox.salvaged, outbox.position) == (len(saved), 77)
    assert outbox.next_session(0) == number + 1
    assert not list(tmp_path.glob("*-wal.corrupt*"))
    (seq,) = outbox.put([packet(2000)])
    assert seq == 2001


def test_what_a_killed_box_had_in_its_log_is_saved_too(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put(packet(n) for n in range(1000))
    outbox.close()
    whole = bytearray(path.read_bytes())
    place = whole.index(b"0500", 8192) // 4096 * 4096
    whole[place : place + 8] = b"\xff" * 8
    path.write_bytes(whole)
    with sqlite3.connect(path) as db:  # as if a process had written here and been killed
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(
            "INSERT INTO packet (kind, topic, payload, created_ns) VALUES (0, 't', x'39', 1)"
        )
        db.commit()
        for suffix in ("", "-wal"):
            name = tmp_path / f"killed{suffix}"
            name.write_bytes((tmp_path / f"outbox.sqlite{suffix}").read_bytes())
    db.close()
    outbox = Outbox(tmp_path / "killed")
    assert outbox.set_aside is not None
    assert payloads(outbox)[-1] == 9
    assert len(outbox) > 850
    assert sorted(p.name for p in tmp_path.glob("killed.corrupt*")) == ["killed.corrupt"]


def test_a_second_box_on_the_same_outbox_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    with pytest.raises(OutboxError, match=r"outbox\.sqlite: .*locked"):
        Outbox(path)
    outbox.put([packet(1)])
    assert payloads(outbox) == [1]


def test_a_folder_that_does_not_exist_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match=r"nowhere/outbox\.sqlite: unable to open"):
        Outbox(tmp_path / "nowhere" / "outbox.sqlite")


def test_a_full_disk_keeps_what_there_was(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put([packet(1)])
    outbox._db.execute("PRAGMA max_page_count=8")  # a disk that is full, as SQLite sees it
    with pytest.raises(OutboxError, match="full"):
        outbox.put([packet(2), Packet("t", bytes(100_000))])
    assert payloads(outbox) == [1]
    assert len(outbox) == 1


def test_session_numbers_grow_even_when_the_clock_or_the_file_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    assert [outbox.next_session(now_s) for now_s in (100, 50, 100, 300)] == [100, 101, 102, 300]
    outbox.close()
    assert Outbox(path).next_session(0) == 301
    assert Outbox(tmp_path / "fresh.sqlite").next_session(400) == 400


DAY_NS = 86_400 * 10**9


def test_waveforms_go_before_health_and_health_before_picks(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=12)
    for kind in (Kind.PICK, Kind.WAVEFORM, Kind.HEALTH, Kind.PICK, Kind.WAVEFORM):
        outbox.put([packet(int(kind), kind)])
    assert payloads(outbox) == [Kind.PICK, Kind.HEALTH, Kind.PICK]
    outbox.put([packet(Kind.EVENT, Kind.EVENT)])
    assert payloads(outbox) == [Kind.PICK, Kind.PICK, Kind.EVENT]


def test_health_grows_too_old_long_before_picks(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", ages=Ages(pick=30, event=20, health=2, waveform=1))
    for kind in Kind:
        outbox.put([Packet("t", b"%d" % kind, kind, created_ns=DAY_NS)])
    left = []
    for day in (2.5, 4.0, 25.0, 40.0):
        outbox.put([Packet("t", b"9", Kind.PICK, created_ns=int(day * DAY_NS))])
        left.append([n for n in payloads(outbox) if n != 9])
    assert left == [[0, 1, 2], [0, 1], [0], []]
    assert (outbox.expired, outbox.dropped) == (6, 0)  # these four, and the first two of the others
    assert len(outbox) == 2


def test_a_clock_that_is_wrong_for_a_moment_does_not_empty_the_outbox(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put(Packet("t", b"%d" % n, created_ns=DAY_NS + n) for n in range(100))
    outbox.put([Packet("t", b"100", created_ns=20 * 365 * DAY_NS)])
    outbox.put([Packet("t", b"101", created_ns=DAY_NS + 101)])
    assert payloads(outbox) == list(range(EXPIRE_AT_ONCE, 102))


def test_what_was_just_made_comes_in_order_and_the_backlog_the_newest_first(
    tmp_path: Path,
) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put(packet(n, Kind.PICK if n % 2 else Kind.HEALTH) for n in (1, 2, 3, 4, 5, 6, 7))

    def numbers(packets: list[Packet]) -> list[int]:
        return [p.created_ns for p in packets]

    assert numbers(outbox.live(Kind.PICK, 4, 10)) == [5, 7]
    assert numbers(outbox.live(Kind.HEALTH, 4, 10)) == [4, 6]
    assert numbers(outbox.backlog(Kind.PICK, 4, 10)) == [3, 1]
    assert numbers(outbox.backlog(Kind.PICK, 6, 2)) == [5, 3]
    assert outbox.live(Kind.EVENT, 0, 10) == outbox.backlog(Kind.WAVEFORM, 99, 10) == []


# as the version before this one made it
FORMER = """
CREATE TABLE packet (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL,
    topic TEXT NOT NULL, payload BLOB NOT NULL, created_ns INTEGER NOT NULL);
CREATE INDEX least_important ON packet (kind DESC, seq);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO packet (kind, topic, payload, created_ns) VALUES (0, 't', x'31', 5), (2, 't', x'32', 6);
INSERT INTO counter VALUES ('position', 17), ('session', 41);
"""


def test_an_outbox_of_the_former_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(FORMER)
    db.close()
    outbox = Outbox(path)
    assert (payloads(outbox), outbox.position, outbox.next_session(0)) == ([1, 2], 17, 42)
    assert [p.seq for p in outbox.live(Kind.HEALTH, 0, 9)] == [2]
    assert outbox.put([packet(3)]) == [3]


@pytest.mark.parametrize(
    "change",
    [
        "kind = 67",
        "kind = x'00'",
        "topic = 'a/#'",
        "topic = ''",
        "topic = CAST(x'64ff69' AS TEXT)",
        "topic = 't' || char(0)",
        "payload = 'text'",
        "created_ns = 'x'",
    ],
)
def test_a_row_that_a_flipped_bit_made_nonsense_goes_alone(tmp_path: Path, change: str) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put(packet(n) for n in range(3))
    outbox.close()
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE packet SET {change} WHERE seq = 2")
    db.close()
    outbox = Outbox(path)
    assert (payloads(outbox), outbox.damaged, outbox.set_aside) == ([0, 2], 1, None)


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put(packet(n, Kind.PICK) for n in range(300, 600))
    outbox.close()
    with sqlite3.connect(path) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'importance'")
        (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    whole = bytearray(path.read_bytes())
    place = whole.index((450).to_bytes(2, "big"), (page[0] - 1) * size)  # a time in the index
    assert place < page[0] * size
    whole[place] ^= 0x40
    path.write_bytes(whole)
    outbox = Outbox(path)
    assert outbox.set_aside is None
    assert [p.created_ns for p in outbox.live(Kind.PICK, 0, 999)] == list(range(300, 600))


def test_the_requests_answered_last_are_known_after_a_restart(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    for n in range(ANSWERS + 5):
        parts = [Packet("t", b"", Kind.WAVEFORM, 1, answers=f"request {n}") for _ in range(2)]
        outbox.acknowledge(outbox.put(parts))
    outbox.put([packet(1)], position=3)
    outbox.close()
    outbox = Outbox(tmp_path / "outbox.sqlite")
    known = [outbox.answered(f"request {n}") for n in range(ANSWERS + 5)]
    assert known == [False] * 5 + [True] * ANSWERS
    assert not outbox.answered("position")
    assert outbox.position == 3


def test_a_flipped_bit_in_a_packet_sends_no_other_packet(tmp_path: Path) -> None:
    """SQLite has no checksums: what is no damage to its pages is none to it."""
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    for number in range(5):
        outbox.put([packet(number)])
    outbox.close()
    content = path.read_bytes()
    assert content.count(b"0003") == 1
    path.write_bytes(content.replace(b"0003", b"0007"))
    outbox = Outbox(path)
    assert payloads(outbox) == [0, 1, 2, 4]
    assert (outbox.damaged, len(outbox)) == (1, 4)
    assert outbox.problems == [f"outbox: {path}: 1 packets were damaged"]
    outbox.close()


def test_an_outbox_of_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.put([packet(1)])
    outbox._db.execute("ALTER TABLE packet DROP COLUMN crc")
    outbox.close()
    outbox = Outbox(path)
    outbox.put([packet(2)])
    assert payloads(outbox) == [1, 2]
    outbox.close()
