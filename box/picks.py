"""Following each onset from its first sighting to the settled vote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from box.vote import STRIDE, Vote
from models.peaks import SEPARATION, find_peaks
from uplink.packets import Phase

# Ages in seconds (strides since the onset's block was newest) at which an onset is looked at
# again, besides that at which its vote is complete. Early ones matter for warning, late ones change
# little, and each revision costs air time.
REVISE_AT = frozenset((0, 1, 2, 3, 5, 8, 12, 20))
KEEP = 0.5  # of the threshold: what an onset once seen needs so as to live on until the end


@dataclass(slots=True, eq=False)
class Onset:
    """A pick in the making."""

    phase: Phase
    index: float  # position on the station's sample grid
    probability: float
    spread: float
    first_index: float  # where it was first seen; makes its id
    settled: bool = False
    retracted: bool = False

    @property
    def block(self) -> int:
        return int(self.index) // STRIDE


class OnsetTracker:
    """Turns the votes on one phase into onsets that are found, revised, settled or retracted."""

    def __init__(self, phase: Phase, klass: int, threshold: float, vote: Vote) -> None:
        self.phase: Phase = phase
        self.klass = klass
        self.threshold = threshold
        self._vote = vote
        self._complete = vote.blocks - 1  # age of an onset's block when it has had all its votes
        self._revise_at = REVISE_AT | {self._complete}
        self.open: list[Onset] = []  # neither settled nor retracted

    def update(self) -> list[Onset]:
        """Look at the votes after a stride; returns the onsets that were looked at again.

        The list is ordered in time. An onset is returned for the last time when it is
        `settled` or `retracted`.
        """
        seen: list[Onset] = []
        for first, last in self._runs():
            seen += self._look_at(first, last)
        self.open = [onset for onset in self.open if not (onset.settled or onset.retracted)]
        return seen

    def drop_all(self) -> list[Onset]:
        """Settle what is open as it stands: the stream has ended or broken off."""
        left, self.open = self.open, []
        for onset in left:
            onset.settled = onset.probability >= self.threshold
            onset.retracted = not onset.settled
        return left

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Runs of blocks (first, last) worth a look, with a block of margin on each side."""
        newest, oldest = self._vote.newest, self._vote.newest - self._vote.blocks + 1
        active = {int(b) for b in self._vote.active(self.klass, KEEP * self.threshold)}
        active |= {max(onset.block, oldest) for onset in self.open}
        run: list[int] = []
        for block in [*sorted(active), None]:
            if run and (block is None or block > run[-1] + 1):
                if any(newest - b in self._revise_at for b in run):
                    yield max(run[0] - 1, oldest), min(run[-1] + 1, newest)
                run = []
            if block is not None:
                run.append(block)

    def _look_at(self, first: int, last: int) -> list[Onset]:
        blocks = range(first, last + 1)
        curve = np.concatenate([self._vote.merged(b, self.klass) for b in blocks])
        start = first * STRIDE
        peaks = find_peaks(curve, KEEP * self.threshold)
        here = [o for o in self.open if start <= o.index < start + len(curve)]
        matched: dict[int, Onset] = {}
        pairs = sorted(
            (abs(start + position - onset.index), number, i)
            for i, onset in enumerate(here)
            for number, (position, _) in enumerate(peaks)
        )
        taken: set[int] = set()
        for distance, number, i in pairs:
            if distance <= SEPARATION and number not in matched and i not in taken:
                matched[number] = here[i]
                taken.add(i)
        for i, onset in enumerate(here):
            if i not in taken:
                onset.retracted = True
        for number, (position, height) in enumerate(peaks):
            index = start + position
            known = matched.get(number)
            age = self._vote.newest - int(index) // STRIDE
            if known is None:
                # What reaches the threshold only after its vote is complete was voted down before.
                if height < self.threshold or age >= self._complete:
                    continue
                known = Onset(self.phase, index, height, 0.0, first_index=index)
                self.open.append(known)
                here.append(known)
            known.index, known.probability = index, height
            block, sample = divmod(round(index), STRIDE)
            if block <= self._vote.newest:
                known.spread = self._vote.spread(block, sample, self.klass)
            if age >= self._complete:
                known.settled = height >= self.threshold
                known.retracted = not known.settled
        return sorted(here, key=lambda onset: onset.index)
