from __future__ import annotations

import numpy as np
import pytest

from box.trace import ConditionedTrace


def test_windows_survive_the_sliding_of_the_store():
    trace = ConditionedTrace(0, 500)
    for start in range(0, 5000, 70):
        for component in range(3):
            values = np.arange(start, start + 70, dtype=np.float32) + 10_000 * component
            trace.put(component, start, values)
    end = trace.ends[0]
    values, real = trace.window(end, 500)
    assert real.all()
    np.testing.assert_array_equal(values[:, 2], np.arange(end - 500, end) + 20_000)


def test_a_hole_is_zero_and_not_real_even_where_older_samples_lay():
    trace = ConditionedTrace(0, 500)
    trace.put(0, 0, np.ones(900, np.float32))
    trace.put(0, 1300, np.ones(100, np.float32), warm_up=30)
    values, real = trace.window(1400, 500)
    assert not real[:430].any()
    assert real[430:, 0].all()
    assert not values[:400].any()


def test_asking_for_what_is_gone_is_an_error_not_a_wrong_window():
    trace = ConditionedTrace(0, 500)
    trace.put(0, 0, np.ones(5000, np.float32))
    with pytest.raises(IndexError):
        trace.window(1000, 500)
