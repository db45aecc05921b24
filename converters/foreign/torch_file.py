"""State dicts that PyTorch saved, read without PyTorch, and without running what they contain.

`torch.save` writes a zip archive: a folder with `data.pkl`, a pickle of the dictionary in which
each tensor refers to its numbers, and `data/KEY` with the numbers of each storage, little-endian
unless `byteorder` says otherwise (PyTorch 1.6 and later; docs.pytorch.org, "Serialization
semantics"). A pickle can name any function to be called: only those are let through that make
tensors and dictionaries.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from converters.foreign.contract import ForeignError

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<?",
}


class _Storage(NamedTuple):
    """The class of a storage, as the pickle names it."""

    dtype: str


def is_torch_zip(path: Path) -> bool:
    """Whether a file is an archive as `torch.save` writes it."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Name -> array of every tensor. Raises ForeignError for what is no state dict."""
    try:
        with zipfile.ZipFile(path) as archive:
            [pickled] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            state = _Reader(archive, pickled).load()
    except OSError as error:
        raise ForeignError(f"{path}: {error.strerror}") from None
    except zipfile.BadZipFile:
        raise ForeignError(f"{path}: not what torch.save writes (since PyTorch 1.6)") from None
    except ForeignError as error:
        raise ForeignError(f"{path}: {error}") from None
    # Whatever a damaged pickle makes the unpickler stumble over.
    except Exception as error:
        raise ForeignError(f"{path}: not a state dict: {error}") from None
    tensors = {
        str(name): value for name, value in dict(state).items() if isinstance(value, np.ndarray)
    }
    if not tensors:
        raise ForeignError(f"{path}: no tensor in it (a state dict is wanted)")
    return tensors


class _Reader(pickle.Unpickler):
    """Unpickles tensors and the containers they are in, and refuses everything else."""

    def __init__(self, archive: zipfile.ZipFile, pickled: str) -> None:
        super().__init__(io.BytesIO(archive.read(pickled)))
        self._archive = archive
        self._folder = pickled.removesuffix("data.pkl")
        names = archive.namelist()
        order = f"{self._folder}byteorder"
        if order in names and archive.read(order) != b"little":
            raise ForeignError(f"byteorder: {archive.read(order)!r} is not little")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in _STORAGES:
            return _Storage(_STORAGES[name])
        raise ForeignError(f"it wants {module}.{name}, which a state dict has no need of")

    def persistent_load(self, reference: Any) -> NDArray[Any]:
        mark, storage, key, _, count = reference
        if mark != "storage" or not isinstance(storage, _Storage):
            raise ForeignError(f"it refers to a {mark}, not to a storage")
        content = self._archive.read(f"{self._folder}data/{key}")
        return np.frombuffer(content, storage.dtype, count=int(count))


def _tensor(
    storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> NDArray[Any]:
    """A view into a storage, strides in numbers; always copied, so that it is contiguous."""
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and not 0 <= last < len(storage):
        raise ForeignError(f"a tensor {list(shape)} lies outside its storage of {len(storage)}")
    if min((offset, *strides)) < 0:
        raise ForeignError("a tensor with negative strides")
    bytes_ = tuple(step * storage.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, bytes_).copy()


def _parameter(tensor: NDArray[Any], *_: Any) -> NDArray[Any]:
    return tensor
