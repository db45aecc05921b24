"""Topic names: `diting/v1/NET/STA/KIND`."""

from __future__ import annotations

import re

ROOT = "diting/v1"
KINDS = (
    *("pick", "pick/backlog", "event", "event/backlog", "health", "presence", "watermark"),
    *("config/desired", "config/reported"),
    *("waveform/request", "waveform/data"),
)

# codes as FDSN source identifiers allow them, with lower case, which some private networks use
_STATION = re.compile(r"([A-Za-z0-9_-]{1,8})\.([A-Za-z0-9_-]{1,8})")
_TOPIC = re.compile(rf"{ROOT}/([A-Za-z0-9_-]{{1,8}})/([A-Za-z0-9_-]{{1,8}})/({'|'.join(KINDS)})")


def topic(station_id: str, kind: str) -> str:
    """Topic of one kind of packet of a station. ValueError where it is not "NET.STA"."""
    station = _STATION.fullmatch(station_id)
    if station is None:
        raise ValueError(f"station_id: {station_id!r} is not NET.STA")
    return f"{ROOT}/{station[1]}/{station[2]}/{kind}"


def parse(name: str) -> tuple[str, str] | None:
    """Station id and kind of a topic, None where it is not one of ours."""
    match = _TOPIC.fullmatch(name)
    return None if match is None else (f"{match[1]}.{match[2]}", match[3])


def model_part(station_id: str, sha256: str, number: int | str) -> str:
    """Topic of a part of a model for a station; `number` may be "+"."""
    return f"{topic(station_id, 'config')}/model/{sha256}/{number}"
