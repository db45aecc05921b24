"""What a SeedLink client selects, and how it writes times and sequence numbers.

Protocol 3: `[!][LL]CCC[.T]`, `?` for one character, `-` for a blank in an empty location, `.T` the
type of record, of which a box has only `D`; protocol 4: `[!]LOC_B_S_SS[.format][:filter]`, with `*`
besides. A channel is given where some selector names it, or there is none, and no `!` excludes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ringbuffer.segment import NS

FORMAT_4 = "2D"  # miniSEED 2, data: all that a box has
_SELECTOR_3 = re.compile(r"(!?)(?:([A-Z0-9?*-]{0,2}):?([A-Z0-9?*]{3}))?(?:\.([DECOTL?*]))?")
_SELECTOR_4 = re.compile(r"(!?)([A-Za-z0-9_?*-]+)(?:\.([A-Z0-9?*]{1,2}))?(?::([A-Za-z0-9]+))?")
_STATION = re.compile(r"[A-Za-z0-9?*_-]{1,20}")
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z?", re.ASCII)
_COMMAS = re.compile(r"(\d{4}),(\d\d?),(\d\d?),(\d\d?),(\d\d?),(\d\d?)(?:\.(\d{1,9}))?", re.ASCII)


class SelectorError(ValueError):
    """Is none: a few words say why."""


@dataclass
class Selectors:
    """Of one station request."""

    wanted: list[re.Pattern[str]] = field(default_factory=list)
    excluded: list[re.Pattern[str]] = field(default_factory=list)
    _known: dict[str, bool] = field(default_factory=dict)

    def add(self, text: str, protocol: int) -> None:
        """Raises SelectorError."""
        excludes, pattern = (_parse_4 if protocol == 4 else _parse_3)(text)
        (self.excluded if excludes else self.wanted).append(pattern)
        self._known.clear()

    def __len__(self) -> int:
        return len(self.wanted) + len(self.excluded)

    def match(self, channel: str) -> bool:
        """channel: "NET.STA.LOC.CHA" """
        known = self._known.get(channel)
        if known is None:
            subject = stream_id(channel)
            known = not any(p.fullmatch(subject) for p in self.excluded) and (
                not self.wanted or any(p.fullmatch(subject) for p in self.wanted)
            )
            self._known[channel] = known
        return known


def stream_id(channel: str) -> str:
    """ "NET.STA.LOC.CHA" -> "LOC_B_S_SS", as protocol 4 has it."""
    _, _, location, code = channel.split(".")
    return f"{location}_{code[:1]}_{code[1:2]}_{code[2:]}"


def glob(pattern: str) -> re.Pattern[str]:
    """`*` is any number of characters, `?` one."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))


def station_pattern(text: str) -> re.Pattern[str]:
    """Of "NET_STA". Raises SelectorError."""
    if not _STATION.fullmatch(text):
        raise SelectorError("not a station")
    return glob(text.upper())


def _parse_3(text: str) -> tuple[bool, re.Pattern[str]]:
    match = _SELECTOR_3.fullmatch(text.upper())
    if match is None or not (match[3] or match[4]):
        raise SelectorError("not a selector")
    excludes, location, code, kind = match.groups()
    anywhere = location in (None, "", "??", "*")
    pattern = ("*" if anywhere else location.replace("-", "")) + "_" + "_".join(code or "???")
    nothing = "(?!)" if kind not in (None, "D", "?", "*") else ""
    return bool(excludes), re.compile(nothing + glob(pattern).pattern)


def _parse_4(text: str) -> tuple[bool, re.Pattern[str]]:
    match = _SELECTOR_4.fullmatch(text)
    if match is None:
        raise SelectorError("not a selector")
    excludes, streams, formats, conversion = match.groups()
    if conversion not in (None, "native") or (conversion and excludes):
        raise SelectorError("no such filter")
    offered = formats is None or glob(formats + "*").fullmatch(FORMAT_4)
    pattern = glob(streams)
    return bool(excludes), pattern if offered else re.compile("(?!)" + pattern.pattern)


def parse_time(text: str) -> int:
    """`YYYY,MM,DD,hh,mm,ss[.ffffff]` or ISO 8601 in UTC -> ns since 1970. Raises SelectorError."""
    match = _ISO.fullmatch(text) or _COMMAS.fullmatch(text)
    if match is None:
        raise SelectorError("not a time")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    try:
        time = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise SelectorError("not a time") from None
    nanoseconds = int((match[7] or "").ljust(9, "0"))
    return int(time.timestamp()) * NS + nanoseconds
