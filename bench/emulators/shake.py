"""What a Raspberry Shake casts."""

from __future__ import annotations

from ringbuffer.segment import NS, Segment

SAMPLES = 25  # to a datagram


def cast(segment: Segment) -> list[bytes]:
    """A segment as datagrams."""
    datagrams = []
    for first in range(0, len(segment.samples), SAMPLES):
        part = segment.cut(first, first + SAMPLES)
        counts = ", ".join(map(str, part.samples))
        time = f"{part.start_ns // NS}.{part.start_ns % NS:09d}".rstrip("0")
        datagrams.append(f"{{'{part.channel[-3:]}', {time}, {counts}}}".encode())
    return datagrams
