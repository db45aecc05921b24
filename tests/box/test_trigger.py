from __future__ import annotations

from box.trigger import Trigger

S = 1_000_000_000


def run(levels, **options):
    trigger = Trigger(**options)
    return [e for i, level in enumerate(levels) if (e := trigger.update((i + 1) * S, level))]


def test_one_event_goes_on_once_and_off_once():
    on, off = run([0, 0.1, 0.7, 0.9, 0.4, 0.1, 0, 0, 0, 0, 0, 0])
    assert (on.on_ns, on.off_ns, on.revision) == (3 * S, 0, 0)
    assert (off.on_ns, off.off_ns, off.revision, off.detection) == (3 * S, 6 * S, 1, 90)


def test_a_dip_shorter_than_the_duration_does_not_end_the_event():
    events = run([0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1])
    assert len(events) == 1


def test_shaking_without_end_is_ended_at_the_limit():
    events = run([0.9] * 25, longest_s=10)
    assert [e.revision for e in events] == [0, 1, 0, 1, 0]


def test_a_p_and_an_s_trigger_without_a_detection_level():
    event = Trigger().update(S, 0.0, p_id=5, s_id=7)
    assert event is not None
    assert (event.p_id, event.s_id) == (5, 7)


def test_an_event_does_not_stay_on_when_the_stream_ends():
    trigger = Trigger()
    trigger.update(S, 0.9)
    event = trigger.finish(4 * S)
    assert event is not None
    assert (event.on_ns, event.off_ns, event.revision) == (S, 4 * S, 1)
    assert trigger.finish(5 * S) is None
