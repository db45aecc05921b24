"""Spikes, steps and flat tops: what no ground motion looks like behind an anti-alias filter."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEAST = 20.0  # counts; a smaller spike or step is nobody's trouble
OUTLIER = 20.0  # times the median difference of neighbours: by so much a glitch is off
ISOLATED = 8.0  # times what is round it, too
BESIDE = 15  # samples before and behind a spike that must be calm, most of them
WIDEST = 2  # samples of a spike
SEQUEL = 5  # samples behind a spike that must have come: the first swing of a P looks like one
CALM = 10  # samples before and behind a step that must be calm
RISE = 3  # samples that a step may take
CONSTANT = 15  # equal samples behind a jump: the channel has dropped out
UNDECIDED = max(RISE + CALM, CONSTANT)  # samples by whose sequel a glitch is told
TOO_MANY = 40  # jumps in a second: that is a signal
TOP = 3  # equal samples that are a flat top, where there are two of them
LONG_TOP = 6  # equal samples that are one by themselves
KINK = 0.02  # of the range: by so much the second samples beside a flat top are off from it


@dataclass(slots=True)
class Glitches:
    """Indices are from the first of the new samples; what is negative lies before them.

    spikes: samples that are off
    steps: first samples of a new level, with the height in counts
    dropout: from where on the samples are constant after a jump
    """

    spikes: list[int] = field(default_factory=list)
    steps: list[tuple[int, float]] = field(default_factory=list)
    dropout: int | None = None


def find_glitches(values: Values, begin: int) -> Glitches:
    """Glitches from index `begin` on; what is before it has been searched, but for the last ones,
    whose sequel was not known. Spikes are bridged in `values`."""
    found = Glitches()
    change = np.abs(np.diff(values))
    moving = change[change > 0]  # a dead stretch says nothing of the noise
    least = max(LEAST, OUTLIER * float(np.median(moving))) if len(moving) else LEAST
    jumps = np.flatnonzero(change > least)
    if len(jumps) > TOO_MANY:
        return found
    done = begin - UNDECIDED + 1
    for jump in jumps.tolist():
        at = jump + 1  # the first sample that is elsewhere
        if at < done:
            continue
        if width := _spike(values, change, at, least):
            found.spikes += range(at - begin, at - begin + width)
            _bridge(values, change, at, width)
            done = at + width
        elif _drops_out(values, change, at):
            found.dropout = at - begin
            return found
        elif height := _step(values, at, least):
            found.steps.append((at - begin, height))
            done = at + RISE + 1
    return found


def _spike(values: Values, change: Values, at: int, least: float) -> int:
    """Samples of a spike that begins at an index, 0 where none does: they are off to one side,
    the sample behind them is where the one before them was, and all round is calm."""
    for width in range(1, WIDEST + 1):
        behind = at + width
        if behind + SEQUEL > len(values):
            return 0
        off = values[at:behind] - (values[at - 1] + values[behind]) / 2
        height = float(np.abs(off).min())
        back = abs(values[behind] - values[at - 1]) <= height / 4
        if height > least and back and abs(np.sign(off).sum()) == width:
            before = change[max(0, at - 1 - BESIDE) : at - 1]
            beside = np.sort(np.concatenate((before, change[behind : behind + BESIDE])))
            if len(before) >= CALM and ISOLATED * beside[4 * len(beside) // 5] <= height:
                return width
    return 0


def _bridge(values: Values, change: Values, at: int, width: int) -> None:
    behind = at + width
    bridged = np.linspace(values[at - 1], values[behind], width + 2)
    values[at:behind] = np.round(bridged[1:-1])
    change[at - 1 : behind] = np.abs(np.diff(values[at - 1 : behind + 1]))


def _drops_out(values: Values, change: Values, at: int) -> bool:
    behind = values[at : at + CONSTANT]
    before = np.sort(change[max(0, at - 1 - BESIDE) : at - 1])
    if len(behind) < CONSTANT or len(before) < CALM or (behind != behind[0]).any():
        return False
    return bool(ISOLATED * before[4 * len(before) // 5] <= change[at - 1])


def _step(values: Values, at: int, least: float) -> float:
    """Height of a step onto the level at an index, 0 where there is none."""
    before, after = values[max(0, at - CALM) : at], values[at + RISE : at + RISE + CALM]
    if len(before) < CALM or len(after) < CALM:
        return 0.0
    height = float(np.median(after) - np.median(before))
    calm = ISOLATED * max(np.ptp(before), np.ptp(after)) <= abs(height)
    return height if calm and abs(height) > least else 0.0


def flat_tops(values: Values) -> int:
    """Samples, shape (n,), at a converter's limit that nobody has told: runs of equal ones at the
    highest or the lowest level, from which the signal departs abruptly, as from no crest."""
    kink = max(5.0, KINK * float(np.ptp(values)))
    count = 0
    for level in (values.max(), values.min()):
        at = np.concatenate(([False], values == level, [False]))
        edges = np.flatnonzero(at[1:] != at[:-1]).reshape(-1, 2)
        runs = []
        for first, last in edges.tolist():
            beside = [values[i] for i in (first - 2, last + 1) if 0 <= i < len(values)]
            drops_out = last - first >= CONSTANT and (first == 0 or last == len(values))
            if not drops_out and all(abs(value - level) >= kink for value in beside):
                runs.append(last - first)
        tops = [run for run in runs if run >= TOP]
        if len(tops) >= 2 or any(run >= LONG_TOP for run in tops):
            count += sum(runs)
    return count
