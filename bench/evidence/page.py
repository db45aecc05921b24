"""The tables of docs/models.md, between marks in what was written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bench.evidence.measured import Magnitudes, Motions
from converters.score_picker import PHASES, variation

Figures = Mapping[str, Any]


PICTURES = {
    "equal": ("precision_recall", "residuals"),
    "positions": ("positions",),
    "motions": ("reliability", "confusion"),
    "magnitudes": ("magnitudes",),
}


def illustrated(tables: Mapping[str, str]) -> dict[str, str]:
    """Each table with the pictures that belong below it."""
    links = {
        name: [f"![{picture.replace('_', ' ')}](images/models_{picture}.png)" for picture in below]
        for name, below in PICTURES.items()
    }
    return {name: "\n\n".join([text, *links.get(name, [])]) for name, text in tables.items()}


def fill_in(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table between `<!-- NAME -->` and `<!-- / -->`.

    What stands between other marks stays. Raises ValueError for a table without marks.
    """
    for name, table in tables.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- / -->)", re.S)
        page, count = between.subn(lambda m, t=table: f"{m[1]}{t}\n{m[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"marks of {name}: {count} instead of 1")
    return page


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown; the first column is words, the others numbers."""
    names = list(head)
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pickers(scores: Mapping[str, Mapping[str, Figures]]) -> str:
    """scores: set -> contestant -> phase -> figures."""
    head = ["set, picker"]
    for phase in PHASES:
        head += [f"{phase}: picks", "precision", "recall", "F1", "residual (s)"]
    rows = []
    for name, contestants in scores.items():
        first = next(iter(contestants.values()))
        labels = ", ".join(f"{first[phase]['labels']} {phase}" for phase in PHASES)
        rows.append([f"**{name}** ({labels})"] + [""] * (len(head) - 1))
        for contestant, figures in contestants.items():
            cells = [contestant]
            for phase in PHASES:
                one = figures[phase]
                cells.append(str(one["picks"]))
                cells += [_decimal(one[key]) for key in ("precision", "recall", "f1")]
                mean, std = one["residual_mean_s"], one["residual_std_s"]
                cells.append(f"{_signed(mean)} ± {_decimal(std)}")
            rows.append(cells)
    return table(head, rows)


def equal_picks(rows: Mapping[str, Mapping[str, Mapping[str, tuple[int, float, float]]]]) -> str:
    """rows: set -> contestant -> phase -> (picks, recall, residual std)."""
    head = ["set, picker"]
    for phase in PHASES:
        head += [f"{phase}: picks", "recall", "residual std (s)"]
    lines = []
    for name, contestants in rows.items():
        for contestant, phases in contestants.items():
            cells = [f"{name}: {contestant}"]
            for phase in PHASES:
                picks, recall, std = phases[phase]
                cells += [str(picks), _decimal(recall), _decimal(std)]
            lines.append(cells)
    return table(head, lines)


def positions(sweeps: Mapping[str, Mapping[str, Figures]]) -> str:
    """sweeps: set -> contestant -> phase -> position -> figures."""
    head = ["set, picker", "windows", "P: F1 from", "to", "varies by", "recall from", "to"]
    rows = []
    for name, contestants in sweeps.items():
        for contestant, phases in contestants.items():
            by_position = phases["P"]
            f1 = [figures["f1"] for figures in by_position.values()]
            recall = [figures["recall"] for figures in by_position.values()]
            windows = sum(figures["labels"] for figures in by_position.values())
            cells = [min(f1), max(f1), variation(by_position), min(recall), max(recall)]
            rows.append([f"{name}: {contestant}", str(windows), *map(_decimal, cells)])
    return table(head, rows)


def speed(engines: Mapping[str, Mapping[str, Mapping[str, float]]], names: Figures) -> str:
    """engines: engine -> what was called -> CPU time (ms); names: of files -> for people."""
    head = ["ms of CPU per call, median (least)", *engines]
    called = list(next(iter(engines.values()), {}))
    rows = [
        [names.get(call, call)]
        + [f"{rows[call]['median']:.3f} ({rows[call]['least']:.3f})" for rows in engines.values()]
        for call in called
    ]
    alone, seam = "picker, the interpreter alone", "picker, through the seam"
    added = [
        f"{rows[seam]['median'] - rows[alone]['median']:.3f}"
        f" ({rows[seam]['least'] - rows[alone]['least']:.3f})"
        for rows in engines.values()
    ]
    return table(head, [*rows, ["what the seam adds", *added]])


def motions(models: Mapping[str, Motions]) -> str:
    """models: name -> what it said."""
    shifts = [shift for shift in next(iter(models.values())).forced if shift]
    head = ["first motions", "read", "forced", "decided", "of these right"]
    head += [f"forced, {shift:+g} s" for shift in shifts]
    rows = []
    for name, model in models.items():
        figures = model.figures()
        cells = [figures[key] for key in ("forced", "decided", "accuracy")]
        cells += [model.forced[shift] for shift in shifts]
        rows.append([name, str(len(model.readings)), *map(_decimal, cells)])
    return table(head, rows)


def magnitudes(models: Mapping[str, Magnitudes]) -> str:
    """models: name -> what it said."""
    head = ["station magnitudes", "number", "bias", "std", "trend per unit", "within σ"]
    rows = []
    for name, model in models.items():
        for whose, of in ((name, "model"), (f"{name}: physics alone", "physics")):
            figures = model.figures(of)
            cells = [_signed(figures["bias"]), _decimal(figures["std"])]
            cells += [_signed(figures["trend"]), _decimal(figures.get("within_sigma"))]
            rows.append([whose, str(figures["records"]), *cells])
    return table(head, rows)


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
