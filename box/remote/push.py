"""`diting config push`: a document to each of some stations, and what they answer."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import aiomqtt
import msgspec

from box.assembly import BUILT_IN
from box.broker_arguments import broker_config
from box.cli import BAD_ANSWER, OK, UsageError
from models.card import card_path
from models.interpreter import ModelError
from uplink.configuration import ConfigError, convert, read_yaml
from uplink.connection import UplinkError
from uplink.parts import cut
from uplink.remote import (
    MOST_BYTES,
    Desired,
    ModelField,
    ModelFile,
    Reported,
    digest,
    seal,
    sign,
)
from uplink.tasks import end
from uplink.topics import topic

HELD_S = 3.0  # for what the broker holds of a station to come
MARGIN_S = 180.0  # beyond the trial: for models on their way, and for a box that connects anew
FINAL = ("applied", "refused", "reverted")


def push(args: argparse.Namespace) -> int:
    """Exit status 0 where all boxes have applied it."""
    changes = read_yaml(args.file) or {}
    if not isinstance(changes, dict):
        raise ConfigError([f"{args.file}: expected a mapping of names to values"])
    key = None if args.key is None else _read_key(args.key)
    files = {_field_of(path): path for path in args.model}
    if len(files) < len(args.model):
        raise UsageError("--model: two of the same kind")
    for name in args.station:
        try:
            topic(name, "config/desired")
        except ValueError as error:
            raise UsageError(str(error)) from None
    operator = Operator(args, changes, key, files)
    return OK if asyncio.run(operator.push_all(args.station)) else BAD_ANSWER


def _read_key(path: Path) -> str:
    key = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        sign(b"", key)
    except ValueError:
        raise UsageError(f"--key: {path}: no private key") from None
    return key


def _field_of(path: Path) -> ModelField:
    """What a model is for. Raises ModelError where that is nothing that a box does."""
    problems = []
    for field, (kind, _) in BUILT_IN.items():
        try:
            kind(path)
        except ModelError as problem:
            problems.append(str(problem))
        else:
            return cast(ModelField, field)
    raise ModelError(problems[0])


class Operator:
    """Who pushes one set of changes to several boxes at once."""

    def __init__(
        self,
        args: argparse.Namespace,
        changes: dict[str, Any],
        key: str | None,
        models: dict[ModelField, Path],
    ) -> None:
        self._broker = broker_config(args)
        self._address = self._broker.address()
        self._changes, self._key, self._models = changes, key, models
        self._own_models, self._trial_s = args.own_models, args.trial
        self._wait_s = args.trial + MARGIN_S if args.wait is None else args.wait
        self._document(1, {})  # so that mistakes are told before anything is sent

    async def push_all(self, stations: Sequence[str]) -> bool:
        """Raises UplinkError where the broker cannot be reached."""
        return all(await asyncio.gather(*(self._push(station) for station in stations)))

    async def _push(self, station_id: str) -> bool:
        try:
            async with self._address.client("") as client:
                answer = await self._converse(client, station_id)
        except aiomqtt.MqttError as error:
            reason = error.__cause__ or error
            raise UplinkError(f"broker {self._address}: {reason}") from None
        if answer is None:
            waits = f"no answer within {self._wait_s:g} s; the document waits at the broker"
            print(f"{station_id}: {waits}", file=sys.stderr)
            return False
        print(f"{station_id}: {answer.state}, version {answer.version} is in force")
        for problem in answer.problems:
            print(f"{station_id}: {problem}", file=sys.stderr)
        return answer.state == "applied"

    async def _converse(self, client: aiomqtt.Client, station_id: str) -> Reported | None:
        await client.subscribe(topic(station_id, "config/reported"), qos=1)
        held = await _reported(client, HELD_S, lambda report: True)
        desired = self._document(
            held.newest + 1 if held else 1, {} if self._own_models or not held else held.models
        )
        payload = seal(desired, station_id, self._key)
        if len(payload) > MOST_BYTES:
            raise UsageError(f"changes: {len(payload)} bytes, more than {MOST_BYTES}")
        parts = [
            part
            for path in self._models.values()
            for file in (path, card_path(path))
            for part in cut(station_id, file.read_bytes())
        ]
        for name, part in parts:
            await client.publish(name, part, qos=1, retain=True)
        await client.publish(topic(station_id, "config/desired"), payload, qos=1, retain=True)
        answer = await self._answer(client, station_id, digest(payload))
        if answer is not None:  # else the box may still come for them
            for name, _ in parts:
                await client.publish(name, b"", qos=1, retain=True)
        return answer

    async def _answer(self, client: aiomqtt.Client, station_id: str, name: str) -> Reported | None:
        """The final word on a document: it comes from the broker that the box is on then."""
        waits = [asyncio.create_task(_final(client, self._wait_s, name))]
        broker = self._changes.get("broker")
        if isinstance(broker, dict) and isinstance(url := broker.get("url"), str):
            waits.append(asyncio.create_task(self._elsewhere(url, station_id, name)))
        try:
            while waits:
                done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                waits = list(rest)
                for task in done:
                    if (answer := task.result()) is not None:
                        return answer
            return None
        finally:
            await end(waits)

    async def _elsewhere(self, url: str, station_id: str, name: str) -> Reported | None:
        """At the broker to which the box is sent, if that can be reached from here."""
        with suppress(ValueError, aiomqtt.MqttError):
            elsewhere = msgspec.structs.replace(self._broker, url=url).address()
            async with elsewhere.client("") as client:
                await client.subscribe(topic(station_id, "config/reported"), qos=1)
                return await _final(client, self._wait_s, name)
        return None

    def _document(self, version: int, models: dict[ModelField, ModelFile]) -> Desired:
        named = {field: _file(path) for field, path in self._models.items()}
        content = msgspec.to_builtins(
            {
                "version": version,
                "changes": self._changes,
                "models": models | named,
                "trial_s": self._trial_s,
            }
        )
        return convert(content, Desired)


def _file(path: Path) -> ModelFile:
    artefact, card = path.read_bytes(), card_path(path).read_bytes()
    return ModelFile(
        sha256=hashlib.sha256(artefact).hexdigest(),
        size=len(artefact),
        card_sha256=hashlib.sha256(card).hexdigest(),
        card_size=len(card),
    )


async def _final(client: aiomqtt.Client, wait_s: float, name: str) -> Reported | None:
    return await _reported(client, wait_s, lambda r: r.answers == name and r.state in FINAL)


async def _reported(client: aiomqtt.Client, wait_s: float, enough: Any) -> Reported | None:
    """The first report that is enough; None where none is in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            async for message in client.messages:
                with suppress(msgspec.MsgspecError):
                    report = msgspec.json.decode(bytes(message.payload), type=Reported)
                    if enough(report):
                        return report
    return None
