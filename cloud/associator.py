"""Which picks belong to one earthquake.

PyOcto (Münchmeyer 2024) proposes clusters of picks; each is then located, gathers the picks that
fit it and loses those that do not, and must keep enough of them to count as an event.
`Finder` does this once for a set of picks. `Associator` does it again and again over a sliding
window, and keeps account of what has become of each event.
"""

from __future__ import annotations

import math
import string
import struct
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import pandas as pd
import pyocto
from msgspec import Meta

from cloud.geodesy import distance_azimuth, to_local
from cloud.locator import Locator
from cloud.model import Origin, Phase, Pick
from cloud.travel_times import TravelTimes

TABLE_STEP_KM = 1.0
S_PER_KM = 0.3  # an S wave's way through the crust, at its slowest
ROUNDS = 2
SAME_PLACE_KM = 15.0
REMEMBERED_IDS = 1000
PHASES: tuple[Phase, Phase] = ("P", "S")
Positive = Annotated[float, Meta(gt=0)]


class AssociatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many picks make an event, and how well they must fit."""

    min_picks: Annotated[int, Meta(ge=4)] = 6
    min_p: Annotated[int, Meta(ge=0)] = 3
    min_s: Annotated[int, Meta(ge=0)] = 2
    min_stations: Annotated[int, Meta(ge=3)] = 4
    min_both: Annotated[int, Meta(ge=0)] = 2  # stations with P and S: chance seldom makes two
    tolerance_s: Positive = 1.0  # of the engine, which knows places only roughly
    match_s: Positive = 0.8  # residual at which a located event still takes a pick …
    match_fraction: Annotated[float, Meta(ge=0)] = 0.03  # … and this more per s of travel time
    max_rms_s: Positive = 0.7
    max_depth_km: Positive = 30.0
    margin_km: Positive = 30.0  # events are sought so far outside the network
    separation_s: Positive = 2.0  # nearby origins closer in time than this are one event
    window_s: Positive = 120.0  # how long events may change and picks may come late
    interval_s: Annotated[float, Meta(ge=0)] = 2.0  # of data time, between two runs
    max_picks: Annotated[int, Meta(ge=100)] = 5000  # in the window; the oldest go first


class _Engine:
    """PyOcto for one network: stations projected, travel times in its file format."""

    def __init__(self, locator: Locator, config: AssociatorConfig) -> None:
        stations = list(locator.stations.values())
        latitude = np.array([station.latitude for station in stations])
        longitude = np.array([station.longitude for station in stations])
        x, y = to_local(latitude, longitude, (float(latitude[0]), float(longitude[0])))
        self._stations = pd.DataFrame(
            {
                "id": [station.station_id for station in stations],
                "x": x,
                "y": y,
                "z": [-station.elevation_m / 1000 for station in stations],
            }
        )
        margin = config.margin_km
        limits = [(float(v.min()) - margin, float(v.max()) + margin) for v in (x, y)]
        reach = math.hypot(*(high - low for low, high in limits))
        self.longest_s = S_PER_KM * reach
        surface = locator.tables.model.velocity
        self._folder = tempfile.TemporaryDirectory()  # PyOcto reads the file at every run
        path = Path(self._folder.name) / "travel_times"
        path.write_bytes(_pyocto_table(locator.tables, 1.2 * reach, 1.2 * config.max_depth_km))
        self._octo = pyocto.OctoAssociator(
            xlim=limits[0],
            ylim=limits[1],
            zlim=(0.0, config.max_depth_km),
            velocity_model=pyocto.VelocityModel1D(
                path,
                tolerance=config.tolerance_s,
                surface_p_velocity=float(surface("P", 0.0)),
                surface_s_velocity=float(surface("S", 0.0)),
            ),
            time_before=self.longest_s,
            time_slicing=300.0,
            pick_match_tolerance=config.tolerance_s,
            min_interevent_time=config.separation_s,
            n_picks=config.min_picks,
            n_p_picks=config.min_p,
            n_s_picks=config.min_s,
            n_p_and_s_picks=config.min_both,
            n_threads=1,
        )

    def clusters(self, picks: Sequence[Pick]) -> list[list[Pick]]:
        """Proposals, the largest first."""
        frame = pd.DataFrame(
            {
                "station": [pick.station_id for pick in picks],
                "phase": [pick.phase for pick in picks],
                "time": [(pick.time_ns - picks[0].time_ns) / 1e9 for pick in picks],
            }
        )
        _, assignments = self._octo.associate(frame, self._stations)
        found: dict[int, list[Pick]] = {}
        for event, index in zip(assignments["event_idx"], assignments["pick_idx"], strict=True):
            found.setdefault(event, []).append(picks[index])
        return sorted(found.values(), key=lambda cluster: (-len(cluster), cluster[0].pick_id))


def _pyocto_table(tables: TravelTimes, reach_km: float, depth_km: float) -> bytes:
    """Travel times over distance and depth as PyOcto 0.2 reads them: counts and step, then P, S."""
    x = np.arange(0.0, reach_km + TABLE_STEP_KM, TABLE_STEP_KM)
    z = np.arange(0.0, depth_km + TABLE_STEP_KM, TABLE_STEP_KM)
    head = struct.pack("iid", len(x), len(z), TABLE_STEP_KM)
    p, s = (tables.rays(phase, x[:, None], z).time_s.tobytes() for phase in PHASES)
    return head + p + s


class Finder:
    """Finds the events in a set of picks. Keeps nothing between two calls."""

    def __init__(self, locator: Locator, config: AssociatorConfig | None = None) -> None:
        self.config = config or AssociatorConfig()
        self._locator = locator
        self._engine = _Engine(locator, self.config)

    def find(self, picks: Iterable[Pick]) -> list[Origin]:
        """Origins in order of time, with the arrivals that are theirs; a function of the set of
        picks alone. Picks of unknown stations are passed over."""
        known = (pick for pick in picks if pick.station_id in self._locator.stations)
        ordered = sorted(known, key=lambda pick: (pick.time_ns, pick.pick_id))
        if len(ordered) < self.config.min_picks:
            return []
        origins = self._located(self._engine.clusters(ordered))
        for _ in range(ROUNDS):
            origins = self._located(self._shared_out(ordered, self._distinct(origins)))
        good = [origin for origin in origins if self._is_event(origin)]
        return sorted(good, key=lambda origin: (origin.time_ns, origin.latitude))

    def _located(self, clusters: Iterable[Sequence[Pick]]) -> list[Origin]:
        """Origins with the arrivals that the locator kept; what cannot be an event is left out."""
        origins = []
        for cluster in clusters:
            origin = self._locator.locate(cluster)
            if origin is not None:
                kept = tuple(arrival for arrival in origin.arrivals if arrival.weight > 0)
                origins.append(replace(origin, arrivals=kept))
        return origins

    def _is_event(self, origin: Origin) -> bool:
        config = self.config
        n_p, n_s, n = origin.n_p, origin.n_s, len(origin.arrivals)
        n_stations = len({arrival.pick.station_id for arrival in origin.arrivals})
        return (
            n >= config.min_picks
            and n_p >= config.min_p
            and n_s >= config.min_s
            and n_stations >= config.min_stations
            and n - n_stations >= config.min_both
            and origin.rms_s <= config.max_rms_s
        )

    def _distinct(self, origins: Iterable[Origin]) -> list[Origin]:
        """Of origins too close in time and space to be two earthquakes, the one of more picks."""
        distinct: list[Origin] = []
        for origin in sorted(origins, key=lambda o: (-len(o.arrivals), o.time_ns, o.latitude)):
            if self._is_event(origin) and not any(self._same(origin, other) for other in distinct):
                distinct.append(origin)
        return distinct

    def _same(self, one: Origin, other: Origin) -> bool:
        if abs(one.time_ns - other.time_ns) > self.config.separation_s * 1e9:
            return False
        place = (one.latitude, one.longitude, other.latitude, other.longitude)
        return bool(distance_azimuth(*place)[0] < SAME_PLACE_KM)

    def _shared_out(self, picks: Sequence[Pick], origins: Sequence[Origin]) -> list[list[Pick]]:
        """Give each pick to the origin that predicts it best, the best fits first: a phase once
        per station, and P before S."""
        times = [pick.time_ns for pick in picks]
        fits = []
        for k, origin in enumerate(origins):
            first = bisect_left(times, origin.time_ns)
            last = bisect_left(times, origin.time_ns + round(self._engine.longest_s * 1e9))
            near = picks[first:last]
            residual = np.abs(self._locator.residuals(near, origin))
            travel = (np.array(times[first:last]) - origin.time_ns) / 1e9
            misfit = residual / (self.config.match_s + self.config.match_fraction * travel)
            fits += [(misfit[i], k, first + i) for i in np.flatnonzero(misfit <= 1)]
        taken: set[int] = set()
        slots: list[dict[tuple[str, Phase], Pick]] = [{} for _ in origins]
        for _, k, i in sorted(fits):
            pick = picks[i]
            p, s = (
                pick if phase == pick.phase else slots[k].get((pick.station_id, phase))
                for phase in PHASES
            )
            ordered = p is None or s is None or p.time_ns < s.time_ns
            if i not in taken and (pick.station_id, pick.phase) not in slots[k] and ordered:
                taken.add(i)
                slots[k][pick.station_id, pick.phase] = pick
        return [list(slot.values()) for slot in slots]


@dataclass(frozen=True, slots=True)
class EventUpdate:
    """The newest state of an event. A higher revision replaces a lower one."""

    event_id: str  # by the second of its first origin
    revision: int
    origin: Origin | None  # None: retracted


class Associator:
    """Events out of a stream of picks, over a sliding window of data time.

    An event keeps its identifier as long as it shares picks with what the newest run found; it is
    retracted when its picks are gone or have gone to others. Older than the window it is final,
    and its picks are forgotten. Limits: a pick older than the window is dropped (`late` counts),
    and beyond `max_picks` the oldest (`overflow`); picks of unknown stations are dropped
    (`unknown`).
    """

    def __init__(self, locator: Locator, config: AssociatorConfig | None = None) -> None:
        self._finder = Finder(locator, config)
        self.config = self._finder.config
        self._stations = locator.stations
        self._picks: dict[str, Pick] = {}
        self._events: dict[str, EventUpdate] = {}
        self._issued: dict[int, int] = {}  # identifiers per second of origin time
        self._changed = False
        self._ran_ns = self._now_ns = -(2**63)
        self.late = self.overflow = self.unknown = 0

    def add(self, pick: Pick) -> None:
        """Take in a pick, or a new revision of it under the same `pick_id`."""
        if pick.station_id not in self._stations:
            self.unknown += 1
        elif pick.time_ns < self._horizon_ns:
            self.late += 1
        elif self._picks.get(pick.pick_id) != pick:
            self._picks[pick.pick_id] = pick
            self._changed = True
            if len(self._picks) > self.config.max_picks:
                self.overflow += 1
                oldest = min(self._picks.values(), key=lambda p: (p.time_ns, p.pick_id))
                del self._picks[oldest.pick_id]

    def retract(self, pick_id: str) -> None:
        """Forget a pick; one that is not in the window is nobody's business any more."""
        if self._picks.pop(pick_id, None) is not None:
            self._changed = True

    def advance(self, now_ns: int) -> list[EventUpdate]:
        """Data time has come to `now_ns`: what has changed since, in order of identifier."""
        self._now_ns = max(self._now_ns, now_ns)
        due = self._now_ns - self._ran_ns >= self.config.interval_s * 1e9
        return self._run() if self._changed and due else []

    def finish(self) -> list[EventUpdate]:
        """The last changes, when no more data will come."""
        return self._run() if self._changed else []

    @property
    def _horizon_ns(self) -> int:
        return self._now_ns - round(self.config.window_s * 1e9)

    def _run(self) -> list[EventUpdate]:
        updates = self._reconcile(self._finder.find(self._picks.values()))
        for update in updates:
            if update.origin is None:
                del self._events[update.event_id]
            else:
                self._events[update.event_id] = update
        self._forget()
        self._changed, self._ran_ns = False, self._now_ns
        return sorted(updates, key=lambda update: update.event_id)

    def _reconcile(self, origins: list[Origin]) -> list[EventUpdate]:
        """What the origins of a run make of the events known before."""
        holders = [{arrival.pick.pick_id for arrival in origin.arrivals} for origin in origins]
        known = {key: _pick_ids(event) for key, event in self._events.items()}
        shared = sorted(
            (-len(theirs & ours), key, k)
            for key, theirs in known.items()
            for k, ours in enumerate(holders)
            if theirs & ours
        )
        successor: dict[str, int] = {}
        for _, key, k in shared:
            if key not in successor and k not in successor.values():
                successor[key] = k
        updates = []
        free = set(self._picks).difference(*holders)
        for key, event in self._events.items():
            origin = origins[successor[key]] if key in successor else None
            if origin == event.origin or (origin is None and known[key] <= free):
                continue  # unchanged, or overlooked this time for no reason of its own
            updates.append(EventUpdate(key, event.revision + 1, origin))
        for k, origin in enumerate(origins):
            if k not in successor.values():
                updates.append(EventUpdate(self._new_id(origin), 0, origin))
        return updates

    def _new_id(self, origin: Origin) -> str:
        second = origin.time_ns // 10**9
        count = self._issued.get(second, 0)
        self._issued[second] = count + 1
        while len(self._issued) > REMEMBERED_IDS:
            del self._issued[next(iter(self._issued))]
        return event_id(second, count)

    def _forget(self) -> None:
        """Drop what is older than the window, and with an event all picks of it."""
        for key, event in list(self._events.items()):
            if event.origin is not None and event.origin.time_ns < self._horizon_ns:
                del self._events[key]
                for pick_id in _pick_ids(event):
                    self._picks.pop(pick_id, None)
        held = set().union(*map(_pick_ids, self._events.values()))
        for pick_id, pick in list(self._picks.items()):
            if pick.time_ns < self._horizon_ns and pick_id not in held:
                del self._picks[pick_id]


def event_id(second: int, number: int) -> str:
    """Identifier of an event: second (UTC) of its origin time, and a letter for its number in it:
    "dt20190704170255a", then b, after z comes aa."""
    letters = string.ascii_lowercase[number % 26] * (1 + number // 26)
    return f"dt{datetime.fromtimestamp(second, UTC):%Y%m%d%H%M%S}{letters}"


def _pick_ids(event: EventUpdate) -> set[str]:
    arrivals = event.origin.arrivals if event.origin else ()
    return {arrival.pick.pick_id for arrival in arrivals}
