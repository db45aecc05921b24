"""What happens to frames on their way, and the books of it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(slots=True)
class Sent:
    """What an emulator did with the frames of a recording.

    made: frames (datagrams, records) that the recording has. lost: of them, never put on the line
    as a whole. sent: put on the line, repeats among them. damaged: of those, not whole on arrival
    """

    made: int = 0
    lost: int = 0
    sent: int = 0
    damaged: int = 0


class Harm:
    """Strikes a share of the frames, each with one of the kinds of harm that it may come to."""

    def __init__(self, share: float, seed: int = 1) -> None:
        self.share = share
        self.random = Random(seed)

    def strike(self, *kinds: str) -> str:
        """A kind of harm, or "" for none."""
        return self.random.choice(kinds) if self.random.random() < self.share else ""

    def byte(self, frame: bytes, kind: str, last: int | None = None) -> bytes:
        """A frame with one byte `changed`, `gone` or `doubled`, before `last` (the end)."""
        at = self.random.randrange(len(frame) if last is None else last)
        changed = bytes([frame[at] ^ self.random.randrange(1, 256)])
        new = {"changed": changed, "gone": b"", "doubled": frame[at : at + 1] * 2}[kind]
        return frame[:at] + new + frame[at + 1 :]


NO_HARM = Harm(0.0)
