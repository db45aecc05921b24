"""A box that tells something else on an ARM processor, or does not install there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.aarch64.__main__ import UNAVAILABLE
from bench.aarch64.machine import ROOT, InstallError, Machine, UnavailableError, install
from bench.aarch64.replay import compare, last_words
from ringbuffer.segment import NS
from uplink.outbox import Packet
from uplink.packets import Pick, PickFlag, encode_pick

MS = NS // 1000
P = Pick(id=1_000 * NS, phase="P", time_ns=1_000 * NS, probability=0.8, polarity="up")
S = Pick(id=1_004 * NS, phase="S", time_ns=1_004 * NS, probability=0.6)


@pytest.mark.timeout(900)  # the emulator takes a minute, and several where others work
def test_a_box_on_aarch64_tells_the_same_picks() -> None:
    command = [sys.executable, "-m", "bench.aarch64"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == UNAVAILABLE:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_must_be_compiled_does_not_install(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text('[project]\nname = "of-source-alone"\nversion = "1"\n')
    with pytest.raises(InstallError, match="of-source-alone"):
        install(tmp_path / "site", str(source))


def test_a_library_that_does_not_load_is_named(tmp_path: Path) -> None:
    try:
        machine = Machine(ROOT / "build" / "aarch64")
    except UnavailableError as error:
        pytest.skip(str(error))
    assert machine.load_libraries(tmp_path) == 0
    (tmp_path / "broken.so").write_bytes(b"not a library")
    with pytest.raises(InstallError, match=r"broken\.so"):
        machine.load_libraries(tmp_path)


@pytest.mark.parametrize(
    ("there", "difference"),
    [
        ([P, S, replace(S, id=S.id + 9 * NS, time_ns=S.time_ns + 9 * NS)], "only there: S"),
        ([P], "only here: S"),
        ([P, replace(S, time_ns=S.time_ns + 11 * MS)], "only here: S"),
        ([P, replace(S, phase="P")], "only here: S"),
        ([P, replace(S, probability=0.63)], "probability"),
        ([replace(P, polarity="down"), S], "polarity"),
        ([replace(P, flags=PickFlag.CLIPPED), S], "flags"),
    ],
)
def test_a_difference_between_two_machines_is_told(there: list[Pick], difference: str) -> None:
    assert difference in "\n".join(compare("XX.ABC", [P, S], there).differences)


def test_machines_that_pick_nothing_do_not_pass_as_the_same() -> None:
    assert compare("XX.ABC", [], []).differences


def test_picks_within_a_sample_and_a_fiftieth_are_the_same() -> None:
    there = [replace(P, time_ns=P.time_ns - 10 * MS), replace(S, probability=0.585)]
    comparison = compare("XX.ABC", [P, S], there)
    assert not comparison.differences
    assert comparison.pairs == [(P, there[0]), (S, there[1])]


def test_only_the_last_word_on_a_pick_counts_and_none_that_was_retracted() -> None:
    revised = replace(P, revision=1, time_ns=P.time_ns + 20 * MS)
    retracted = replace(S, revision=1, flags=PickFlag.RETRACTED)
    told = [Packet("", encode_pick(pick)) for pick in (P, S, revised, retracted)]
    assert [(pick.phase, pick.time_ns) for pick in last_words(told)] == [("P", revised.time_ns)]
