"""How well an int8 artefact agrees with the float model that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.datasets import DatasetError, Record
from converters.score_picker import PHASES, Voted, compare, vote_all
from models.card import MAX_BYTES
from models.conditioning import RATE
from models.fmp import BEFORE, CLASSES, WINDOW, FirstMotion
from models.picker import LABELS, Picker

SAME_S = 0.1  # two picks no further apart are one decision
SEEN = 0.05  # probability of either from which a difference between them can matter
AGREEMENT, F1_LOSS = 0.985, 0.01  # of an artefact that is close to its parent
Floats = NDArray[np.float32]


def parity(
    kind: str, parent: Path, artefact: Path, sets: Mapping[str, list[Record]]
) -> dict[str, Any]:
    """Set -> figures of both and of their differences. Raises ModelError, DatasetError."""
    figures = {
        name: _of_pickers(Picker(parent), Picker(artefact), records)
        if kind == "picker"
        else _of_first_motions(FirstMotion(parent), FirstMotion(artefact), records)
        for name, records in sets.items()
    }
    for name, found in figures.items():
        if not found:
            raise DatasetError(f"{name}: no record in it is fit for a comparison")
    return {Path(name).name: found for name, found in figures.items()}


def is_close(sets: Mapping[str, dict[str, Any]]) -> bool:
    """Whether an artefact may stand in for its parent: by F1, or by first motions."""
    for found in sets.values():
        if "polarity" in found["agreement"]:
            close = found["agreement"]["polarity"] >= AGREEMENT
        else:
            close = max(found["f1_loss"].values()) <= F1_LOSS
        if not close:
            return False
    return True


def _of_pickers(parent: Picker, artefact: Picker, records: list[Record]) -> dict[str, Any]:
    votes = {
        name: vote_all(picker.probabilities, records, picker.window)
        for name, picker in (("float", parent), ("int8", artefact))
    }
    if not votes["float"]:
        return {}
    scores = {name: compare(voted, artefact.thresholds) for name, voted in votes.items()}
    pairs = [*zip(votes["float"], votes["int8"], strict=True)]
    return {
        "records": len(pairs),
        "agreement": {p: _same_picks(pairs, p, artefact.thresholds[p]) for p in PHASES},
        "f1_loss": {
            p: round(scores["float"][p]["f1"] - scores["int8"][p]["f1"], 4) for p in PHASES
        },
        "deviation": {
            label: _deviation(
                np.concatenate([one.curves[:, k] for one, _ in pairs]),
                np.concatenate([other.curves[:, k] for _, other in pairs]),
            )
            for k, label in enumerate(LABELS)
        },
        **{name: {p: figures[p] for p in PHASES} for name, figures in scores.items()},
    }


def _same_picks(pairs: list[tuple[Voted, Voted]], phase: str, threshold: float) -> float | None:
    """Twice the picks that both make, over all that they make."""
    same = total = 0
    for one, other in pairs:
        first, second = (np.array(v.picks(phase, threshold)) for v in (one, other))
        total += len(first) + len(second)
        if len(first) and len(second):
            same += int((np.abs(first[:, None] - second).min(axis=1) <= SAME_S).sum())
    return round(min(1.0, 2 * same / total), 4) if total else None


def _deviation(one: Floats, other: Floats) -> dict[str, float]:
    """Largest and 99th percentile, the latter where either sees something."""
    apart = np.abs(one - other)
    seen = apart[np.maximum(one, other) >= SEEN]
    return {
        "largest": round(float(apart.max()), 4),
        "p99": round(float(np.percentile(seen, 99)), 4) if len(seen) else 0.0,
    }


def _of_first_motions(
    parent: FirstMotion, artefact: FirstMotion, records: list[Record]
) -> dict[str, Any]:
    windows: list[Floats] = []
    labels: list[str] = []
    for record in records:
        vertical = record.conditioned()[:, 0]
        for arrival in record.arrivals:
            first = round((arrival.seconds + record.delay_s) * RATE) - BEFORE
            window = vertical[max(first, 0) : first + WINDOW]
            if arrival.phase == "P" and len(window) == WINDOW and window.any():
                windows.append(window)
                labels.append(arrival.polarity)
    if not windows:
        return {}
    one, other = (_Judged.by(model, windows) for model in (parent, artefact))
    scores = {"float": one.against(labels), "int8": other.against(labels)}
    return {
        "first_motions": len(windows),
        "agreement": {
            "polarity": _share(one.polarity, other.polarity),
            "clarity": _share(one.clarity, other.clarity),
            "forced": _share(one.forced, other.forced),
        },
        "f1_loss": {
            label: round(scores["float"][f"f1_{label}"] - scores["int8"][f"f1_{label}"], 4)
            for label in CLASSES[:2]
            if any(labels)
        },
        "deviation": {
            label: _deviation(one.probabilities[:, k], other.probabilities[:, k])
            for k, label in enumerate(CLASSES)
        },
        **scores,
    }


class _Judged(NamedTuple):
    """What a model says of the same windows."""

    polarity: list[str]
    clarity: list[str]
    probabilities: Floats  # (n, 3)

    @classmethod
    def by(cls, model: FirstMotion, windows: list[Floats]) -> _Judged:
        answers = [model.classify(window) for window in windows]
        return cls(
            [answer.polarity for answer in answers],
            [answer.clarity for answer in answers],
            np.array([model.probabilities(window) for window in windows], np.float32),
        )

    @property
    def forced(self) -> list[str]:
        """Up or down, whichever is likelier."""
        return [CLASSES[k] for k in self.probabilities[:, :2].argmax(axis=1)]

    def against(self, labels: list[str]) -> dict[str, Any]:
        """Scores where analysts have read a first motion."""
        read = [k for k, label in enumerate(labels) if label]
        if not read:
            return {"read": 0}
        truth, said, forced = ([v[k] for k in read] for v in (labels, self.polarity, self.forced))
        decided = [k for k, answer in enumerate(said) if answer]
        f1 = {}
        for label in CLASSES[:2]:
            hits = sum(t == s == label for t, s in zip(truth, said, strict=True))
            f1[f"f1_{label}"] = round(2 * hits / max(1, truth.count(label) + said.count(label)), 4)
        return {
            "read": len(read),
            "forced": _share(forced, truth),
            "decided": round(len(decided) / len(read), 4),
            "accuracy": _share([said[k] for k in decided], [truth[k] for k in decided]),
            **f1,
        }


def _share(one: list[str], other: list[str]) -> float | None:
    """Of places where both say the same."""
    same = [a == b for a, b in zip(one, other, strict=True)]
    return round(float(np.mean(same)), 4) if same else None


def describe_parity(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{report['artefact']}: {report['bytes']} bytes"]
    if "arithmetic" in report:
        lines[0] += f", {report['arithmetic']}"
    if report["bytes"] > MAX_BYTES:
        lines.append(f"more than the {MAX_BYTES} bytes of an artefact that ships")
    if report.get("simulated"):
        lines.append("no data given: compared on simulated records")
    refused = [
        (f", {how}: not close enough", sets) for how, sets in report["not_close_enough"].items()
    ]
    rows = [
        (name, note, found)
        for note, sets in [*refused, ("", report["sets"])]
        for name, found in sets.items()
    ]
    for name, note, found in rows:
        lines.append(f"{name}: {found.get('records') or found['first_motions']} compared{note}")
        for what in ("agreement", "f1_loss"):
            lines.append(f"  {what:10}" + _row(found[what]))
        for what in ("largest", "p99"):
            lines.append(f"  {what:10}" + _row({k: v[what] for k, v in found["deviation"].items()}))
        for variant in ("float", "int8"):
            lines += [f"  {variant:10}" + row for row in _scores(found[variant])]
    return "\n".join(lines)


def _scores(figures: dict[str, Any]) -> list[str]:
    if "P" not in figures:
        return [_row(figures)]
    wanted = ("labels", "picks", "precision", "recall", "f1", "residual_std_s")
    return [f"{p}: " + _row({k: figures[p][k] for k in wanted}) for p in PHASES]


def _row(figures: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in figures.items())
