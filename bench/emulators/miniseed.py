"""Segments as miniSEED."""

from __future__ import annotations

from pymseed import DataEncoding, MS3Record, nslc2sourceid

from ringbuffer.segment import Segment


def miniseed(segment: Segment, version: int = 2) -> list[bytes]:
    """A segment as records of 512 bytes at most, Steim-2."""
    record = MS3Record(reclen=512, encoding=DataEncoding.STEIM2)
    record.sourceid = nslc2sourceid(*segment.channel.split("."))
    record.formatversion = version
    record.starttime = segment.start_ns
    record.samprate = float(segment.rate)
    return list(record.generate(segment.samples, "i"))
