from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringbuffer.ring import ChannelRing, Outcome
from ringbuffer.segment import NS, Flag, Segment, samples_to_ns

RATE = Fraction(100)
INTERVAL = NS // 100
START = 1_562_259_000_003_000_000
CHANNEL = "CI.CLC..HHZ"


def segment(
    first: int,
    count: int,
    value: int | None = None,
    shift_ns: int = 0,
    rate: Fraction = RATE,
    flags: Flag = Flag.NONE,
) -> Segment:
    """Samples `first` to `first + count`, each its own index (or `value`)."""
    samples = np.arange(first, first + count, dtype=np.int32)
    if value is not None:
        samples[:] = value
    return Segment(CHANNEL, START + samples_to_ns(first, rate) + shift_ns, rate, samples, flags)


def ring(duration_s: float = 10, reorder_s: float = 5) -> ChannelRing:
    return ChannelRing(CHANNEL, RATE, duration_s, reorder_s)


def at(index: int) -> int:
    return START + index * INTERVAL


pieces = st.tuples(
    st.integers(-150, 250), st.integers(1, 5), st.sampled_from([None, None, None, 7])
)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=12))
def test_the_ring_equals_a_dictionary_that_obeys_the_rules(
    arrivals: list[tuple[int, int, int | None]],
) -> None:
    capacity, horizon = 128, 64  # more than all pieces together: no clock is thought set back
    subject = ring(capacity / 100, horizon / 100)
    model: dict[int, int] = {}
    end: int | None = None
    for first, count, value in arrivals:
        piece = segment(first, count, value)
        wanted = dict(enumerate(piece.samples.tolist(), first))
        outcome = subject.append(piece)
        repeat = all(model.get(i) == v for i, v in wanted.items())
        assert (Outcome.DUPLICATE in outcome) == repeat
        if repeat:
            continue
        horizon_index = first if end is None else end - horizon
        new = {i: v for i, v in wanted.items() if i >= horizon_index and i not in model}
        clash = any(i in model and model[i] != v for i, v in wanted.items())
        assert (Outcome.OVERLAP in outcome) == clash
        assert (Outcome.LATE in outcome) == (first < horizon_index)
        assert (Outcome.APPENDED in outcome) == bool(new)
        assert (Outcome.GAP in outcome) == (end is not None and first > end)
        model |= new
        end = first + count if end is None else max(end, first + count)
        model = {i: v for i, v in model.items() if i >= end - capacity}
        window = subject.read(at(end - capacity - 10), capacity + 20)
        assert window.start_ns == at(end - capacity - 10)
        indices = range(end - capacity - 10, end + 10)
        assert window.mask.tolist() == [i in model for i in indices]
        assert window.samples.tolist() == [model.get(i, 0) for i in indices]


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(20)), st.lists(st.integers(0, 19), max_size=10))
def test_order_and_repeats_within_the_horizon_do_not_matter(
    order: list[int], repeats: list[int]
) -> None:
    subject = ring(30, 25)
    for i in [*order, *repeats]:
        subject.append(segment(100 * i, 100))
    window = subject.read(at(0), 2000)
    assert window.mask.all()
    assert np.array_equal(window.samples, np.arange(2000))
    assert subject.counts[Outcome.DUPLICATE] == len(repeats)


def test_a_gap_is_masked_and_not_filled() -> None:
    subject = ring()
    subject.append(segment(0, 100))
    assert subject.append(segment(150, 100)) == Outcome.APPENDED | Outcome.GAP
    window = subject.read(at(90), 100)
    assert window.mask.tolist() == [True] * 10 + [False] * 50 + [True] * 40
    assert not window.samples[10:60].any()


def test_what_the_ring_overwrote_is_not_real_any_more() -> None:
    subject = ring(duration_s=2, reorder_s=1)
    for i in range(5):
        subject.append(segment(100 * i, 100))
    window = subject.read(at(200), 400)
    assert window.mask.tolist() == [False] * 100 + [True] * 200 + [False] * 100


def test_a_segment_longer_than_the_ring_leaves_its_newest_part() -> None:
    subject = ring(duration_s=2, reorder_s=1)
    subject.append(segment(0, 1000))
    window = subject.read(at(700), 300)
    assert window.mask.tolist() == [False] * 100 + [True] * 200
    assert window.samples[-1] == 999


def test_the_first_arrival_wins_an_overlap() -> None:
    subject = ring()
    subject.append(segment(0, 100))
    subject.append(segment(200, 100))
    outcome = subject.append(segment(50, 200, value=-1))
    assert outcome == Outcome.APPENDED | Outcome.OVERLAP | Outcome.OUT_OF_ORDER
    samples = subject.read(at(0), 300).samples
    assert samples[:100].tolist() == list(range(100))
    assert (samples[100:200] == -1).all()
    assert samples[200:].tolist() == list(range(200, 300))


def test_times_are_those_of_the_samples_not_of_a_rounded_grid() -> None:
    subject = ring()
    subject.append(segment(0, 100))
    subject.append(segment(200, 100, shift_ns=3_000_000))  # restarted with another phase
    assert subject.read(at(50), 10).start_ns == at(50)
    window = subject.read(at(210), 10)
    assert window.start_ns == at(210) + 3_000_000
    assert window.samples.tolist() == list(range(210, 220))


def test_jitter_below_half_a_sample_is_no_gap() -> None:
    subject = ring()
    for i, shift in enumerate([0, 4_000_000, -4_000_000, 5_000_000, -5_000_000, 0]):
        assert subject.append(segment(100 * i, 100, shift_ns=shift)) == Outcome.APPENDED
        assert subject.drift_ns == shift
    window = subject.read(at(0), 600)
    assert window.mask.all()
    assert window.start_ns == at(0)


@pytest.mark.parametrize("drift_ns", [100_000, -100_000])  # per second: 100 ppm
def test_slow_drift_is_tracked_and_surfaces_as_a_step_at_half_a_sample(drift_ns: int) -> None:
    subject = ring(100)
    for i in range(51):
        assert subject.append(segment(100 * i, 100, shift_ns=i * drift_ns)) == Outcome.APPENDED
    assert abs(subject.drift_ns) == 5_000_000
    outcome = subject.append(segment(5100, 100, shift_ns=51 * drift_ns))
    assert Outcome.TIME_STEP in outcome
    assert subject.append(segment(5200, 100, shift_ns=52 * drift_ns)) == Outcome.APPENDED
    assert abs(subject.drift_ns) == 100_000
    window = subject.read(at(5250) + 51 * drift_ns, 10)
    assert window.start_ns == at(5250) + 51 * drift_ns
    assert window.samples.tolist() == list(range(5250, 5260))
    assert window.flags == Flag.NONE
    assert Flag.TIME_STEP in subject.read(at(5150), 10).flags


def test_a_small_step_back_keeps_what_was_there_and_is_flagged() -> None:
    subject = ring()
    subject.append(segment(0, 300))
    outcome = subject.append(segment(270, 100, value=5))
    assert outcome & Outcome.TIME_STEP
    assert outcome & Outcome.OVERLAP
    assert subject.read(at(0), 300).samples.tolist() == list(range(300))
    window = subject.read(at(300), 70)
    assert (window.samples == 5).all()
    assert window.flags == Flag.TIME_STEP


def test_a_clock_set_back_by_an_hour_does_not_silence_the_channel() -> None:
    subject = ring(reorder_s=5)
    subject.append(segment(360_000, 100))
    outcomes = [subject.append(segment(100 * i, 100)) for i in range(33)]
    assert outcomes[:29] == [Outcome.LATE] * 29
    assert outcomes[29] == Outcome.APPENDED | Outcome.TIME_STEP
    assert outcomes[30:] == [Outcome.APPENDED] * 3
    window = subject.read(at(2900), 400)
    assert window.mask.all()
    assert window.flags == Flag.TIME_STEP
    assert subject.end_ns == at(3300)


@pytest.mark.parametrize("back", [150, 200, 5000])
@pytest.mark.parametrize("length", [10, 25, 100])
def test_a_clock_set_back_within_what_the_ring_holds_is_told_by_a_second_of_contradictions(
    back: int, length: int
) -> None:
    """Two seconds back and on again would else leave a seam in the samples that nobody knows of."""
    subject = ring(duration_s=60, reorder_s=2)
    subject.append(segment(0, 6000))
    outcomes = []
    for i in range(0, 300, length):
        samples = segment(6000 - back + i, length, value=100_000 + i)
        outcomes.append(subject.append(samples))
    before = 100 // length - 1
    assert not any(outcome & Outcome.TIME_STEP for outcome in outcomes[:before])
    assert outcomes[before] & Outcome.TIME_STEP
    assert outcomes[before + 1 :] == [Outcome.APPENDED] * (len(outcomes) - before - 1)
    assert subject.end_ns == at(6300 - back)


def test_a_repeat_that_was_damaged_on_its_way_is_no_step() -> None:
    subject = ring()
    subject.append(segment(0, 500))
    for first in (0, 100, 200, 300):
        damaged = segment(first, 100)
        damaged.samples[:40] += 1
        assert subject.append(damaged) == Outcome.OVERLAP | Outcome.OUT_OF_ORDER


@pytest.mark.parametrize("step", [-200, -5, 5, 60, 3700, 8_640_000])
def test_a_step_that_the_source_tells_of_is_one(step: int) -> None:
    """A forward step of whole samples cannot be told from a gap otherwise."""
    subject = ring(duration_s=20, reorder_s=5)
    subject.append(segment(0, 500))
    stepped = segment(500 + step, 100, value=7, flags=Flag.TIME_STEP)
    assert subject.append(stepped) == Outcome.TIME_STEP | Outcome.APPENDED
    assert subject.append(stepped) == Outcome.DUPLICATE
    assert subject.append(segment(600 + step, 100)) == Outcome.APPENDED
    assert subject.read(at(500 + step), 200).mask.all()
    assert subject.end_ns == at(700 + step)


def test_a_step_that_is_none_breaks_nothing() -> None:
    subject = ring()
    subject.append(segment(0, 500))
    assert subject.append(segment(500, 100, flags=Flag.TIME_STEP)) == Outcome.APPENDED


def test_late_data_between_live_data_or_backfill_never_turn_the_ring_back() -> None:
    subject = ring(reorder_s=5)
    for i in range(40):
        subject.append(segment(360_000 + 100 * i, 100))
        assert subject.append(segment(100 * i, 100)) == Outcome.LATE
    for i in range(40, 80):
        outcome = subject.append(segment(100 * i, 100, flags=Flag.HISTORICAL))
        assert outcome == Outcome.LATE
    assert subject.end_ns == at(364_000)


def test_a_resend_of_everything_is_dropped_as_repeats() -> None:
    subject = ring(duration_s=60, reorder_s=5)
    for _ in range(2):
        for i in range(50):
            subject.append(segment(100 * i, 100))
    assert subject.counts == {Outcome.APPENDED: 50, Outcome.DUPLICATE: 50}


def test_a_clock_that_wakes_in_1970_and_finds_its_time_is_followed() -> None:
    subject = ring()
    samples = np.arange(100, dtype=np.int32)
    subject.append(Segment(CHANNEL, 12 * NS, RATE, samples))
    assert subject.append(segment(0, 100)) & Outcome.GAP
    assert subject.append(segment(100, 100)) == Outcome.APPENDED
    window = subject.read(at(-100), 300)
    assert window.mask.tolist() == [False] * 100 + [True] * 200
    assert subject.read(12 * NS, 100).mask.sum() == 0
    assert subject.read(at(0), 1).start_ns == at(0)


def test_a_new_rate_starts_anew_and_a_wobbling_one_does_not() -> None:
    subject = ring()
    subject.append(segment(0, 100))
    wobble = Segment(CHANNEL, at(100), Fraction(999_999, 10_000), np.arange(100, 200, dtype="i4"))
    assert subject.append(wobble) == Outcome.APPENDED
    faster = Segment(CHANNEL, at(200), Fraction(200), np.arange(200, dtype=np.int32))
    assert subject.append(faster) == Outcome.APPENDED | Outcome.RATE_CHANGE
    window = subject.read(at(200), 200)
    assert window.rate == 200
    assert np.array_equal(window.samples, np.arange(200))


def test_times_stay_exact_at_odd_rates_after_a_day() -> None:
    rate = Fraction(100, 3)
    subject = ChannelRing(CHANNEL, rate, 10, 5)
    for i in range(0, 2_880_000, 10_000):
        subject.append(segment(i, 10_000, rate=rate))
    window = subject.read(START + samples_to_ns(2_879_900, rate), 100)
    assert window.start_ns == START + samples_to_ns(2_879_900, rate)
    assert window.samples[0] == 2_879_900
    assert subject.counts[Outcome.APPENDED] == 288


def test_flags_of_a_window_are_those_of_its_real_samples() -> None:
    subject = ring()
    subject.append(segment(0, 100, flags=Flag.CLOCK_UNLOCKED))
    subject.append(segment(100, 100))
    subject.append(segment(200, 100, flags=Flag.CLIPPED))
    assert subject.read(at(50), 100).flags == Flag.CLOCK_UNLOCKED
    assert subject.read(at(100), 100).flags == Flag.NONE
    assert subject.read(at(0), 300).flags == Flag.CLOCK_UNLOCKED | Flag.CLIPPED


def test_nothing_is_real_in_an_empty_ring() -> None:
    window = ring().read(at(0), 10)
    assert window.start_ns == at(0)
    assert not window.mask.any()
    assert ring().end_ns is None
    assert ring().append(segment(0, 0)) == Outcome.NONE


def test_a_horizon_longer_than_the_ring_is_refused() -> None:
    with pytest.raises(ValueError, match="reorder_s: 20"):
        ring(10, 20)
