"""What a box keeps of its remote configuration, and what it makes of a new one.

In force is the box's own file, with the changes of one document laid over it. A document that is
good is put on trial; one that fails it, or during whose trial the box dies, is taken back. All of
this is in `remote.json` in `data_dir`, written before anything is done.

Neither clock nor connection is known here: `box/remote/steward.py` has both.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from box.config import BoxConfig
from uplink.configuration import ConfigError, convert
from uplink.remote import (
    Desired,
    ModelFile,
    Refusal,
    Refused,
    Reported,
    State,
    digest,
    redacted,
    unseal,
)

_log = logging.getLogger(__name__)
REMOTE = (  # the sections of a configuration that may be changed from afar
    *("source", "broker", "archive", "picking", "trigger", "clock", "quality"),
    *("outbox", "waveforms", "ring_s", "reorder_s", "longest_record_s"),
    *("health_every_s", "watermark_every_s", "silent_restart_s"),
)
# but for paths to write to, and for models, which come with a hash
LOCAL = ("archive.path", "picking.picker", "picking.first_motion", "picking.magnitude")
MOST_LINES, MOST_LINE = 20, 300  # of what is told of a document: it may quote what it likes
STATE, RESET = "remote.json", "remote.reset"  # files in `data_dir`


class Memory(msgspec.Struct, kw_only=True):
    """What outlives the process."""

    newest: int = 0  # the highest version that was genuine
    newest_digest: str = ""  # of that document
    answered: str = ""  # digest of the document that was decided upon last
    state: State = "applied"  # what became of it
    problems: list[str] = []
    good: Desired | None = None  # has stood its trial; None: the box's own file alone
    trial: Desired | None = None
    expected: list[str] = []  # stations that must judge samples under trial
    stopped: bool = False  # the trial was interrupted, by a box that was told to stop
    pending: Desired | None = None  # being checked, or waits for its models
    desired: Desired | None = None  # the last that was genuine, whatever became of it
    refusal: Refusal | None = None


class Remote:
    """Documents in, configurations out. Every decision is on the disk before it is returned."""

    def __init__(
        self, folder: Path, local: dict[str, Any], now_ns: Callable[[], int], key: str | None
    ) -> None:
        """folder: `data_dir`. local: content of the box's own file, which is good. key: public."""
        self._folder, self._local, self._now_ns, self._key = folder, local, now_ns, key
        self.memory = _recall(folder)
        self._waiting = ""  # digest of the pending document
        self.runs = False  # the service has begun under what is in force

    def take_up(self) -> None:
        """The process begins. A trial during which the last one ended, other than in order, has
        failed."""
        self.memory.pending = None  # the broker has it, and will tell it again
        self.reset_wanted()  # by somebody whose box does not come up, perhaps
        if self.memory.trial is not None and not self.memory.stopped:
            self.revert(["the box ended during the trial"])

    @property
    def in_force(self) -> Desired | None:
        return self.memory.trial or self.memory.good

    @property
    def on_trial(self) -> Desired | None:
        return self.memory.trial

    def effective(self) -> BoxConfig:
        """The configuration in force. Raises ConfigError where the box's own file has changed so
        that the document does not fit it any more."""
        document = self.in_force
        return self.configuration(document) if document else convert(self._local, BoxConfig)

    def configuration(self, desired: Desired) -> BoxConfig:
        """What the box would be under a document. Raises ConfigError with every mistake in it."""
        problems = [
            f"{name}: is for the box's own file to say"
            for name in _names(desired.changes)
            if name in LOCAL or ("." not in name and name in _SECTIONS and name not in REMOTE)
        ]
        data = _laid_over(self._local, desired.changes)
        if desired.models:
            picking = dict(data.get("picking") or {})
            for field, model in desired.models.items():
                picking[field] = str(model_path(self._folder, model))
            data["picking"] = picking
        try:
            config = convert(data, BoxConfig)
        except ConfigError as error:
            raise ConfigError(problems + error.problems) from None
        if problems:
            raise ConfigError(problems)
        return config

    def hear(self, payload: bytes, station_id: str) -> Desired | None:
        """Take a document in. Returns it where it is to be followed, if its content can be; None
        where that was decided before, or now: see `report`."""
        name = digest(payload)
        if name in (self.memory.answered, self.memory.newest_digest, self._waiting):
            return None
        try:
            desired = unseal(payload, station_id, self._key)
        except Refused as refused:
            self._decide(name, "refused", refused.problems, refused.version)
            return None
        if desired.version <= self.memory.newest:
            why = f"version: {desired.version} is not above {self.memory.newest}, the newest so far"
            self._decide(name, "refused", [why], desired.version)
            return None
        self._waiting = name
        self.memory.pending = self.memory.desired = desired
        self._save()
        return desired

    def refuse(self, problems: list[str]) -> None:
        """The pending document cannot be followed."""
        pending = self.memory.pending
        self._decide(self._waiting, "refused", problems, pending.version if pending else None)

    def begin(self, expected: Iterable[str]) -> bool:
        """Put the pending document on trial; False where that cannot be written down.

        expected: the stations that must judge samples.
        """
        memory = self.memory
        assert memory.pending is not None
        before = msgspec.structs.replace(memory)
        memory.trial, memory.pending = memory.pending, None
        memory.newest, memory.newest_digest = memory.trial.version, self._waiting
        memory.answered, memory.state, memory.problems = self._waiting, "trial", []
        memory.expected, memory.stopped = sorted(expected), False
        try:
            self._save(strict=True)
        except OSError as error:  # a box that could not take it back does not try it
            self.memory = before
            self.refuse([f"{self._folder / STATE}: {error.strerror}"])
            return False
        self._waiting = ""
        return True

    def accept(self) -> None:
        """It has stood its trial."""
        memory = self.memory
        memory.good, memory.trial, memory.state, memory.problems = memory.trial, None, "applied", []
        self._save()

    def revert(self, problems: list[str]) -> None:
        """Take back what is on trial or, where nothing is, what is in force: both cannot be."""
        memory = self.memory
        document = self.in_force
        if memory.trial is None:
            memory.good = None
        memory.trial = None
        self._decide(memory.answered, "reverted", problems, document.version if document else None)

    def fall_back(self, error: Exception) -> bool:
        """The service has ended with an error. True where it is to be tried without what is on
        trial, or without what it could not even begin with."""
        if self.memory.trial is None and (self.memory.good is None or self.runs):
            return False
        self.revert([f"does not run: {line}" for line in str(error).splitlines() or [repr(error)]])
        return True

    def stop(self) -> None:
        """The process is about to end in order."""
        if self.memory.trial is not None:
            self.memory.stopped = True
            self._save()

    def go_on(self) -> None:
        """The trial that was interrupted begins anew."""
        if self.memory.stopped:
            self.memory.stopped = False
            self._save()

    def reset_wanted(self) -> bool:
        """Somebody at the box wants its own file to be in force again; done then."""
        marker = self._folder / RESET
        if not marker.exists():
            return False
        was = self.in_force
        self.memory.good = self.memory.trial = self.memory.pending = None
        problems = ["reset at the box"]
        self._decide(self.memory.answered, "reverted", problems, was.version if was else None)
        with suppress(OSError):
            marker.unlink()
        return was is not None

    def models_in_use(self) -> list[ModelFile]:
        documents = (self.memory.good, self.memory.trial, self.memory.pending)
        return [model for document in documents if document for model in document.models.values()]

    def report(self, effective: BoxConfig) -> Reported:
        """What is to be told of it all."""
        memory, document = self.memory, self.in_force
        return Reported(
            state="pending" if memory.pending else memory.state,
            answers=self._waiting if memory.pending else memory.answered,
            version=document.version if document else 0,
            newest=memory.newest,
            problems=[] if memory.pending else memory.problems,
            refusal=memory.refusal,
            models=document.models if document else {},
            effective=redacted(msgspec.to_builtins(effective)),
        )

    def _decide(
        self,
        name: str,
        state: Literal["refused", "reverted"],
        problems: list[str],
        version: int | None,
    ) -> None:
        memory = self.memory
        problems = [line[:MOST_LINE] for line in problems[:MOST_LINES]]
        memory.pending, self._waiting = None, ""
        memory.answered, memory.state, memory.problems = name, state, problems
        if version is not None and version > memory.newest:
            memory.newest, memory.newest_digest = version, name
        memory.refusal = Refusal(
            state=state, problems=problems, time_ns=self._now_ns(), version=version
        )
        self._save()

    def _save(self, strict: bool = False) -> None:
        """Atomically, and onto the disk. strict: raise OSError where that cannot be done."""
        path = self._folder / STATE
        beside = path.with_suffix(".new")
        try:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # has passwords
            with os.fdopen(file, "wb") as new:
                new.write(msgspec.json.encode(self.memory))
                new.flush()
                os.fsync(new.fileno())
            beside.replace(path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            if strict:
                raise


_SECTIONS = {field.encode_name for field in msgspec.structs.fields(BoxConfig)}


def read_memory(folder: Path) -> Memory:
    """What a box keeps in its `data_dir`; raises ConfigError where that cannot be read."""
    path = folder / STATE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Memory)
    except FileNotFoundError:
        return Memory()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {error}"]) from None


def _recall(folder: Path) -> Memory:
    """The same; what cannot be read is set aside, and the box's own file is in force."""
    try:
        return read_memory(folder)
    except ConfigError as error:
        _log.error("%s", error)
        with suppress(OSError):
            (folder / STATE).replace((folder / STATE).with_suffix(".corrupt"))
        return Memory()


def model_path(folder: Path, model: ModelFile) -> Path:
    """Where an artefact that came from afar lies; its card is beside it."""
    return folder / "models" / f"{model.sha256[:24]}-{model.card_sha256[:16]}.tflite"


def _names(changes: dict[str, Any]) -> Iterable[str]:
    """The sections and the fields in them that a document changes."""
    for section, content in changes.items():
        yield section
        if isinstance(content, dict):
            yield from (f"{section}.{name}" for name in content)


def _laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced: a source too, which is one of several
    kinds."""
    merged = dict(base)
    for name, value in changes.items():
        below = base.get(name)
        if isinstance(below, dict) and isinstance(value, dict) and name != "source":
            merged[name] = _laid_over(below, value)
        else:
            merged[name] = value
    return merged
