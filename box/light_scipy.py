"""`scipy.signal` without what it imports for functions that a box never calls.

Half of a box's memory and of its start would be scipy's statistics, optimisers, splines and trees,
of which `scipy.signal` takes a name each at import (35 MB and more than half of the time: see
`python -m bench.box`). Here each of these names stands for the real one, which is imported when it
is first used: what `scipy.signal` computes is computed by scipy itself, and nothing can be missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

LATER = tuple(
    f"scipy.{name}" for name in ("interpolate", "ndimage", "optimize", "spatial", "stats")
)


class _Name:
    """A function or class of a module that is imported when it is called or looked into."""

    def __init__(self, module: str, name: str) -> None:
        self._where = module, name

    def _real(self) -> Any:
        module, name = self._where
        return getattr(import_module(module), name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._real()(*args, **options)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(self._real(), attribute)


class _Module(ModuleType):
    """Stands for a module while another one is imported that takes names from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self.__name__, name)


@contextmanager
def _standing_in(names: tuple[str, ...]) -> Iterator[None]:
    stand_ins = {name: _Module(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def import_signal() -> None:
    """Import `scipy.signal`, unless it has been already. Where a scipy needs more than names at
    import, all of it is imported, as without this."""
    if "scipy.signal" in sys.modules:
        return
    try:
        with _standing_in(LATER):
            import_module("scipy.signal")
    except Exception:  # whatever another scipy may do with a stand-in
        for name in [name for name in sys.modules if name.startswith("scipy.signal")]:
            del sys.modules[name]
        import_module("scipy.signal")
