"""A box configured from afar: the daemon, a real broker, and everything that can be wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest
import yaml

from box.clock import ReplayClock
from box.config import ClockConfig, PickingConfig, TriggerConfig
from box.pipeline import StationPipeline
from box.sources.miniseed import MiniSeedSource
from box.stations import Station
from box.stretch import Models
from converters.simulator import Simulation
from models.card import card_path, read_card, write_card
from models.picker import PICKER
from ringbuffer.segment import Segment
from uplink.packets import Pick, decode_presence, encode_event, encode_pick
from uplink.parts import cut
from uplink.remote import Desired, Envelope, ModelFile, Reported, digest, new_keys, seal
from uplink.topics import topic

STATION = "XX.S01"
PATIENCE_S = 60.0
Told = Callable[[Reported], bool]


class Field:
    """A daemon that can be killed and started again, and the operator far away."""

    def __init__(self, config: Path, url: str, client: aiomqtt.Client, key: str | None) -> None:
        self.config, self.url, self._client, self._key = config, url, client, key
        self.reports: list[Reported] = []
        self.picks: list[tuple[str, bytes]] = []  # picks and events
        self._process: asyncio.subprocess.Process | None = None
        self.said = ""  # on stderr, by all its lives
        self._reading: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    async def listen(self) -> None:
        async for message in self._client.messages:
            if message.topic.value.endswith("reported") and message.payload:
                self.reports.append(msgspec.json.decode(bytes(message.payload), type=Reported))
            elif message.topic.value.endswith("presence"):
                assert isinstance(message.payload, bytes)
                self.presence = decode_presence(message.payload)
            elif (kind := message.topic.value.rsplit("/", 1)[1]) in ("pick", "event"):
                self.picks.append((kind, bytes(message.payload)))
            self._news.set()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "box", "box", str(self.config), "--verbose"),
            stderr=subprocess.PIPE,
        )
        self._reading.append(asyncio.create_task(self._read(self._process)))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.said += line.decode()

    async def end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        status = await self._process.wait()
        await asyncio.gather(*self._reading)
        return status

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def push(self, desired: Desired, key: str | None = None) -> Reported:
        """Publish a document; returns the answer to it that is final."""
        return await self.push_bytes(seal(desired, STATION, key or self._key))

    async def push_bytes(self, payload: bytes) -> Reported:
        await self._client.publish(topic(STATION, "config/desired"), payload, qos=1, retain=True)
        return await self.told(
            lambda r: r.answers == digest(payload) and r.state not in ("pending", "trial")
        )

    async def told(self, enough: Told) -> Reported:
        """The newest report, once it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not (self.reports and enough(self.reports[-1])):
                self._news.clear()
                await self._news.wait()
        return self.reports[-1]


@pytest.fixture(scope="module")
def recording(
    simulation: Simulation,
    records: Callable[[Segment], list[bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Of the station, ten times one behind the other, so that no test comes to its end."""
    path = tmp_path_factory.mktemp("long") / "long.mseed"
    with path.open("wb") as file:
        for channel, trace in simulation.traces.items():
            if channel.startswith(f"{STATION}."):
                for number in range(10):
                    start_ns = trace.start_ns + number * (trace.end_ns - trace.start_ns)
                    file.writelines(records(replace(trace, start_ns=start_ns)))
    return path


def in_the_field(
    scenario: Callable[[Field], Coroutine[Any, Any, None]],
    folder: Path,
    recording: Path,
    mosquitto: Any,
    keys: tuple[str, str] | None = None,
    speed: float = 4.0,
) -> Field:
    (folder / "data").mkdir()
    content: dict[str, Any] = {
        "station": {"id": STATION, "latitude": 1.0, "longitude": 2.0},
        "source": {"path": str(recording), "speed": speed},
        "broker": {"url": mosquitto.url.replace("//", "//user:geheim@")},
        "data_dir": str(folder / "data"),
        "remote": {} if keys is None else {"key": keys[1]},
    }
    config = folder / "box.yaml"
    config.write_text(yaml.safe_dump(content))

    @asynccontextmanager
    async def box() -> AsyncIterator[Field]:
        async with aiomqtt.Client("127.0.0.1", mosquitto.port, identifier="operator") as client:
            field = Field(config, mosquitto.url, client, keys and keys[0])
            await client.subscribe("diting/v1/#", qos=1)
            listening = asyncio.create_task(field.listen())
            await field.start()
            try:
                await field.told(lambda r: r.state == "applied")
                yield field
                assert field._process is not None
                if field._process.returncode is None:
                    assert await field.end(signal.SIGTERM) == 0
            finally:
                listening.cancel()
                if field._process is not None and field._process.returncode is None:
                    field._process.kill()

    async def run() -> Field:
        async with box() as field:
            await scenario(field)
        assert "Traceback" not in field.said
        assert "geheim" not in field.said
        assert all("geheim" not in str(report) for report in field.reports)
        return field

    return asyncio.run(run())


def test_bad_documents_leave_the_box_as_it_is_and_a_good_one_is_live_without_a_restart(
    recording: Path, tmp_path: Path, mosquitto: Any
) -> None:
    async def scenario(field: Field) -> None:
        before = field.reports[-1].effective
        deep: list[Any] = []
        for _ in range(900):
            deep = [deep]
        bad = {
            "envelope: ": b'{"body": ',
            "document: not JSON: ": msgspec.json.encode(Envelope("{version: 1")),
            "colour: unknown field": seal(Desired(version=1, changes={"colour": "red"}), STATION),
            "picking.p_threshold: Expected `float` < 1.0 (got 7)": seal(
                Desired(version=2, changes={"picking": {"p_threshold": 7}}), STATION
            ),
            "broker.url: broker: 'mqtt://host:1:2' has no valid": seal(
                Desired(version=3, changes={"broker": {"url": "mqtt://host:1:2"}}), STATION
            ),
            "data_dir: is for the box's own file": seal(
                Desired(version=4, changes={"data_dir": "/"}), STATION
            ),
            "picking.picker: is for the box's own file": seal(
                Desired(version=5, changes={"picking": {"picker": "/etc/passwd"}}), STATION
            ),
            "reorder_s: Expected `float`, got `array` (got [[[": seal(
                Desired(version=6, changes={"reorder_s": deep}), STATION
            ),
        }
        for complaint, payload in bad.items():
            answer = await field.push_bytes(payload)
            assert (answer.state, answer.version) == ("refused", 0)
            assert answer.problems[0].startswith(complaint)
            assert len(answer.problems[0]) <= 300
            assert answer.effective == before
        desired = Desired(version=7, changes={"picking": {"p_threshold": 0.35}})
        answer = await field.push(desired)
        assert (answer.state, answer.version, answer.problems) == ("applied", 7, [])
        assert answer.effective["picking"]["p_threshold"] == 0.35
        assert answer.refusal is not None
        assert answer.refusal.version == 6
        assert field.presence.online
        sessions = field.presence.session
        again = await field.push(desired)  # told once more, as a broker does
        assert again == answer
        late = await field.push(Desired(version=7, changes={}))
        assert (late.state, late.version) == ("refused", 7)
        assert "version: 7 is not above 7" in late.problems[0]
        assert field.presence.session == sessions

    in_the_field(scenario, tmp_path, recording, mosquitto)


FLOAT = PICKER.with_name("picker_float.tflite")
NOWHERE = "mqtt://127.0.0.1:9"


async def send_model(field: Field, path: Path, broken: bool = False) -> ModelFile:
    """Publish a model's parts. broken: with a bit of the artefact flipped."""
    contents = [file.read_bytes() for file in (path, card_path(path))]
    for content in contents:
        for name, part in cut(STATION, content):
            if broken and content is contents[0]:
                part = part[:-1] + bytes([part[-1] ^ 1])
            await field._client.publish(name, part, qos=1, retain=True)
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    return ModelFile(
        sha256=hashes[0],
        size=len(contents[0]),
        card_sha256=hashes[1],
        card_size=len(contents[1]),
    )


def test_a_box_that_loses_broker_or_samples_under_a_document_takes_it_back_and_says_why(
    recording: Path, tmp_path: Path, mosquitto: Any
) -> None:
    async def scenario(field: Field) -> None:
        before = field.reports[-1].effective
        channels = [f"{STATION}.00.HH{component}" for component in "ZNE"]
        seedlink = {"type": "seedlink", "host": "127.0.0.1", "port": 9, "channels": channels}
        bad: list[tuple[dict[str, Any], str]] = [
            ({"broker": {"url": "mqtt://nowhere.invalid"}}, "broker: "),
            ({"source": seedlink}, f"source: {STATION} has no samples to judge"),
        ]
        for version, (changes, complaint) in enumerate(bad, 1):
            answer = await field.push(Desired(version=version, changes=changes, trial_s=5))
            assert (answer.state, answer.version) == ("reverted", 0)
            assert answer.problems[0].startswith(complaint)
            assert len(answer.problems[0]) <= 300
            assert answer.effective == before
            assert answer.refusal is not None
            assert answer.refusal.version == version
        good = await field.push(Desired(version=3, changes={"reorder_s": 1.5}))
        assert (good.state, good.version) == ("applied", 3)  # it picks as before

    field = in_the_field(scenario, tmp_path, recording, mosquitto)
    states = [(r.state, r.version) for r in field.reports]
    assert ("trial", 2) in states  # whose broker could be reached


def test_a_box_killed_under_trial_comes_back_without_and_one_told_to_stop_goes_on_with_it(
    recording: Path, tmp_path: Path, mosquitto: Any
) -> None:
    async def under_trial(field: Field, desired: Desired) -> None:
        payload = seal(desired, STATION)
        name = topic(STATION, "config/desired")
        await field._client.publish(name, payload, qos=1, retain=True)
        await field.told(lambda r: r.answers == digest(payload))
        while not json.loads((tmp_path / "data" / "remote.json").read_bytes())["trial"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def scenario(field: Field) -> None:
        away = {"broker": {"url": NOWHERE}}
        await under_trial(field, Desired(version=1, changes=away, trial_s=3600))
        assert await field.end(signal.SIGKILL) == -signal.SIGKILL
        await field.start()
        answer = await field.told(lambda r: r.state == "reverted")
        assert answer.problems == ["the box ended during the trial"]
        await under_trial(field, Desired(version=2, changes=away, trial_s=5))
        assert await field.end(signal.SIGTERM) == 0
        await field.start()
        answer = await field.told(lambda r: r.newest == 2 and r.state == "reverted")
        assert answer.problems[0].startswith("broker: ")

    in_the_field(scenario, tmp_path, recording, mosquitto)


def test_a_box_with_a_key_follows_its_owner_alone(
    recording: Path, tmp_path: Path, mosquitto: Any
) -> None:
    keys, (stranger, _) = new_keys(), new_keys()

    async def scenario(field: Field) -> None:
        changes = {"trigger": {"on": 0.6}}
        assert field._key is not None
        own = seal(Desired(version=3, changes=changes), STATION, field._key)
        for payload in (
            seal(Desired(version=1000, changes={}), STATION),
            seal(Desired(version=1001, changes={}), STATION, stranger),
            seal(Desired(version=1002, changes={}), "XX.S02", field._key),
        ):
            answer = await field.push_bytes(payload)
            assert (answer.state, answer.version, answer.newest) == ("refused", 0, 0)
            assert answer.problems[0].startswith("signature: ")
        assert (await field.push_bytes(own)).state == "applied"
        replayed = seal(Desired(version=2, changes={}), STATION, field._key)
        answer = await field.push_bytes(replayed)
        assert (answer.state, answer.version) == ("refused", 3)
        # The newest is told again when the box connects anew, and is nothing new.
        name = topic(STATION, "config/desired")
        await field._client.publish(name, own, qos=1, retain=True)
        answer = await field.push_bytes(seal(Desired(version=4), STATION, field._key))
        assert (answer.state, answer.version) == ("applied", 4)

    in_the_field(scenario, tmp_path, recording, mosquitto, keys)


def test_a_service_that_begins_anew_again_and_again_tells_every_pick_once_and_as_it_was(
    recordings: Path, tmp_path: Path, mosquitto: Any, models: Models
) -> None:
    path = recordings / "waveforms" / f"{STATION}.mseed"

    async def scenario(field: Field) -> None:
        version = 0
        assert field._process is not None
        ending = asyncio.create_task(field._process.wait())
        while not ending.done():
            version += 1
            desired = Desired(version=version, changes={"health_every_s": 1000 + version})
            pushing = asyncio.create_task(field.push(desired))
            await asyncio.wait({ending, pushing}, return_when=asyncio.FIRST_COMPLETED)
            pushing.cancel()
        assert version > 3
        async with asyncio.timeout(PATIENCE_S):
            while field.presence.online:  # its goodbye comes last
                field._news.clear()
                await field._news.wait()

    field = in_the_field(scenario, tmp_path, path, mosquitto, speed=8.0)
    source = MiniSeedSource(path, ReplayClock(None))
    station = Station(STATION, 1.0, 2.0, 0.0)
    settings = PickingConfig(), TriggerConfig(), ClockConfig()
    pipeline = StationPipeline(station, source.channels, models, *settings, 600.0, 2.0)
    alone = [packet for segment in source.packets() for packet in pipeline.feed(segment)]
    alone += pipeline.flush()
    assert field.picks == [
        ("pick", encode_pick(p)) if isinstance(p, Pick) else ("event", encode_event(p))
        for p in alone
    ]
    assert len(field.picks) > 10


async def diting(*words: object) -> tuple[int | None, str, str]:
    """Exit status, standard output and error of a command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "box", *map(str, words)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


def test_an_operator_pushes_sees_and_takes_back(
    recording: Path, tmp_path: Path, mosquitto: Any
) -> None:
    key = tmp_path / "operator.key"

    async def scenario(field: Field) -> None:
        changes = tmp_path / "changes.yaml"
        push = ("config", "push", STATION, changes, "--broker", field.url, "--key", key)
        changes.write_text("picking: {p_threshold: 7, s_treshold: 0.3}")
        status, out, errors = await diting(*push)
        assert (status, out) == (1, f"{STATION}: refused, version 0 is in force\n")
        assert [line.split(": ")[1] for line in errors.splitlines()] == [
            "picking.s_treshold",
            "picking.p_threshold",
        ]
        changes.write_text("{picking: {p_threshold: 0.3}, archive: null}")
        assert await diting(*push, "--model", FLOAT) == (
            0,
            f"{STATION}: applied, version 2 is in force\n",
            "",
        )
        changes.write_text("picking: {p_threshold: 0.4}")
        assert (await diting(*push))[0] == 0
        assert "picker" in field.reports[-1].models  # as it was, since nothing was said of it
        status, out, _ = await diting("config", "show", field.config, "--json")
        shown = json.loads(out)
        assert (status, shown["pending"], shown["trial"]) == (0, None, None)
        assert shown["desired"]["changes"] == {"picking": {"p_threshold": 0.4}}
        assert shown["reported"] == msgspec.to_builtins(field.reports[-1])
        assert shown["refusal"]["version"] == 1
        status, out, _ = await diting("config", "show", field.config)
        assert status == 0
        assert "in force: version 3; signed documents only" in out
        assert "last refusal: version 1, refused on 20" in out
        assert (await diting("config", "reset", field.config))[0] == 0
        report = await field.told(lambda r: r.state == "reverted")
        assert (report.version, report.models) == (0, {})
        assert report.problems == ["reset at the box"]
        status, _, errors = await diting(*push[:4], "--broker", NOWHERE)
        assert (status, errors.count("\n")) == (2, 1)
        assert errors.startswith("diting: broker mqtt://127.0.0.1:9: ")

    status, out, _ = asyncio.run(diting("config", "keygen", key))
    assert (status, key.stat().st_mode & 0o777) == (0, 0o600)
    public = yaml.safe_load(out)["remote"]["key"]
    assert asyncio.run(diting("config", "keygen", key))[0] == 2  # no key is written over
    keys = (key.read_text().strip(), public)
    in_the_field(scenario, tmp_path, recording, mosquitto, keys)


def test_models_are_replaced_only_by_what_was_meant_and_picks_and_are_taken_back(
    recording: Path, tmp_path: Path, mosquitto: Any
) -> None:
    deaf = tmp_path / "deaf.tflite"
    shutil.copy(PICKER, deaf)
    card = read_card(PICKER)
    swapped = msgspec.structs.replace(card.outputs[0], labels=("S", "P", "detection"))
    write_card(deaf, msgspec.structs.replace(card, outputs=(swapped,)))

    async def scenario(field: Field) -> None:
        shipped = field.presence.models["picker"]
        model = await send_model(field, FLOAT, broken=True)
        answer = await field.push(Desired(version=1, models={"picker": model}))
        assert answer.state == "refused"
        assert answer.problems[0].startswith("models.picker: sha256 is ")
        missing = msgspec.structs.replace(model, sha256="0" * 64)
        answer = await field.push(Desired(version=2, models={"picker": missing}, trial_s=5))
        assert answer.problems == [
            f"models.picker: 0 of 9 parts of {'0' * 12}… came, and none for 5 s"
        ]
        model = await send_model(field, deaf)
        answer = await field.push(Desired(version=3, models={"picker": model}))
        assert answer.state == "refused"
        assert answer.problems[0].startswith("models.picker: no P within")
        model = await send_model(field, FLOAT)
        answer = await field.push(Desired(version=4, models={"magnitude": model}))
        assert answer.state == "refused"
        assert "not a magnitude model" in answer.problems[0]
        assert field.presence.models["picker"] == shipped
        answer = await field.push(Desired(version=5, models={"picker": model}))
        assert (answer.state, answer.models) == ("applied", {"picker": model})
        assert field.presence.models["picker"] == model.sha256
        lost = Desired(version=6, changes={"broker": {"url": NOWHERE}}, trial_s=5)
        answer = await field.push(lost)
        assert (answer.state, answer.version, answer.models) == ("reverted", 5, {"picker": model})
        assert field.presence.models["picker"] == model.sha256
        answer = await field.push(Desired(version=7))
        assert answer.state == "applied"
        assert field.presence.models["picker"] == shipped
        answer = await field.push(Desired(version=8, models={"picker": model}))
        assert answer.state == "applied"
        assert await field.end(signal.SIGTERM) == 0
        [artefact] = (tmp_path / "data" / "models").glob(f"{model.sha256[:24]}*.tflite")
        artefact.write_bytes(artefact.read_bytes()[:-1] + b"?")  # the SD card has forgotten a bit
        await field.start()
        answer = await field.told(lambda r: r.state == "reverted" and r.version == 0)
        assert "does not run" in answer.problems[0]
        assert field.presence.models["picker"] == shipped

    in_the_field(scenario, tmp_path, recording, mosquitto)
