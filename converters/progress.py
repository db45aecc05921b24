"""How far a long command has come, told to people and to nobody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def watched(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, counted on a terminal's standard error as they are taken; silent in a pipe."""
    if not sys.stderr.isatty():
        yield from items
        return
    for number, item in enumerate(items, 1):
        print(f"\r{what}: {number} of {len(items)} ", end="", file=sys.stderr, flush=True)
        yield item
    print("\r\033[K", end="", file=sys.stderr, flush=True)
