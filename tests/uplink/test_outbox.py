"""What is in the outbox stays there until the broker has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from uplink.outbox import Kind, Outbox, OutboxError, Packet

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
    outbox.put([packet(1)])
    assert payloads(outbox) == [1]


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
