"""Which channels of a station belong together, and which of them a picker sees."""

from __future__ import annotations

# Which instrument picks where a station has several: high-gain broadband first, then short
# period, then strong motion.
INSTRUMENTS = ("HH", "EH", "BH", "SH", "CH", "DH", "HN", "EN", "BN", "HL", "EL", "GP", "DP")
SLOTS = {"Z": 0, "N": 1, "1": 1, "E": 2, "2": 2}  # "3" is nobody's vertical for sure


def choose_channels(channels: list[str]) -> dict[str, int]:
    """The channels (NET.STA.LOC.CHA) a station picks on -> component (0 vertical, 1, 2).

    One instrument at one location, with a vertical if there is any: first by the order of
    `INSTRUMENTS`, then by location code.
    """
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for channel in sorted(channels):
        _, _, location, code = channel.split(".")
        if len(code) == 3 and code[2] in SLOTS:
            group = groups.setdefault((location, code[:2]), {})
            if SLOTS[code[2]] not in group.values():
                group[channel] = SLOTS[code[2]]

    def rank(item: tuple[tuple[str, str], dict[str, int]]) -> tuple[bool, int, str]:
        (location, code), group = item
        known = INSTRUMENTS.index(code) if code in INSTRUMENTS else len(INSTRUMENTS)
        return (0 not in group.values(), known, location)

    return min(groups.items(), key=rank)[1] if groups else {}
