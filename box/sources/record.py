"""One miniSEED record, of version 2 or 3: its header and its samples."""

from __future__ import annotations

import struct
import sys
from fractions import Fraction
from sys import intern
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from pymseed import NSTERROR, DataEncoding, MiniSEEDError, MS3Record, sourceid2nslc

from ringbuffer.segment import ClockState, Flag, Segment

MAX_RATE = 10_000  # Hz; more is a damaged header
_CALIBRATION, _TIME_QUESTIONABLE, _CLOCK_LOCKED = 1, 2, 4  # record flags, miniSEED 3
_STEIM = (DataEncoding.STEIM1, DataEncoding.STEIM2)
_BEGIN_OF_DATA = 44  # byte of a version 2 header that says where the data begin
_DOUBTFUL_QUALITY = 50  # percent; 0 is what writers leave who know nothing of it


class _ExtraTime(msgspec.Struct, rename="pascal"):
    quality: float = 0


class _ExtraFlags(msgspec.Struct, rename="pascal"):
    amplifier_saturation: bool = False
    digitizer_clipping: bool = False


class _ExtraFdsn(msgspec.Struct, rename="pascal"):
    time: _ExtraTime = msgspec.field(default_factory=_ExtraTime)
    flags: _ExtraFlags = msgspec.field(default_factory=_ExtraFlags)


class _Extra(msgspec.Struct):
    """What we read of the extra headers that the FDSN defines for miniSEED 3."""

    fdsn: _ExtraFdsn = msgspec.field(name="FDSN", default_factory=_ExtraFdsn)


_decode_extra = msgspec.json.Decoder(_Extra).decode


class RecordError(ValueError):
    """A record that cannot be used; one line says why."""


class Header(NamedTuple):
    """What a record says of its samples."""

    channel: str  # NET.STA.LOC.CHA
    start_ns: int
    rate: Fraction
    flags: Flag
    locked: bool

    def segment(
        self, samples: NDArray[np.int32], knows_locks: bool, locked_ns: int | None = None
    ) -> Segment:
        """knows_locks: some record of the channel says that the clock was locked.

        Only then does one that does not say so have an unlocked clock: many writers never do.
        locked_ns: where the last such record before this one ended, if there was one.
        """
        if self.locked or not knows_locks:
            return Segment(self.channel, self.start_ns, self.rate, samples, self.flags)
        flags = self.flags | Flag.CLOCK_UNLOCKED
        clock = ClockState(locked_ns=locked_ns)
        return Segment(self.channel, self.start_ns, self.rate, samples, flags, clock)


def read_header(record: MS3Record) -> Header | None:
    """None for a record without samples or rate, such as a log. Raises RecordError."""
    if not record.samplecnt or not record.samprate_raw:
        return None
    try:
        channel = intern(".".join(sourceid2nslc(record.sourceid)))  # one string for all records
    except ValueError:
        raise RecordError(f"{record.sourceid!r} is not an FDSN source id") from None
    if not 1 / MAX_RATE < abs(record.samprate_raw) <= MAX_RATE or record.starttime == NSTERROR:
        raise RecordError(f"{channel}: impossible sample rate or time")
    return Header(
        channel,
        record.starttime,
        exact_rate(record.samprate_raw),
        _flags(record.flags, record.extra),
        bool(record.flags & _CLOCK_LOCKED),
    )


def read_samples(record: MS3Record) -> NDArray[np.int32]:
    """Counts, int32, of an unpacked record. Raises RecordError for floats that are none, and
    where what is compressed does not end with the sample that it says it does."""
    samples = np.array(record.np_datasamples)
    if record.formatversion == 2 and record.encoding in _STEIM and len(samples):
        last = _last_sample(record)
        if last not in (0, samples[-1]):  # some writers leave it out
            raise RecordError(f"damaged: ends with {samples[-1]}, not with {last}")
    if samples.dtype == np.int32:
        return samples
    counts = _whole(samples)
    if counts is None:
        raise RecordError(f"{samples.dtype} samples that are not whole counts: rejected")
    return counts


def _last_sample(record: MS3Record) -> int:
    """The last sample as Steim's first frame has it: the only checksum there is in version 2.
    libmseed warns of it and goes on, though a flipped bit shifts all samples behind it."""
    swapped = {"little": ">", "big": "<"}[sys.byteorder]
    header, payload = (swapped if record.swapflag & swap else "=" for swap in (1, 2))
    raw = record.record_mv
    (begin,) = struct.unpack_from(f"{header}H", raw, _BEGIN_OF_DATA)
    (last,) = struct.unpack_from(f"{payload}i", raw, begin + 8)
    return int(last)


def read_record(raw: bytes) -> tuple[Header, NDArray[np.int32]] | None:
    """A whole record; None for one without samples. Raises RecordError."""
    try:
        record = MS3Record.parse(raw, unpack_data=True)
        header = read_header(record)
        return None if header is None else (header, read_samples(record))
    except (MiniSEEDError, ValueError) as error:
        raise RecordError(reason(error)) from None


def reason(error: Exception) -> str:
    """What libmseed says, on one line."""
    messages = getattr(error, "error_messages", None) or [str(error)]
    return " ".join(str(messages[-1]).split()).removeprefix("Error: ")


def exact_rate(raw: float) -> Fraction:
    """Samples per second, or, where negative, seconds per sample -> the rate meant by it.

    Version 2 keeps rates as 32-bit floats: the simplest decimal or ratio within their precision.
    """
    for limit in (1, 10, 1000, 1_000_000):
        simple = Fraction(abs(raw)).limit_denominator(limit)
        if simple and abs(simple - Fraction(abs(raw))) <= Fraction(abs(raw)) / 10_000_000:
            return simple if raw > 0 else 1 / simple
    return Fraction(raw) if raw > 0 else -1 / Fraction(raw)


def _flags(record_flags: int, extra_headers: str) -> Flag:
    flags = Flag.NONE
    if record_flags & _CALIBRATION:
        flags |= Flag.CALIBRATION
    if record_flags & _TIME_QUESTIONABLE:
        flags |= Flag.TIME_QUESTIONABLE
    if not extra_headers:
        return flags
    try:
        extra = _decode_extra(extra_headers)
    except msgspec.MsgspecError:  # headers that are not what FDSN defines say nothing
        return flags
    if 0 < extra.fdsn.time.quality < _DOUBTFUL_QUALITY:
        flags |= Flag.TIME_QUESTIONABLE
    if extra.fdsn.flags.amplifier_saturation or extra.fdsn.flags.digitizer_clipping:
        flags |= Flag.CLIPPED
    return flags


def _whole(samples: NDArray[Any]) -> NDArray[np.int32] | None:
    """Floats that are whole numbers -> int32, None where one is not, or is too large."""
    if samples.dtype.kind != "f" or not np.all(np.abs(samples) < 2**31):
        return None
    counts = samples.astype(np.int32)
    return counts if np.array_equal(counts, samples) else None
