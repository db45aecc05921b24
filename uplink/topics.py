"""Topic names: `diting/v1/NET/STA/KIND`."""

from __future__ import annotations

ROOT = "diting/v1"
KINDS = ("pick", "event", "health", "presence", "config/desired", "config/reported")


def topic(station_id: str, kind: str) -> str:
    """Topic of one kind of packet of a station ("NET.STA")."""
    network, station = station_id.split(".")
    return f"{ROOT}/{network}/{station}/{kind}"


def parse(name: str) -> tuple[str, str] | None:
    """Station id and kind of a topic, None where it is not one of ours."""
    parts = name.split("/", 4)
    if len(parts) != 5 or "/".join(parts[:2]) != ROOT or parts[4] not in KINDS:
        return None
    return f"{parts[2]}.{parts[3]}", parts[4]
