"""Models that came from afar: fetched, tried, kept under their hash."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from box.remote.state import model_path
from models.card import card_path, sha256
from uplink.connection import BrokerAddress
from uplink.parts import PartsError, fetch
from uplink.remote import ModelField, ModelFile

SELF_TEST_S = 120.0  # after which it is taken for hung
SPARE = 2  # models that are kept although no document in force names them


async def get_models(
    folder: Path,
    models: Mapping[ModelField, ModelFile],
    address: BrokerAddress,
    station_id: str,
    patience_s: float,
) -> list[str]:
    """Have the models of a document in `folder`/models, and try them. Returns what is wrong."""
    for field, wanted in models.items():
        try:
            await _get(model_path(folder, wanted), wanted, address, station_id, patience_s)
        except PartsError as error:
            return [f"models.{field}: {error}"]
        except OSError as error:
            return [f"models.{field}: {error.filename or folder}: {error.strerror}"]
    paths = {field: model_path(folder, wanted) for field, wanted in models.items()}
    return [f"models.{line}" for line in await try_apart(paths)] if paths else []


async def _get(
    path: Path, wanted: ModelFile, address: BrokerAddress, station_id: str, patience_s: float
) -> None:
    """The artefact last: where it lies, its card does too."""
    path.parent.mkdir(exist_ok=True)
    hashes = {
        card_path(path): (wanted.card_sha256, wanted.card_size),
        path: (wanted.sha256, wanted.size),
    }
    for file, (name, size) in hashes.items():
        if file.exists() and sha256(file) == name:
            file.touch()  # the oldest go first
            continue
        content = await fetch(address, station_id, name, size, patience_s)
        beside = file.with_name(file.name + ".new")
        with beside.open("wb") as new:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
        beside.replace(file)


async def try_apart(paths: Mapping[ModelField, Path]) -> list[str]:
    """The self-test in a process of its own, which the artefact may take down with it."""
    words = [f"{field}={path}" for field, path in paths.items()]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "box.remote.self_test", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SELF_TEST_S):
            told, complaint = await process.communicate()
    except TimeoutError:
        return [f"self-test: no end after {SELF_TEST_S:g} s"]
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    if process.returncode is not None and process.returncode < 0:
        return [f"self-test: died of {signal.Signals(-process.returncode).name}"]
    if process.returncode:
        last = (complaint.decode(errors="replace").strip().splitlines() or [""])[-1]
        return [f"self-test: ended with status {process.returncode}: {last}"[:200]]
    problems: list[str] = json.loads(told)
    return problems


def tidy(folder: Path, in_use: Iterable[ModelFile]) -> None:
    """Delete models but for those in use and the `SPARE` newest others."""
    needed = {model_path(folder, model) for model in in_use}
    with suppress(OSError):  # what cannot be deleted now is deleted another time
        found = [path for path in (folder / "models").glob("*.tflite") if path not in needed]
        found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in found[SPARE:]:
            card_path(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
