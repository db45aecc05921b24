from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import pytest

from box.faults import inject, load_faults
from ringbuffer.segment import NS, Flag, Segment
from uplink.configuration import ConfigError

T0 = 1_562_259_600 * NS  # 2019-07-04T17:00:00Z


def packets(seconds: int) -> list[Segment]:
    return [
        Segment(f"XX.A..HH{c}", T0 + i * NS, Fraction(100), np.full(100, i, np.int32))
        for i in range(seconds)
        for c in "ZN"
    ]


def struck(tmp_path, text: str, seconds: int = 6) -> list[Segment]:
    path = tmp_path / "faults.yaml"
    path.write_text(text)

    async def stream():
        for packet in packets(seconds):
            yield packet

    async def collect():
        return [segment async for segment in inject(stream(), load_faults(path))]

    return asyncio.run(collect())


SPAN = "from: 2019-07-04T17:00:02Z, to: 2019-07-04T17:00:04Z"


def second(segment: Segment) -> int:
    return (segment.start_ns - T0) // NS


def test_only_the_named_channel_loses_packets(tmp_path):
    left = struck(tmp_path, f"- {{fault: drop, {SPAN}, channel: XX.A..HHZ}}")
    assert [second(s) for s in left if s.channel.endswith("Z")] == [0, 1, 4, 5]
    assert len([s for s in left if s.channel.endswith("N")]) == 6


def test_a_late_packet_comes_after_newer_ones_and_is_not_lost(tmp_path):
    left = struck(tmp_path, f"- {{fault: late, {SPAN}, station: XX.A, by_s: 2.5}}")
    order = [second(s) for s in left if s.channel.endswith("Z")]
    assert sorted(order) == list(range(6))
    assert order == [0, 1, 4, 2, 5, 3]


def test_faults_add_up_on_one_packet(tmp_path):
    left = struck(
        tmp_path,
        f"- {{fault: duplicate, {SPAN}}}\n- {{fault: unlock, {SPAN}}}\n"
        f"- {{fault: clip, {SPAN}, at_counts: 2}}\n",
    )
    assert len(left) == 16
    hit = [s for s in left if second(s) == 3]
    assert all(s.flags == Flag.CLOCK_UNLOCKED | Flag.CLIPPED for s in hit)
    assert all(s.samples.max() == 2 for s in hit)


def test_every_wrong_entry_is_named(tmp_path):
    with pytest.raises(ConfigError) as caught:
        struck(tmp_path, f"- {{fault: melt, {SPAN}}}\n- {{fault: drop}}\n- 5\n")
    assert [p.split(": ")[1] for p in caught.value.problems] == ["fault 1", "fault 2", "fault 3"]


@pytest.mark.parametrize("amount", ["late, by_s: .nan", "step, by_s: .inf", "clip, at_counts: -5"])
def test_an_impossible_amount_is_refused_before_the_replay(tmp_path, amount):
    with pytest.raises(ConfigError, match=r"fault 1: .*(by_s|at_counts)"):
        struck(tmp_path, f"- {{{SPAN}, fault: {amount}}}\n")


def noise(channel: str = "XX.A..HHZ", seconds: int = 20) -> list[Segment]:
    samples = np.random.default_rng(1).integers(-50, 50, 100 * seconds).astype(np.int32)
    whole = Segment(channel, T0, Fraction(100), samples)
    return [whole.cut(i, i + 90) for i in range(0, len(samples), 90)]  # not at full seconds


def struck_noise(tmp_path, text: str) -> tuple[np.ndarray, np.ndarray, list[Segment]]:
    """Samples before and after, joined, and the packets after."""
    path = tmp_path / "faults.yaml"
    path.write_text(text)

    async def collect():
        async def stream():
            for packet in noise():
                yield packet

        return [segment async for segment in inject(stream(), load_faults(path))]

    left = asyncio.run(collect())
    return (
        np.concatenate([p.samples for p in noise()]),
        np.concatenate([p.samples for p in left]),
        left,
    )


INSIDE = "from: 2019-07-04T17:00:03.5Z, to: 2019-07-04T17:00:12Z"


def test_faults_of_samples_begin_and_end_within_packets(tmp_path):
    for fault in ("dead", "stuck", "recentre", "clip, at_counts: 5", "calibrate, every_s: 100"):
        before, after, _ = struck_noise(tmp_path, f"- {{{INSIDE}, fault: {fault}}}")
        changed = np.flatnonzero(before != after)
        assert 350 <= changed[0] <= 360, fault
        assert changed[-1] < 1200, fault


def test_a_stuck_channel_keeps_its_value_from_packet_to_packet(tmp_path):
    before, after, _ = struck_noise(tmp_path, f"- {{{INSIDE}, fault: stuck}}")
    assert set(after[350:1200]) == {before[350]}


def test_spikes_come_one_by_one_and_at_their_pace(tmp_path):
    text = f"- {{{INSIDE}, fault: spike, by_counts: -7000, every_s: 2.5}}"
    before, after, _ = struck_noise(tmp_path, text)
    assert np.flatnonzero(before != after).tolist() == [350, 600, 850, 1100]
    assert (after - before).min() == -7000


def test_a_mass_that_is_recentred_comes_back_slowly(tmp_path):
    text = f"- {{{INSIDE}, fault: recentre, by_counts: 100000, rise_s: 0.1, decay_s: 4}}"
    before, after, _ = struck_noise(tmp_path, text)
    assert (after - before)[355] == 50_000
    assert (after - before)[360] == 100_000
    assert (after - before)[760] == pytest.approx(100_000 / np.e, abs=1)


def test_a_fault_can_be_kept_secret_by_the_source(tmp_path):
    for fault, flag in (("calibrate", Flag.CALIBRATION), ("clip, at_counts: 5", Flag.CLIPPED)):
        for told in ("true", "false"):
            text = f"- {{{INSIDE}, fault: {fault}, flagged: {told}}}"
            before, after, left = struck_noise(tmp_path, text)
            assert (before != after).any()
            assert any(p.flags & flag for p in left) == (told == "true")
            assert not left[0].flags | left[-1].flags
