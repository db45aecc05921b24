"""What cannot be written to the outbox's file is not lost, and goes back into it."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from uplink.lasting import RETRY_S, LastingOutbox
from uplink.outbox import Outbox, OutboxError, Packet


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def packet(number: int) -> Packet:
    return Packet("diting/v1/XX/AAA/pick", b"%04d" % number + bytes(500), created_ns=number)


def numbers(outbox: Outbox) -> list[int]:
    return [int(p.payload[:4]) for p in outbox.pending(limit=10_000)]


def fill_up(outbox: LastingOutbox) -> None:
    """No page more for the database: what a full disk says, without one."""
    (pages,) = outbox._db.execute("PRAGMA page_count").fetchone()
    outbox._db.execute(f"PRAGMA max_page_count={pages}")


def test_a_full_disk_keeps_packets_in_memory_and_room_brings_them_back(tmp_path: Path) -> None:
    seconds = Seconds()
    path = tmp_path / "outbox.sqlite"
    outbox = LastingOutbox(path, seconds=seconds)
    seqs = [outbox.put([packet(n)], position=n)[0] for n in range(1, 21)]
    session = outbox.next_session(1000)
    fill_up(outbox)
    for n in range(21, 101):
        seqs += outbox.put([packet(n)], position=n)
    assert len(set(seqs)) == 100
    assert numbers(outbox) == list(range(1, 101))
    assert ["full" in line for line in outbox.problems] == [True]
    assert (len(outbox), outbox.position) == (100, 100)
    outbox.acknowledge([seqs[4], seqs[70]])  # one from the file, one from memory
    assert outbox.next_session(1000) > session
    left = [n for n in range(1, 101) if n not in (5, 71)]
    assert numbers(outbox) == left
    seconds.now = RETRY_S + 1
    outbox.put([packet(101)], position=101)
    assert outbox.problems == []
    assert numbers(outbox) == [*left, 101]
    outbox.acknowledge(seqs[:10])
    outbox.close()
    again = Outbox(path)
    assert numbers(again) == [*[n for n in left if n > 10], 101]
    assert again.position == 101
    assert again.next_session(1000) > session + 1
    again.close()


def test_a_kill_on_a_full_disk_leaves_what_was_there_and_a_position_before_the_rest(
    tmp_path: Path,
) -> None:
    """So that the box tells the rest again from its ring."""
    path = tmp_path / "outbox.sqlite"
    pid = os.fork()
    if pid == 0:
        outbox = LastingOutbox(path)
        outbox.put([packet(1)], position=1)
        fill_up(outbox)
        for n in range(2, 50):
            outbox.put([packet(n)], position=n)
        os._exit(0 if outbox.problems else 1)
    assert os.waitpid(pid, 0)[1] == 0
    outbox = LastingOutbox(path)
    found = numbers(outbox)
    assert outbox.position == len(found) < 49
    assert found == list(range(1, len(found) + 1))
    outbox.close()


def test_limits_hold_in_memory_too(tmp_path: Path) -> None:
    outbox = LastingOutbox(tmp_path / "outbox.sqlite", max_packets=30)
    fill_up(outbox)
    for n in range(100):
        outbox.put([packet(n)])
    assert outbox.problems != []
    assert numbers(outbox) == list(range(70, 100))
    assert outbox.dropped == 70
    outbox.close()


@pytest.mark.parametrize("seed", range(20))
def test_a_file_that_changes_under_the_box_raises_nothing_and_costs_nothing_put_since(
    tmp_path: Path, seed: int
) -> None:
    """A dying card gives back other pages than were written; once that is seen, they are left."""
    rng = Random(seed)
    seconds = Seconds()
    path = tmp_path / "outbox.sqlite"
    outbox = LastingOutbox(path, seconds=seconds)
    for n in range(40):
        outbox.put([packet(n)])
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._db.execute("PRAGMA cache_size=0")
    with path.open("r+b") as file:
        for _ in range(200):
            file.seek(rng.randrange(path.stat().st_size))
            file.write(rng.randbytes(8))
    since: list[bytes] = []
    for n in range(40, 60):
        seen = bool(outbox.problems)
        (seq,) = outbox.put([packet(n)])
        outbox.pending(limit=1000)
        if seen:
            since.append(packet(n).payload)
        if n % 5 == 0:
            outbox.acknowledge([seq])
            since = [payload for payload in since if payload != packet(n).payload]
        seconds.now += RETRY_S / 4
    outbox.close()
    again = LastingOutbox(path)
    kept = [p.payload for p in again.pending(limit=1000)]
    assert [payload for payload in kept if payload in since] == since
    assert since  # it was seen
    again.close()


def test_another_process_and_a_missing_folder_are_mistakes_still(tmp_path: Path) -> None:
    outbox = LastingOutbox(tmp_path / "outbox.sqlite")
    with pytest.raises(OutboxError, match="locked"):
        LastingOutbox(tmp_path / "outbox.sqlite")
    with pytest.raises(OutboxError, match="unable to open"):
        LastingOutbox(tmp_path / "nowhere" / "outbox.sqlite")
    outbox.close()
